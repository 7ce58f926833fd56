"""Inputs: messages of every kind, damaged in every way that a seed says."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from rfm_runtime.protocol.messages import REQUESTS
from rfm_runtime.protocol.wire import Encoding
from tests.golden import of_struct

__all__ = ["Inputs"]

ALIVE = 8
"""Operations that there are."""

LIMIT_BYTES = 64 * 1024

JSON_TOKENS = [
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"-1e-999",
    b"NaN",
    b"9223372036854775808",
    b"-9223372036854775809",
    b'"\\ud800"',
    b'"\\u0000"',
    b"[" * 600,
    b'{"a":' * 600,
    b"]",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"1" * 5000,
    b'"id":1,',
    b'"type":"ping",',
    b'"data":{},',
    b"/*",
    b"\x00",
]
MSGPACK_TOKENS = [
    b"\xc0",
    b"\xc1",
    b"\xc3",
    b"\xca\x7f\xc0\0\0",
    b"\xcb\x7f\xf0" + b"\0" * 6,
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + b"\0" * 7,
    b"\xd9\xff",
    b"\xda\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc4\x01\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xde\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\x91" * 600,
    b"\x81\xa1a" * 600,
    b"\xd4\x05\x01",
    b"\xc7\x0c\xff" + b"\x7f" * 12,
    b"\xd6\xff\0\0\0\0",
    b"\x80",
    b"\x90",
    b"\xa0",
    b"\x81\x01\x01",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    0.0,
    -0.0,
    0.5,
    1e308,
    5e-324,
    "",
    " ",
    "a",
    "x" * 129,
    "x" * 9000,
    "\0",
    "../..",
    "a/b",
    "é",
    "\U0001f600",
    "\u202e",
    "ann",
    "root",
    "hard",
    "all",
    "mine",
    "op-1",
    [],
    [[]],
    {},
    {"": None},
    [None] * 70,
    ["a"] * 1001,
    {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}},
]


class Inputs:
    """A sequence of inputs that follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.operations = [f"op-{number}" for number in range(ALIVE)]
        self._whole = [
            {"type": name, "id": 7, "data": msgspec.to_builtins(of_struct(kind))} for name, kind in REQUESTS.items()
        ]
        self._ways: list[Callable[[Encoding], bytes]] = [
            self._changed,
            self._changed,
            self._damaged,
            self._batch,
            self._rubbish,
        ]

    def next(self) -> tuple[bytes, Encoding]:
        """One input, and the encoding in which it was meant."""
        encoding: Encoding = self.random.choice(get_args(Encoding))
        return self.random.choice(self._ways)(encoding)[:LIMIT_BYTES], encoding

    def _encoded(self, message: Any, encoding: Encoding) -> bytes:
        if encoding == "msgpack":
            return msgspec.msgpack.encode(message)
        try:
            return msgspec.json.encode(message)
        except (UnicodeEncodeError, ValueError):
            return json.dumps(message).encode()

    def _message(self) -> dict[str, Any]:
        message = self.random.choice(self._whole)
        data = dict(message["data"])
        if "operation_id" in data and self.random.random() < 0.7:
            data["operation_id"] = self.random.choice(self.operations)
        return {**message, "data": data}

    def _changed(self, encoding: Encoding) -> bytes:
        """A message with other values in some of its fields: most of these get past the codec."""
        message = self._message()
        for _ in range(self.random.randrange(4)):
            place = message if self.random.random() < 0.2 else message["data"]
            if not isinstance(place, dict):
                break
            key = self.random.choice([*place, "unknown"])
            if self.random.random() < 0.2:
                place.pop(key, None)
            else:
                place[key] = copy.deepcopy(self.random.choice(VALUES))
            if not isinstance(message.get("data"), dict):
                break
        return self._encoded(message, encoding)

    def _damaged(self, encoding: Encoding) -> bytes:
        """Bytes of a message with some put in, taken out, turned over, doubled or cut off."""
        data = bytearray(self._encoded(self._message(), encoding))
        for _ in range(1 + self.random.randrange(3)):
            at = self.random.randrange(len(data) + 1)
            match self.random.randrange(6):
                case 0:
                    data[at:at] = self.random.choice(JSON_TOKENS if encoding == "json" else MSGPACK_TOKENS)
                case 1:
                    del data[at : at + self.random.randrange(9)]
                case 2 if at < len(data):
                    data[at] ^= 1 << self.random.randrange(8)
                case 3:
                    data[at:at] = data[at : at + self.random.randrange(64)]
                case 4:
                    del data[at:]
                case _:
                    data[at:at] = self.random.randbytes(self.random.randrange(9))
        return bytes(data)

    def _batch(self, encoding: Encoding) -> bytes:
        messages = [self._message() for _ in range(self.random.choice([0, 1, 2, 3, 5, 66]))]
        return self._encoded(messages, encoding)

    def _rubbish(self, encoding: Encoding) -> bytes:
        tokens = JSON_TOKENS if encoding == "json" else MSGPACK_TOKENS
        if self.random.random() < 0.5:
            return self.random.randbytes(self.random.randrange(64))
        return b"".join(self.random.choice(tokens) for _ in range(self.random.randrange(6)))
