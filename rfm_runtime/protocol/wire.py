"""The codec of `rfm.v1`: envelopes in JSON or MessagePack, from and to the same structs.

The only parser of what comes from a watcher. `decode_*` raise `BadRequestError` or
`TooLargeError` for anything that is not the protocol, and nothing else, whatever the bytes.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from rfm_runtime.errors import BadRequestError, TooLargeError
from rfm_runtime.protocol.limits import BATCH_LIMIT, PARAMS_DEPTH
from rfm_runtime.protocol.messages import NOTICES, REPLIES, REQUESTS
from rfm_runtime.protocol.operation import EVENT_TYPES, Int64, OperationEvent
from rfm_runtime.protocol.values import JsonValue

__all__ = [
    "SUBPROTOCOLS",
    "Encoding",
    "Envelope",
    "decode_batch",
    "decode_message",
    "decode_request",
    "encode",
    "encode_part",
    "join",
    "type_of",
]

Encoding = Literal["json", "msgpack"]
T = TypeVar("T")
S = TypeVar("S", bound=Struct)

SUBPROTOCOLS: dict[str, Encoding] = {"rfm.v1.json": "json", "rfm.v1.msgpack": "msgpack"}
"""`Sec-WebSocket-Protocol` → encoding; none offered means JSON."""


class Envelope(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What surrounds every message. `id` of a request, `re` of its reply, `seq` of an event."""

    type: str
    ts: Int64 = 0
    id: Int64 | None = None
    re: Int64 | None = None
    seq: Int64 | None = None
    data: Raw = Raw(b"")


class _RawParams(Struct, frozen=True):
    params: dict[str, Raw]


_Decoder: TypeAlias = msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T]
_DECODE_ONE: dict[str, _Decoder[Envelope]] = {
    "json": msgspec.json.Decoder(Envelope),
    "msgpack": msgspec.msgpack.Decoder(Envelope),
}
_DECODE_MANY: dict[str, _Decoder[list[Envelope]]] = {
    "json": msgspec.json.Decoder(list[Envelope]),
    "msgpack": msgspec.msgpack.Decoder(list[Envelope]),
}
_ENCODERS: dict[str, msgspec.json.Encoder | msgspec.msgpack.Encoder] = {
    "json": msgspec.json.Encoder(),
    "msgpack": msgspec.msgpack.Encoder(),
}
_PARAMS_HINT = (
    "finite numbers, integers of 64 bits, text, lists and objects with text as keys, "
    f"nested at most {PARAMS_DEPTH} deep; send longer numbers as text"
)
_EMPTY = {"json": b"{}", "msgpack": b"\x80"}
_TYPE_OF: dict[type[Struct], str] = {
    struct: name for table in (REQUESTS, REPLIES, NOTICES) for name, struct in table.items()
}
_FROM_SERVER: dict[str, type[Struct]] = {
    **REPLIES,
    **NOTICES,
    **dict.fromkeys(EVENT_TYPES, OperationEvent),
}


def type_of(data: Struct) -> str:
    """The envelope type a struct travels under."""
    return data.type if isinstance(data, OperationEvent) else _TYPE_OF[type(data)]


def encode(
    data: Struct, encoding: Encoding, *, ts: int, request_id: int | None = None, reply_to: int | None = None
) -> bytes:
    """One encoded envelope around `data`."""
    encoder = _ENCODERS[encoding]
    envelope = Envelope(
        type=type_of(data),
        ts=ts,
        id=request_id,
        re=reply_to,
        seq=data.seq if isinstance(data, OperationEvent) else None,
        data=Raw(encoder.encode(data)),
    )
    return encoder.encode(envelope)


def encode_part(data: Struct, encoding: Encoding) -> Raw:
    """A struct for a place in another one, which is encoded around it."""
    return Raw(_ENCODERS[encoding].encode(data))


def join(parts: list[bytes], encoding: Encoding) -> bytes:
    """One WebSocket message from already encoded envelopes: the envelope itself, or an array."""
    if len(parts) == 1:
        return parts[0]
    if encoding == "json":
        return b"[" + b",".join(parts) + b"]"
    count = len(parts)
    if count < 16:
        head = bytes((0x90 | count,))
    elif count < 1 << 16:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(parts)


def decode_batch(message: bytes | str, encoding: Encoding, *, batch_limit: int = BATCH_LIMIT) -> list[Envelope]:
    """The envelopes of one WebSocket message; `data` is still encoded.

    Raises BadRequestError (not an envelope or an array of them) or TooLargeError (too many).
    """
    raw = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    try:
        envelopes = (
            _DECODE_MANY[encoding].decode(raw) if _is_array(raw, encoding) else [_DECODE_ONE[encoding].decode(raw)]
        )
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequestError(
            f"not an rfm.v1 {encoding} envelope: {_brief(error)}",
            hint='send {"type": …, "data": {…}} or an array of them',
        ) from None
    if len(envelopes) > batch_limit:
        raise TooLargeError(
            f"{len(envelopes)} envelopes in one message, {batch_limit} are allowed", hint="send several messages"
        )
    return envelopes


def _is_array(raw: bytes, encoding: Encoding) -> bool:
    if encoding == "json":
        return raw.lstrip(b" \t\r\n")[:1] == b"["
    return bool(raw) and (0x90 <= raw[0] <= 0x9F or raw[0] in (0xDC, 0xDD))


def decode_request(envelope: Envelope, encoding: Encoding) -> Struct:
    """The data of a client's envelope. Raises BadRequestError; an unknown type is one."""
    struct = REQUESTS.get(envelope.type)
    if struct is None:
        known = ", ".join(sorted(REQUESTS))
        raise BadRequestError(f"unknown message type {envelope.type[:64]!r}", hint=f"known types: {known}")
    return _decode_data(envelope, encoding, struct)


def decode_message(envelope: Envelope, encoding: Encoding) -> Struct | None:
    """The data of a server's envelope; None for a type of a newer server, which a client ignores."""
    struct = _FROM_SERVER.get(envelope.type)
    return None if struct is None else _decode_data(envelope, encoding, struct)


def _decode_data(envelope: Envelope, encoding: Encoding, struct: type[S]) -> S:
    raw = bytes(envelope.data) or _EMPTY[encoding]
    try:
        if encoding == "json":
            return msgspec.json.decode(raw, type=struct)
        return msgspec.msgpack.decode(raw, type=struct)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if "$.params[" in str(error) and (name := _bad_parameter(raw, encoding)) is not None:
            raise BadRequestError(
                f"{envelope.type}: {name!r} is no value that JSON can say", hint=_PARAMS_HINT
            ) from None
        raise BadRequestError(
            f"{envelope.type}: {_brief(error)}", hint="see the message's fields in docs/protocol.md"
        ) from None


def _bad_parameter(raw: bytes, encoding: Encoding) -> str | None:
    """The first of the parameters that is refused, which msgspec's message does not name."""
    codec = msgspec.json if encoding == "json" else msgspec.msgpack
    try:
        params: dict[str, Raw] = codec.decode(raw, type=_RawParams).params
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    for name, value in params.items():
        try:
            codec.decode(bytes(value), type=JsonValue)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return name[:64]
    return None


def _brief(error: Exception) -> str:
    text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return text[:200]
