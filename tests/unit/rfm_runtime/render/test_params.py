"""Whatever file a view is kept in."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files import kfr, toml
from rfm_runtime.render.files.params import read, writer
from rfm_runtime.render.files.png import text_chunks
from rfm_runtime.render.image_metadata import REQUEST_KEY, to_text
from rfm_runtime.render.presets import PRESETS

REQUEST = PRESETS["seahorse"].request


def picture(text: dict[str, str], *, compressed: bool = False, plain: bool = False) -> bytes:
    """As Pillow writes it."""
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value, zip=compressed) if plain else info.add_itxt(key, value, zip=compressed)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_a_picture(compressed: bool, plain: bool) -> None:
    data = picture(to_text(REQUEST), compressed=compressed, plain=plain)
    for suffix in (".png", ".PNG", "", ".toml"):
        assert read(suffix, memoryview(data)).params == toml.non_defaults(REQUEST)
    assert text_chunks(data)[REQUEST_KEY] == to_text(REQUEST)[REQUEST_KEY]


def test_text_behind_the_pixels_is_found() -> None:
    data = picture(to_text(REQUEST))
    start = data.index(b"iTXt") - 4
    end = data.index(b"IDAT") - 4
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert read(".png", moved).params == toml.non_defaults(REQUEST)


def test_a_picture_of_kalles_fraktaler() -> None:
    text = "Re: -0.5\r\nIm: 0.25\r\nZoom: 4\r\nImagPointsUp: 1\r\n"
    params = read(".png", picture({"Comment": text}, plain=True), width_px=100, height_px=100).params
    assert (params["re"], params["im"], params["width"]) == ("-0.5", "0.25", "1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (picture({}), REQUEST_KEY),
        (picture({"Comment": "made by hand"}), REQUEST_KEY),
        (picture({REQUEST_KEY: "{"}), "JSON"),
        (picture(to_text(REQUEST))[:-12], "not complete"),
        (picture(to_text(REQUEST))[:20], "not complete"),
        (picture(to_text(REQUEST)).replace(b'"seahorse', b'"walrus__').replace(b'"inferno"', b'"nowhere"'), "damaged"),
    ],
)
def test_pictures_that_say_nothing(data: bytes, said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read(".png", data)
    assert said in caught.value.message


def test_text() -> None:
    for suffix in (".toml", "", ".TOML"):
        assert read(suffix, toml.write(REQUEST).encode()).params == toml.non_defaults(REQUEST)
    # As a Windows editor saves it.
    assert read(".toml", b"\xef\xbb\xbf" + toml.write(REQUEST).encode()).params == toml.non_defaults(REQUEST)
    found = read(".kfr", b"\xef\xbb\xbf" + kfr.write(REQUEST).encode())
    assert found.params["re"] == REQUEST.re
    assert read(".kfp", kfr.write(REQUEST).encode()).params == {
        "palette": "inferno",
        "density": 0.4,
        "offset": 0.35,
        "interior": "#000000",
    }


@pytest.mark.parametrize(
    ("suffix", "data", "said"),
    [
        (".jpg", b"\xff\xd8", ".jpg"),
        (".toml", b"\xff\xfe", "UTF-8"),
        (".kfr", b"\0" * 10_000_000, "10000000 bytes"),
        (".kfr", b"\0" * 10, "no line"),
    ],
)
def test_other_files(suffix: str, data: bytes, said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read(suffix, data)
    assert said in caught.value.message


def test_writers() -> None:
    assert writer(".KFR")(REQUEST) == kfr.write(REQUEST)
    for suffix in (".txt", ""):
        with pytest.raises(BadRequestError, match="not saved"):
            writer(suffix)
