"""Raw data for other programs, read by readers that are not the writers: NumPy, and an EXR reader of a page."""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rfm_runtime.client import raw_files
from rfm_runtime.client.handle import write_file
from rfm_runtime.client.raw_files import exr_channels, need_exr, write_exr, write_npz
from rfm_runtime.errors import MissingExtraError
from rfm_runtime.render.files import kfr
from rfm_runtime.render.request import RenderRequest, validate

REQUEST = validate({"re": "-0.5", "im": "0.25", "width": "0.03", "width_px": 3, "height_px": 2, "max_iter": 50})
N = np.array([[0, 7, -1], [49, -3, 5]], np.int32)
NF = np.array([[0.25, 0.5, 0.0], [0.875, 0.0, 0.0]], np.float32)


# --- .npz -----------------------------------------------------------------------------------------


def npz(n: np.ndarray, nf: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_npz(file, n, nf, REQUEST)
    return file.getvalue()


def test_npz() -> None:
    with np.load(io.BytesIO(npz(N, NF)), allow_pickle=False) as found:
        assert set(found) == {"n", "mu", "request"}
        assert (found["n"].dtype, found["mu"].dtype) == (np.int64, np.float64)
        assert found["n"].tolist() == N.tolist()
        nan = math.nan
        np.testing.assert_array_equal(found["mu"], [[0.25, 7.5, nan], [49.875, nan, 5.0]])
        assert validate(str(found["request"]).encode()) == REQUEST


def test_npz_of_many_strips_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_files, "STRIP_PX", 1000)
    rng = np.random.default_rng(1)
    n = rng.integers(-1, 1000, (150, 110), np.int32)
    nf = rng.random(n.shape, np.float32)
    content = npz(n, nf)
    assert content == npz(n, nf)
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        assert np.array_equal(found["n"], n)
        escaped = n >= 0
        assert np.array_equal(found["mu"][escaped], n[escaped] + nf[escaped].astype(np.float64))
        assert np.isnan(found["mu"][~escaped]).all()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken(file: Any) -> None:
        file.write(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_file(tmp_path / "x", broken, force=False)
    assert list(tmp_path.iterdir()) == []
    assert write_file(tmp_path / "x", lambda file: file.write(b"all"), force=False).read_bytes() == b"all"


# --- EXR ------------------------------------------------------------------------------------------

PIXELS = {0: np.dtype("<u4"), 2: np.dtype("<f4")}


def exr(content: bytes) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Attributes and channels of a single-part file of scan lines with ZIP compression.

    After "OpenEXR File Layout" of openexr.com, and nothing else.
    """
    magic, version = struct.unpack_from("<II", content)
    assert (magic, version) == (20000630, 2)
    at, attributes = 8, {}

    def name() -> str:
        nonlocal at
        end = content.index(0, at)
        text, at = content[at:end].decode(), end + 1
        return text

    while key := name():
        name()
        (size,) = struct.unpack_from("<i", content, at)
        attributes[key] = content[at + 4 : at + 4 + size]
        at += 4 + size
    assert attributes["compression"] == b"\x03", "ZIP, 16 lines a block"
    assert attributes["lineOrder"] == b"\0"
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    kinds = {}
    listed = attributes["channels"]
    while listed != b"\0":
        key, _, rest = listed.partition(b"\0")
        kind, _, xs, ys = struct.unpack_from("<iIii", rest)
        assert (xs, ys) == (1, 1)
        kinds[key.decode()] = PIXELS[kind]
        listed = rest[16:]
    assert list(kinds) == sorted(kinds)
    channels = {key: np.zeros((height, width), dtype) for key, dtype in kinds.items()}
    for (place,) in struct.iter_unpack("<Q", content[at : at + 8 * -(-height // 16)]):
        y, size = struct.unpack_from("<ii", content, place)
        lines = min(16, bottom - y + 1)
        whole = lines * 4 * width * len(kinds)
        data = content[place + 8 : place + 8 + size]
        raw = np.frombuffer(data if size == whole else unpacked(zlib.decompress(data)), np.uint8)
        rows = raw.reshape(lines, len(kinds), 4 * width)
        for index, (key, dtype) in enumerate(kinds.items()):
            channels[key][y - top : y - top + lines] = np.ascontiguousarray(rows[:, index]).view(dtype)
    return attributes, channels


def unpacked(data: bytes) -> bytes:
    """Undo differences between bytes, then the split into bytes at even and at odd places."""
    values = np.frombuffer(data, np.uint8).astype(np.int64)
    values[1:] -= 128
    summed = np.cumsum(values).astype(np.uint8)
    result = np.empty_like(summed)
    half = (len(summed) + 1) // 2
    result[0::2], result[1::2] = summed[:half], summed[half:]
    return result.tobytes()


def written(*planes: Any, request: RenderRequest = REQUEST) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    file = io.BytesIO()
    write_exr(file, planes[0], planes[1], request, *planes[2:])
    return exr(file.getvalue())


def text(attribute: bytes) -> str:
    return attribute.decode()


def test_exr_counts() -> None:
    attributes, channels = written(N, NF)
    assert set(channels) == {"N", "N0", "NF"}
    unescaped = 2**32 - 1
    assert channels["N0"].tolist() == [[1024, 1031, unescaped], [1073, 0, 1029]]
    assert channels["N0"].dtype == np.uint32
    assert np.array_equal(channels["N"], channels["N0"])
    assert channels["NF"].tolist() == NF.tolist()
    assert struct.unpack("<i", attributes["Iterations"]) == (50,)
    assert struct.unpack("<i", attributes["IterationsBias"]) == (1024,)
    assert validate(attributes["rfm-request"]) == REQUEST
    assert text(attributes["KallesFraktaler2+"]) == kfr.write(REQUEST)


def test_exr_of_many_blocks() -> None:
    rng = np.random.default_rng(2)
    n = rng.integers(-1, 2**31 - 1, (77, 31), np.int32)
    nf = rng.random(n.shape, np.float32)
    _, channels = written(n, nf, request=msgspec.structs.replace(REQUEST, max_iter=2**31 - 1))
    escaped = n >= 0
    assert np.array_equal(channels["N0"][escaped], n[escaped].astype(np.int64) + 1024)
    assert (channels["N0"][~escaped] == 2**32 - 1).all()
    assert np.array_equal(channels["NF"], np.where(escaped, nf, 0))


def test_a_formula_that_others_do_not_have_is_written_all_the_same() -> None:
    attributes, _ = written(N, NF, request=validate({"re": "0", "im": "0", "width": "4", "formula": "nova"}))
    assert "KallesFraktaler2+" not in attributes
    assert b'"nova"' in attributes["rfm-request"]


def test_exr_angles_are_turns() -> None:
    below = complex(1.0, -1e-30)
    z = np.array([[1j, -2, 5], [-1j, 3, below]], np.complex64)
    _, channels = written(N, NF, z)
    # Of what did not escape there is none.
    assert channels["T"].tolist() == [[0.25, 0.5, 0.0], [0.75, 0.0, 0.0]]


def test_exr_distances_are_in_pixels_and_up_the_picture() -> None:
    # The kernel's estimate is twice that of the programs.
    far = np.array([[2, 2j, 1], [-3 - 1j, 1, 0]], np.complex64)
    _, channels = written(N, NF, np.zeros_like(far), far)
    np.testing.assert_allclose(channels["DEX"], [[1, 0, 0], [-1.5, 0, 0]], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(channels["DEY"], [[0, 1, 0], [-0.5, 0, 0]], rtol=1e-6, atol=1e-7)
    turned = msgspec.structs.replace(REQUEST, rotation_deg=90.0)
    channels = exr_channels(N, NF, turned, None, far)
    # What is up in the plane is to the right in the picture.
    np.testing.assert_allclose(channels["DEX"], [[0, 1, 0], [-0.5, 0, 0]], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(channels["DEY"], [[-1, 0, 0], [1.5, 0, 0]], rtol=1e-6, atol=1e-7)


def test_exr_distances_in_a_stretched_view_are_shorter_along_it() -> None:
    far = np.array([[2, 2j, 1], [4j, 1, math.nan]], np.complex64)
    channels = exr_channels(N, NF, msgspec.structs.replace(REQUEST, stretch=2.0), None, far)
    np.testing.assert_allclose(channels["DEX"], [[1, 0, 0], [0, 0, 0]], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(channels["DEY"], [[0, 0.5, 0], [1, 0, 0]], rtol=1e-6, atol=1e-7)


def test_without_openexr_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        need_exr()
    assert "rfm-runtime[exr]" in str(caught.value.hint)
