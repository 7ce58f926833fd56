"""The text chunks of a PNG, wherever in the file they are. Nothing is decoded but them, so the picture may be huge.

Own, since Pillow is not there where a picture is only submitted, and decodes all of it to find text behind the pixels.
PNG specification, third edition, sections 5 and 11.3.3.
"""

from __future__ import annotations

import struct
import zlib

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files.text import LIMIT_BYTES

__all__ = ["SIGNATURE", "text_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

CHUNKS_LIMIT = 1_000_000
"""More than a picture of 400 megapixels has, in pieces of 64 KB."""


def text_chunks(data: bytes | memoryview, *, whole: bool = True) -> dict[str, str]:
    """Key → text of all tEXt, zTXt and iTXt chunks. A chunk that is longer than a file of parameters is left out.

    whole: the data are all of the file, not only its beginning. Raises BadRequestError if it is not a (whole) PNG.
    """
    if bytes(data[: len(SIGNATURE)]) != SIGNATURE:
        raise BadRequestError("the file is not a PNG", hint="name a picture that rfm-runtime has written")
    found: dict[str, str] = {}
    at = len(SIGNATURE)
    for _ in range(CHUNKS_LIMIT):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if kind == b"IEND":
            return found
        if kind in (b"tEXt", b"zTXt", b"iTXt") and length <= LIMIT_BYTES:
            body = bytes(data[at + 8 : end - 4])
            if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
                raise BadRequestError("the PNG is damaged: the text in it has changed", hint="use another copy of it")
            key, text = _text(kind, body)
            found.setdefault(key, text)
        at = end
    if not whole:
        return found
    raise BadRequestError("the PNG is not complete", hint="use another copy of it")


def _text(kind: bytes, body: bytes) -> tuple[str, str]:
    key, _, rest = body.partition(b"\0")
    encoding, compressed = "latin-1", kind == b"zTXt"
    if compressed:
        rest = rest[1:]
    elif kind == b"iTXt":
        # Flag, method, language and a translated key.
        encoding, compressed = "utf-8", rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if compressed:
        try:
            rest = zlib.decompressobj().decompress(rest, LIMIT_BYTES)
        except zlib.error:
            rest = b""
    return key.decode("latin-1"), rest.decode(encoding, "replace")
