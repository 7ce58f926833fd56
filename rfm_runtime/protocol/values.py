"""What a request or a report may carry as it likes: the values that both encodings, and the next hop, can say."""

from __future__ import annotations

import sys
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from rfm_runtime.protocol.limits import PARAMS_DEPTH
from rfm_runtime.protocol.operation import Int64

__all__ = ["JsonValue", "Params"]

_FINITE = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]


def _json_value(depth: int) -> Any:
    """The type of what both encodings can say, with at most `depth` lists and objects inside each other."""
    scalar: Any = None | bool | Int64 | _FINITE | str
    value = scalar
    for _ in range(depth):
        value = scalar | GenericAlias(list, (value,)) | GenericAlias(dict, (str, value))
    return value


if TYPE_CHECKING:
    JsonValue = Any
else:
    # Not `Any`: MessagePack can say what JSON, a journal's deterministic encoding or the next hop cannot
    # (extension types, keys that are numbers, NaN), JSON has integers that MessagePack lacks, and keys that are
    # lists of numbers can be made to collide. msgspec has no recursive types without structs, hence the bound.
    JsonValue = _json_value(PARAMS_DEPTH)
Params = dict[str, JsonValue]
