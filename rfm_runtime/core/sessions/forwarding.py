"""What of a watcher's requests the broker decides, with who asks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.history import GetPerformance, History
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import (
    CancelOperation,
    ChangePriority,
    Explain,
    GetOperation,
    Kinds,
    ListOperations,
    Pause,
    Resume,
    Submit,
    SubmitMany,
)

__all__ = ["forwarded"]

_MESSAGES: Mapping[type[Struct], Callable[[Principal, Any], Struct]] = {
    Submit: lambda who, request: internal.DoSubmit(principal=who, submissions=(request,)),
    SubmitMany: lambda who, request: internal.DoSubmit(principal=who, submissions=tuple(request.operations)),
    CancelOperation: internal.DoCancel,
    Pause: lambda who, request: internal.DoPause(who, request.operation_id, True),
    Resume: lambda who, request: internal.DoPause(who, request.operation_id, False),
    ChangePriority: lambda who, request: internal.DoPriority(who, request.operation_id, request.priority),
    ListOperations: internal.DoList,
    GetOperation: lambda who, request: internal.DoGet(who, request.operation_id),
    Explain: lambda who, request: internal.DoExplain(who, request.operation_id),
    Kinds: lambda _who, _request: internal.DoKinds(),
    History: internal.DoHistory,
    GetPerformance: lambda who, request: internal.DoPerformance(who, request.operation_id),
}


def forwarded(who: Principal, request: Struct) -> Struct:
    """The broker's message for a request. Raises BadRequestError for what is none."""
    make = _MESSAGES.get(type(request))
    if make is None:
        raise BadRequestError(f"{type(request).__name__} is no request")
    return make(who, request)
