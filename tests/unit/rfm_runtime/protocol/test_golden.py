"""Messages of this and of earlier releases, as they were written then, read with today's code; and a newer peer's."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct, inspect

from rfm_runtime.errors import BadRequestError, UnavailableError, UnsupportedError
from rfm_runtime.protocol.internal import (
    PROGRESS_HEADER,
    LastWord,
    Reply,
    Request,
    unpack,
    unpack_body,
    unpack_progress,
)
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.wire import Encoding, decode_batch, decode_message, decode_request
from tests import golden

pytestmark = pytest.mark.scenario("D13")

FILES = sorted(path for path in golden.FOLDER.rglob("*") if path.is_file())
WIRE = [path for path in FILES if path.parent.name != "internal"]
INTERNAL = [path for path in FILES if path.parent.name == "internal" and path.suffix == ".msgpack"]
CODECS: dict[str, Any] = {"json": msgspec.json, "msgpack": msgspec.msgpack}
STRANGE = {"of_a_newer_release": {"list": [1, "two"]}, "another": None}


def name_of(path: Path) -> str:
    return path.relative_to(golden.FOLDER).as_posix()


def test_every_message_of_this_release_is_there_as_it_is_written() -> None:
    written = dict(golden.files())
    there = {path.relative_to(golden.RELEASE).as_posix(): path for path in golden.RELEASE.rglob("*") if path.is_file()}
    assert written.keys() == there.keys(), "run `make golden`"
    changed = [name for name, path in there.items() if path.read_bytes() != written[name]]
    assert not changed, "a message has changed: run `make golden`, and say so in docs/protocol.md"


def read(path: Path, data: bytes) -> Struct:
    """What a peer of today makes of it."""
    encoding: Encoding = "json" if path.suffix == ".json" else "msgpack"
    (envelope,) = decode_batch(data, encoding)
    if path.parent.name == "requests":
        return decode_request(envelope, encoding)
    message = decode_message(envelope, encoding)
    assert message is not None
    return message


def plain(value: Any) -> Any:
    """As both encodings have it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def contains(now: Any, then: Any) -> bool:
    """Whether everything that was said then is there now: a message may have grown, and lost nothing."""
    if isinstance(then, dict) and isinstance(now, dict):
        return all(key in now and contains(now[key], inner) for key, inner in then.items())
    if isinstance(then, list) and isinstance(now, list):
        return len(now) >= len(then) and all(contains(one, inner) for one, inner in zip(now, then, strict=False))
    return bool(now == then)


@pytest.mark.parametrize("path", WIRE, ids=name_of)
def test_what_watchers_and_gateways_said_is_read(path: Path) -> None:
    codec = CODECS[path.suffix[1:]]
    said = codec.decode(path.read_bytes())
    message = read(path, path.read_bytes())
    understood = codec.decode(codec.encode(message))
    assert contains(plain(understood), plain(said.get("data", {})))


@pytest.mark.parametrize("path", INTERNAL, ids=name_of)
def test_what_processes_said_is_read(path: Path) -> None:
    if path.stem == LastWord.__name__:
        body, message = path.read_bytes(), msgspec.msgpack.decode(path.read_bytes(), type=LastWord)
    else:
        frames = msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
        body, message = frames[1], unpack(frames)
        if isinstance(message, Request | Reply):
            unpack_body(message)
    understood = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    assert contains(plain(understood), plain(msgspec.msgpack.decode(body)))


@pytest.mark.parametrize("path", sorted(golden.FOLDER.rglob("*.progress")), ids=name_of)
def test_what_owners_measured_is_read(path: Path) -> None:
    message = path.read_bytes()
    measure = unpack_progress(message)
    assert type(measure).__name__ == path.stem
    longer = [*msgspec.msgpack.decode(message[PROGRESS_HEADER:]), {"of": "a newer release"}]
    assert unpack_progress(message[:PROGRESS_HEADER] + msgspec.msgpack.encode(longer)) == measure


def with_more(value: Any, kind: inspect.Type) -> Any:
    """Fields that nobody knows yet, wherever a message has fields."""
    match kind:
        case inspect.Metadata():
            return with_more(value, kind.type)
        case inspect.StructType() if isinstance(value, dict):
            known = {field.encode_name: field.type for field in kind.fields}
            # What says which of several a message is, is no field of it.
            tag = {kind.tag_field: value[kind.tag_field]} if kind.tag_field in value else {}
            return tag | {key: with_more(value[key], known[key]) for key in value.keys() - tag.keys()} | STRANGE
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            return [with_more(inner, kind.item_type) for inner in value]
        case inspect.UnionType():
            structs = [one for one in kind.types if isinstance(one, inspect.StructType)]
            return with_more(value, structs[0]) if len(structs) == 1 else value
    return value


@pytest.mark.parametrize("path", WIRE, ids=name_of)
def test_fields_of_a_newer_peer_are_ignored_everywhere(path: Path) -> None:
    codec = CODECS[path.suffix[1:]]
    message = read(path, path.read_bytes())
    said = codec.decode(path.read_bytes())
    said["data"] = with_more(said.get("data", {}), inspect.type_info(type(message)))
    assert "another" in said["data"]
    assert read(path, codec.encode(said | STRANGE)) == message


@pytest.mark.parametrize("path", INTERNAL, ids=name_of)
def test_fields_of_a_newer_process_are_ignored(path: Path) -> None:
    if path.stem == LastWord.__name__:
        return
    head, body = msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
    message = unpack([head, body])
    if isinstance(message, Request | Reply):
        return
    more = with_more(msgspec.msgpack.decode(body), inspect.type_info(type(message)))
    assert "another" in more
    assert unpack([head, msgspec.msgpack.encode(more)]) == message


def without_one(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, the message without it) of every field that has a default."""
    said = CODECS[path.suffix[1:]].decode(path.read_bytes())
    for field in inspect.type_info(type(read(path, path.read_bytes()))).fields:  # type: ignore[attr-defined]
        if not field.required and field.encode_name in said.get("data", {}):
            data = {key: value for key, value in said["data"].items() if key != field.encode_name}
            yield field.name, said | {"data": data}


@pytest.mark.parametrize("path", WIRE, ids=name_of)
def test_an_older_peer_leaves_out_what_it_does_not_know(path: Path) -> None:
    codec = CODECS[path.suffix[1:]]
    for name, said in without_one(path):
        kind = type(read(path, codec.encode(said)))
        field = next(one for one in msgspec.structs.fields(kind) if one.name == name)
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator]
        assert getattr(read(path, codec.encode(said)), name) == default


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_message_that_nobody_knows_is_ignored_by_clients_and_refused_by_servers(encoding: Encoding) -> None:
    for kind in ("operation_teleported", "hologram"):
        data = CODECS[encoding].encode({"type": kind, "seq": 9, "data": {"operation_id": "x"}})
        (envelope,) = decode_batch(data, encoding)
        assert decode_message(envelope, encoding) is None
        with pytest.raises(BadRequestError, match=kind):
            decode_request(envelope, encoding)


def test_a_process_says_that_it_does_not_know_a_message_or_a_version() -> None:
    with pytest.raises(UnsupportedError, match="Hologram"):
        unpack([b"\x01Hologram", b"\x80"])
    with pytest.raises(UnsupportedError, match="version 2"):
        unpack([b"\x02Ack", b"\x80"])


def test_an_error_of_a_newer_release_is_repeated_if_it_says_so() -> None:
    passing = ErrorInfo(code="overheated", message="wait", temporary=True, retry_after_ms=1500).to_exception()
    assert (type(passing), passing.retry_after_s) == (UnavailableError, 1.5)
