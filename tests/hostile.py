"""A peer that says whatever it likes: bytes on a socket, frames of any shape, for tests of what becomes of it."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from urllib.parse import urlsplit

__all__ = ["Peer", "frame", "upgrade"]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x00\x00\x00\x00"
"""XOR with nothing: the payload is as it is written here."""


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame (RFC 6455, 5.2)."""
    return head(opcode, len(payload), fin=fin, rsv=rsv, masked=masked) + payload


def head(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame up to its payload, whose length it claims."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if masked else 0
    if length < 126:
        size = struct.pack("!BB", first, bit | length)
    elif length < 65536:
        size = struct.pack("!BBH", first, bit | 126, length)
    else:
        size = struct.pack("!BBQ", first, bit | 127, length)
    return size + (MASK if masked else b"")


def upgrade(*lines: str, path: str = "/v1/ws", token: str | None = None) -> bytes:
    """A request to open a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
    head += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*head, *lines, "", ""]).encode()


class Peer:
    """A connection to a server at `url`."""

    def __init__(self, url: str, *, timeout_s: float = 20.0, receive_bytes: int | None = None) -> None:
        where = urlsplit(url)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout_s)
        self.socket.connect((where.hostname, where.port))
        self.buffer = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """As far as the server takes it: it may have closed in the middle."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def open(self, *lines: str, token: str | None = None) -> bytes:
        """Open a WebSocket; the head of the answer."""
        self.socket.sendall(upgrade(*lines, token=token))
        return self.head()

    def head(self) -> bytes:
        """Everything up to the first empty line."""
        while b"\r\n\r\n" not in self.buffer and self._more():
            pass
        answer, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return answer

    def status(self) -> int:
        """Of an answer in HTTP; 0 if the connection was closed without one."""
        first = self.head().split(b" ", 2)
        return int(first[1]) if len(first) > 1 else 0

    def frames(self) -> list[tuple[int, bytes]]:
        """All that come until the server closes: opcode and payload."""
        found = []
        while (one := self.next()) is not None:
            found.append(one)
        return found

    def next(self) -> tuple[int, bytes] | None:
        """The next frame; None once the connection is closed."""
        if not self._has(2):
            return None
        length, start = self.buffer[1] & 0x7F, 2
        if length == 126:
            if not self._has(4):
                return None
            length, start = struct.unpack("!H", self.buffer[2:4])[0], 4
        elif length == 127:
            if not self._has(10):
                return None
            length, start = struct.unpack("!Q", self.buffer[2:10])[0], 10
        if not self._has(start + length):
            return None
        opcode, payload = self.buffer[0] & 0x0F, self.buffer[start : start + length]
        self.buffer = self.buffer[start + length :]
        return opcode, payload

    def close_code(self) -> int | None:
        """That the server closes with; None if it just ends the connection."""
        for opcode, payload in self.frames():
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005
        return None

    def _has(self, count: int) -> bool:
        while len(self.buffer) < count:
            if not self._more():
                return False
        return True

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.buffer += data
        return bool(data)
