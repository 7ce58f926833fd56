"""The PNG that is written strip by strip is the one that Pillow reads."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from rfm_runtime.engine.png import PngWriter


def written(pixels, strip, text=()):
    file = io.BytesIO()
    picture = PngWriter(file, pixels.shape[1], pixels.shape[0], dict(text), bits=8 * pixels.itemsize)
    for top in range(0, len(pixels), strip):
        picture.rows(pixels[top : top + strip])
    picture.end()
    return file.getvalue()


def unpacked(data):
    packed, at = b"", 8
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + length] * (kind == b"IDAT")
        at += 12 + length
    return zlib.decompress(packed)


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 7), (50, 31)])
@pytest.mark.parametrize("strip", [1, 7, 100])
def test_any_size_in_any_strips_is_read_back_to_the_last_bit(size, strip):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    data = written(pixels, strip)
    assert (np.asarray(Image.open(io.BytesIO(data))) == pixels).all()
    # One stream with one checksum, which zlib looks at and Pillow does not, whatever parts it was compressed in.
    assert unpacked(data) == unpacked(written(pixels, 1000))


def test_16_bits_are_the_unfiltered_rows_of_the_file():
    # Pillow reads RGB of 16 bits as 8: the file is taken apart here.
    pixels = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), np.uint16)
    data = written(pixels, 2)
    assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == pixels >> 8).all()
    assert data[24:26] == bytes([16, 2])
    rows = np.frombuffer(unpacked(data), np.uint8).reshape(5, -1)
    assert (rows[:, 0] == 2).all()
    plain = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert (plain.view(">u2").reshape(5, 7, 3) == pixels).all()


def test_text_is_read_back_whatever_is_in_it():
    image = Image.open(io.BytesIO(written(np.zeros((2, 2, 3), np.uint8), 2, {"key": "Grüße, 世界", "other": ""})))
    image.load()
    assert image.text == {"key": "Grüße, 世界", "other": ""}


def test_a_picture_that_ends_early_is_an_error():
    picture = PngWriter(io.BytesIO(), 2, 3, {})
    picture.rows(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="1 rows are missing"):
        picture.end()
