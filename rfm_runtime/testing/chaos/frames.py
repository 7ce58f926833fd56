"""Where the frames of a WebSocket begin and end in a stream of bytes. Pure."""

from __future__ import annotations

__all__ = ["FrameMeter"]

HEAD_END = b"\r\n\r\n"
SHORT, LONG = 126, 127


class FrameMeter:
    """One direction of a connection, from the handshake on."""

    def __init__(self) -> None:
        self._in_head = True
        self._head = b""
        self._header = bytearray()
        self._left = 0

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end within a frame."""
        return bool(self._header) or self._left > 0

    def feed(self, piece: bytes, *, cutting: bool = False) -> int | None:
        """Take the next bytes. cutting: how many of them to let through to end in the middle of a frame, if they do."""
        at = 0
        if self._in_head:
            before = len(self._head)
            self._head += piece
            end = self._head.find(HEAD_END)
            if end < 0:
                return None
            self._in_head = False
            at = end + len(HEAD_END) - before
        while at < len(piece):
            if self._left == 0:
                self._header.append(piece[at])
                at += 1
                size = self._size()
                if size is None:
                    continue
                self._header.clear()
                self._left = size
                if size == 0:
                    continue
            step = min(self._left, len(piece) - at)
            if cutting and step > 1:
                return at + step // 2
            self._left -= step
            at += step
        return None

    def _size(self) -> int | None:
        """Of the payload, its mask included; None while the header is not complete."""
        header = self._header
        if len(header) < 2:
            return None
        mask = 4 if header[1] & 0x80 else 0
        length = header[1] & 0x7F
        extra = {SHORT: 2, LONG: 8}.get(length, 0)
        if len(header) < 2 + extra:
            return None
        if extra:
            length = int.from_bytes(header[2 : 2 + extra], "big")
        return mask + length
