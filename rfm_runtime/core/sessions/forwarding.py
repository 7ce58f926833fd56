"""What of a watcher's requests the broker decides, with who asks; and the broker's answers, for watchers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.figures import GetOperationReport, GetPeriodReport
from rfm_runtime.protocol.history import GetPerformance, History
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import (
    CancelOperation,
    ChangePriority,
    Explain,
    Explanation,
    GetOperation,
    Kinds,
    KindsReply,
    ListOperations,
    Ok,
    Pause,
    Resume,
    Submit,
    SubmitMany,
    SubmitManyReply,
)
from rfm_runtime.protocol.notifying import GetRules, SetRules
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import GetTimeline

__all__ = ["forwarded", "translated"]

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
    Kinds: lambda who, _request: internal.DoKinds(who),
    History: internal.DoHistory,
    GetTimeline: internal.DoTimeline,
    GetPeriodReport: internal.DoPeriodReport,
    GetOperationReport: lambda who, request: internal.DoOperationReport(who, request.operation_id),
    Revoke: internal.DoRevoke,
    GetRules: lambda who, _request: internal.DoGetRules(who),
    SetRules: internal.DoSetRules,
    GetPerformance: lambda who, request: internal.DoPerformance(who, request.operation_id),
}


def forwarded(grant: Grant, request: Struct) -> Struct:
    """The broker's message for a request. Raises BadRequestError for what is none."""
    who = grant.principal
    if isinstance(request, SignInLink):
        return internal.DoSignInLink(who, request, grant.token_id, grant.issued_at_ms, grant.expires_at_ms)
    make = _MESSAGES.get(type(request))
    if make is None:
        raise BadRequestError(f"{type(request).__name__} is no request")
    return make(who, request)


def translated(answer: Struct, asked: Struct) -> Struct:
    """The watcher's reply for the broker's answer to what was `forwarded`."""
    match answer, asked:
        case internal.Submitted(), internal.DoSubmit():
            many = not isinstance(asked.submissions[0], Submit)
            return SubmitManyReply(list(answer.replies)) if many else answer.replies[0]
        case internal.Ack(), _:
            return Ok()
        case internal.Explained(), _:
            return Explanation(list(answer.lines))
        case internal.KindsKnown(), _:
            return KindsReply(list(answer.kinds))
    return answer
