"""Golden messages: one file for each message of this release, with every field filled; `make golden` writes them.

Values follow from the types alone, so that the same code writes the same bytes. Files of earlier releases stay as they
are: `tests/unit/rfm_runtime/protocol/test_golden.py` reads all of them with today's code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct, inspect

from rfm_runtime import __version__
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.internal import (
    LastWord,
    OperationMeasure,
    Reply,
    Request,
    TileMeasure,
    pack,
    pack_progress,
    pack_reply,
    pack_request,
)
from rfm_runtime.protocol.messages import NOTICES, REPLIES, REQUESTS
from rfm_runtime.protocol.operation import EVENT_TYPES, OperationEvent
from rfm_runtime.protocol.wire import Encoding, encode

__all__ = ["FOLDER", "RELEASE", "files", "main", "of_scalars", "sample"]

FOLDER = Path(__file__).parent / "data" / "messages"
RELEASE = FOLDER / __version__
INTERNAL: dict[str, type[Struct]] = vars(internal)["_MESSAGES"]
TS_MS = 1_700_000_000_000
PARAMS = {"width": 640, "deep": {"list": [1, 2.5, None, True, "é"]}}


def sample(kind: inspect.Type, name: str) -> Any:
    """A value of this type that is not its default, made from the field's name."""
    match kind:
        case inspect.Metadata():
            return sample(kind.type, name)
        case inspect.StructType():
            return of_struct(kind.cls)
        case inspect.ListType() | inspect.CollectionType():
            return [sample(kind.item_type, name)]
        case inspect.VarTupleType():
            return (sample(kind.item_type, name),)
        case inspect.TupleType():
            return tuple(sample(item, name) for item in kind.item_types)
        case inspect.DictType():
            if of_scalars(kind.value_type):
                return {sample(kind.key_type, name): sample(kind.value_type, name)}
            return PARAMS
        case inspect.UnionType():
            # The richest of them: a struct before a text, anything before nothing.
            order = (inspect.StructType, inspect.DictType, inspect.ListType, inspect.IntType, inspect.StrType)
            ranked = sorted(kind.types, key=lambda one: next((i for i, c in enumerate(order) if isinstance(one, c)), 9))
            return sample(next(one for one in ranked if not isinstance(one, inspect.NoneType)), name)
    return scalar(kind, name)


def of_scalars(kind: inspect.Type) -> bool:
    """Whether a value of this type holds no other."""
    scalars = inspect.BoolType | inspect.StrType | inspect.IntType | inspect.FloatType
    return all(isinstance(one, scalars) for one in (kind.types if isinstance(kind, inspect.UnionType) else (kind,)))


def scalar(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 1 if kind.ge is None and kind.le is None else max(kind.ge or 1, min(7, kind.le or 7))
        case inspect.FloatType():
            return min(1.5, kind.le) if kind.le is not None else 1.5
        case inspect.StrType(pattern=None):
            return name[: kind.max_length] if kind.max_length else name
        case inspect.StrType():
            return "aZ09" * 8
        case inspect.BytesType():
            return b"\x00\xff" + name.encode()
        case inspect.LiteralType():
            return kind.values[-1]
    raise NotImplementedError(kind)


def of_struct(kind: type[Struct]) -> Struct:
    """With every field filled."""
    fields = inspect.type_info(kind).fields  # type: ignore[attr-defined]
    return kind(**{field.name: sample(field.type, field.name) for field in fields})


def event(kind: str) -> OperationEvent:
    made = of_struct(OperationEvent)
    assert isinstance(made, OperationEvent)
    return msgspec.structs.replace(made, type=kind)


def files() -> Iterator[tuple[str, bytes]]:
    """(path below the release's folder, content) of every message."""
    for encoding in get_args(Encoding):
        yield from of_encoding(encoding)
    for name, kind in INTERNAL.items():
        if kind is Request:
            frames = pack_request(7, of_struct(INTERNAL["DoGet"]))
        elif kind is Reply:
            frames = pack_reply(7, of_struct(INTERNAL["StatusReply"]))
        else:
            frames = pack(of_struct(kind))
        # Two frames as two elements: their names are in the files, too.
        yield f"internal/{name}.msgpack", msgspec.msgpack.encode(frames)
    yield "internal/LastWord.msgpack", msgspec.msgpack.encode(of_struct(LastWord))
    for measure in (TileMeasure, OperationMeasure):
        made = of_struct(measure)
        assert isinstance(made, TileMeasure | OperationMeasure)
        yield f"internal/{measure.__name__}.progress", pack_progress(2**64 - 1, 5, made)


def of_encoding(encoding: Encoding) -> Iterator[tuple[str, bytes]]:
    tables: tuple[tuple[str, dict[str, type[Struct]], dict[str, int]], ...] = (
        ("requests", REQUESTS, {"request_id": 7}),
        ("replies", REPLIES, {"reply_to": 7}),
        ("notices", NOTICES, {}),
    )
    for folder, table, numbers in tables:
        for name, kind in table.items():
            yield f"{folder}/{name}.{encoding}", encode(of_struct(kind), encoding, ts=TS_MS, **numbers)
    for name in sorted(EVENT_TYPES):
        yield f"events/{name}.{encoding}", encode(event(name), encoding, ts=TS_MS)


def main() -> None:
    """Write those of this release."""
    for name, content in files():
        path = RELEASE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
