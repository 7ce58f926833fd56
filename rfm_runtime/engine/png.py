"""A PNG file written strip by strip: memory for a strip, whatever the size of the picture.

Pillow wants the whole picture in memory, 4 bytes a pixel. Each row is stored as its difference to the row above
(filter *up*): on smooth pictures that is as small as choosing a filter for each row, in half the time. Strips are
compressed each by itself, so that several threads can do it, as pigz does: a strip of some hundred kilobytes loses
nothing by it that is worth counting.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["COMPRESS_LEVEL", "PngWriter", "Strip", "compressed"]

COMPRESS_LEVEL = 3
"""zlib's: a fifth larger than the default of 6 on smooth pictures, at a third of its time (measured at 4K)."""

UP = 2
"""Filter type of the PNG specification, section 9.2."""

ZLIB_HEADER = b"\x78\x5e"
"""RFC 1950: deflate with a window of 32 KB, fast."""

ADLER_BASE = 65_521


class Strip(NamedTuple):
    """Compressed rows. adler: checksum of what was compressed, length: its bytes."""

    rows: int
    deflated: bytes
    adler: int
    length: int


def compressed(
    rgb: NDArray[np.uint8] | NDArray[np.uint16],
    above: NDArray[np.uint8] | NDArray[np.uint16] | None = None,
    *,
    level: int = COMPRESS_LEVEL,
) -> Strip:
    """Rows [h, width, 3], below the row `above` [width, 3] (None: they are the picture's first). From any thread."""
    rows = _bytes(rgb)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0] if above is None else rows[0] - _bytes(above[None])[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflate.compress(filtered.data) + deflate.flush(zlib.Z_FULL_FLUSH)
    return Strip(len(rows), deflated, zlib.adler32(filtered.data), filtered.nbytes)


def _bytes(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """In the order in which PNG has them."""
    kind = np.dtype(f">u{rgb.itemsize}")
    return np.ascontiguousarray(rgb.reshape(len(rgb), -1).astype(kind, copy=False)).view(np.uint8)


class PngWriter:
    """RGB, bits (8 or 16) a channel. text: Latin-1 keys and any text, as iTXt chunks."""

    def __init__(self, file: BinaryIO, width: int, height: int, text: Mapping[str, str], *, bits: int = 8) -> None:
        self._file = file
        self._above: NDArray[np.uint8] | NDArray[np.uint16] | None = None
        self._left = height
        self._adler = 1
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
        for key, value in text.items():
            # Uncompressed, without language and translated key.
            self._chunk(b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + value.encode())
        self._chunk(b"IDAT", ZLIB_HEADER)

    def rows(self, rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
        """The next rows, [h, width, 3], in as many bits as the picture has."""
        self.strip(compressed(rgb, self._above))
        self._above = rgb[-1].copy()

    def strip(self, strip: Strip) -> None:
        """The next rows, compressed already."""
        self._left -= strip.rows
        self._adler = _both(self._adler, strip.adler, strip.length)
        self._chunk(b"IDAT", strip.deflated)

    def end(self) -> None:
        """After the last row. Raises ValueError if there were too few or too many."""
        if self._left:
            raise ValueError(f"{self._left} rows are missing")
        # An empty last block, for none of the strips knew that it was the last.
        self._chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self._adler))
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind)
        self._file.write(data)
        self._file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _both(first: int, second: int, length: int) -> int:
    """The Adler-32 of two parts from those of each; length: of the second, in bytes. RFC 1950, section 8.2."""
    low, high = first & 0xFFFF, first >> 16
    low2, high2 = second & 0xFFFF, second >> 16
    # The second part's sums began at 1 and 0; they should have begun at what the first part left.
    both_high = high + high2 + length * (low - 1)
    return (both_high % ADLER_BASE) << 16 | (low + low2 - 1) % ADLER_BASE
