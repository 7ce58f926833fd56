"""Files of parameters: every request comes back from them, and nothing else comes out of anything than a refusal."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.complex_text import complex_number
from rfm_runtime.render.files import kfp, kfr, toml
from rfm_runtime.render.files.params import read
from rfm_runtime.render.palettes import PALETTES, palette_text
from rfm_runtime.render.plan import point
from rfm_runtime.render.request import RenderRequest, validate

QUICK_S = 2.0
"""Far above what a reader takes for a file of the largest size, far below what a quadratic one does."""

coordinates = st.decimals(-2, 2, allow_nan=False, places=20).map(str)
complexes = st.tuples(coordinates, coordinates).map(
    lambda pair: f"{pair[0]}{'' if pair[1][0] == '-' else '+'}{pair[1]}i"
)
reals = st.floats(-1000, 1000, allow_nan=False)

views = {
    "re": coordinates,
    "im": coordinates,
    "width": st.decimals("0.00001", 4, places=12).map(str),
    "width_px": st.integers(1, 8000),
    "height_px": st.integers(1, 8000),
    "max_iter": st.integers(1, 2**31 - 1),
    "rotation_deg": st.floats(-360, 360),
    "skew_deg": st.floats(-80, 80),
    "stretch": st.floats(0.01, 100),
    "mirror": st.booleans(),
    "bailout": st.floats(4, 1e6),
    "density": reals,
    "offset": reals,
    "interior": st.from_regex(r"#[0-9a-f]{6}", fullmatch=True),
}
palettes = st.one_of(
    st.sampled_from(PALETTES).map(lambda name: {"palette": name}),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=2, max_size=40).map(
        lambda colours: {"palette": palette_text(colours), "cyclic": "wrap"}
    ),
)
ours = {
    "tile_px": st.none() | st.integers(16, 512),
    "interior_tests": st.booleans(),
    "on_poison": st.sampled_from(("fail", "hole")),
}
formulas = st.one_of(
    st.fixed_dictionaries({"formula": st.sampled_from(("mandelbrot", "burning_ship", "celtic", "buffalo", "tricorn"))}),
    st.fixed_dictionaries({"formula": st.just("multibrot"), "power": st.integers(2, 10)}),
    st.just({"formula": "perpendicular_ship"}),
)
others = st.one_of(
    st.fixed_dictionaries({"julia_re": st.just("0.25"), "julia_im": coordinates}),
    st.fixed_dictionaries({"formula": st.just("phoenix"), "p": complexes}),
    st.fixed_dictionaries(
        {
            "formula": st.sampled_from(("newton", "nova")),
            "roots": st.lists(complexes, min_size=2, max_size=5),
            # With 0 nothing moves, which is refused.
            "relaxation": complexes.filter(lambda text: any(complex_number(text))),
            "tolerance": st.floats(1e-12, 0.1),
        }
    ),
)


@st.composite
def requests(
    draw: st.DrawFn, kinds: st.SearchStrategy[dict[str, object]], *without: str, more: bool = True
) -> RenderRequest:
    fields = draw(st.fixed_dictionaries(views | (ours if more else {})))
    fields = {name: value for name, value in fields.items() if name not in without}
    return validate(fields | draw(kinds) | draw(palettes))


@given(requests(formulas | others))
def test_a_request_comes_back_from_toml(request: RenderRequest) -> None:
    text = toml.write(request)
    assert toml.request_of(text) == request
    assert validate(read(".toml", text.encode()).params) == request
    assert validate(toml.non_defaults(request)) == request


@given(requests(formulas | others))
def test_toml_has_non_defaults_only(request: RenderRequest) -> None:
    names = {line.split(" = ")[0] for line in toml.write(request).splitlines()[1:]}
    default = RenderRequest(re="0", im="0", width="4")
    for name in request.__struct_fields__:
        differs = getattr(request, name) != getattr(default, name)
        assert (name in names) == (differs or name in ("re", "im", "width"))


@given(requests(formulas, more=False))
def test_a_request_comes_back_from_kfr(request: RenderRequest) -> None:
    location = kfr.read(kfr.write(request))
    found = validate(location.params)
    assert location.notes == location.ignored == ()
    same = ("re", "im", "formula", "max_iter", "bailout", "palette", "cyclic", "interior", "width_px", "height_px")
    for name in same if request.power != 2 else (name for name in same if name != "formula"):
        if name in ("re", "im"):
            assert Decimal(getattr(found, name)) == Decimal(getattr(request, name))
        else:
            assert getattr(found, name) == getattr(request, name), name
    assert (found.power or 2) == (request.power or 2)
    assert found.density == pytest.approx(request.density, rel=1e-12)
    assert abs((found.offset - request.offset + 0.5) % 1.0 - 0.5) < 1e-10
    # Where its corners are says all about extent, turn, lean and stretch.
    high = Fraction(request.height_px, request.width_px)
    for dx, dy in ((Fraction(1, 2), Fraction(0)), (Fraction(0), high / 2), (Fraction(-1, 2), -high / 2)):
        for one, other in zip(point(found, dx, dy), point(request, dx, dy), strict=True):
            assert abs(one - other) <= Fraction(request.width) * (1 + high) / 10**6


@given(requests(formulas, "stretch", "skew_deg", more=False))
def test_without_a_stretch_the_width_comes_back_to_the_digit(request: RenderRequest) -> None:
    found = validate(kfr.read(kfr.write(request)).params)
    assert Decimal(found.width) == Decimal(request.width)
    assert found.rotation_deg == request.rotation_deg


@given(requests(formulas, more=False))
def test_colours_come_back_from_kfp(request: RenderRequest) -> None:
    params, ignored = kfp.read(kfp.write(request))
    found = (params["palette"], params.get("cyclic", "mirror"), params["interior"])
    assert found == (request.palette, request.cyclic, request.interior)
    assert ignored == ()


KEYS = st.sampled_from(
    (
        *("Re", "Im", "Zoom", "Iterations", "Power", "FractalType", "RotateAngle", "StretchAngle", "StretchAmount"),
        *("ImagPointsUp", "Rotate", "Ratio", "Colors", "InteriorColor", "ColorMethod", "IterDiv", "ColorOffset"),
        *("BailoutRadiusPreset", "BailoutRadiusCustom", "SeedR", "ImageWidth", "ImageHeight", "SmoothMethod"),
    )
)
NUMBERS = (
    st.from_regex(r"-?\d+(\.\d+)?([eE]-?\d{1,12})?", fullmatch=True) | st.integers().map(str) | st.floats().map(str)
)
LINES = st.lists(st.tuples(KEYS | st.text(), NUMBERS | st.text()), max_size=12)


def answered(suffix: str, data: bytes) -> RenderRequest | BadRequestError:
    try:
        return validate(read(suffix, data).params)
    except BadRequestError as error:
        return error


def refused_or_valid(suffix: str, data: bytes) -> None:
    answer = answered(suffix, data)
    if isinstance(answer, RenderRequest):
        assert validate(msgspec.json.encode(answer)) == answer
    else:
        assert answer.hint
        assert "\n" not in answer.message + answer.hint
        assert len(answer.message) < 400


@given(st.sampled_from((".toml", ".kfr", ".kfp", ".png", "")), st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_answered(suffix: str, data: bytes) -> None:
    refused_or_valid(suffix, data)
    refused_or_valid(suffix, b"\x89PNG\r\n\x1a\n" + data)


@given(LINES, st.booleans())
def test_any_lines_are_answered(lines: list[tuple[str, str]], whole: bool) -> None:
    start = "Re: 0\nIm: 0\nZoom: 1\n" if whole else ""
    data = (start + "".join(f"{key}: {value}\n" for key, value in lines)).encode()
    for suffix in (".kfr", ".kfp"):
        refused_or_valid(suffix, data)


@given(st.lists(st.tuples(st.sampled_from(RenderRequest.__struct_fields__), NUMBERS | st.text()), max_size=8))
def test_any_toml_is_answered(lines: list[tuple[str, str]]) -> None:
    refused_or_valid(".toml", "".join(f"{key} = {value}\n" for key, value in lines).encode())


SIZE = 1 << 20
LONG = {
    "digits": "9",
    "zeros": "0",
    "points": ".",
    "commas": "1,2,3,",
    "colons": "a:b\n",
    "keys": "a.",
    "lists": "[",
    "tables": "[a]\n",
    "quotes": '"',
    "escapes": "\\u0000",
    "open strings": '"\\',
    "lines of them": '"\\"\n',
}


@pytest.mark.parametrize("unit", LONG.values(), ids=LONG)
@pytest.mark.parametrize("start", ["", "Zoom: ", "Colors: ", "Re: 0\nIm: 0\nZoom: ", "re = ", 're = "', "max_iter = "])
@pytest.mark.parametrize("size", [SIZE - 64, 10_000_000])
def test_the_largest_files_are_answered_at_once(start: str, unit: str, size: int) -> None:
    data = (start + unit * (size // len(unit))).encode()
    for suffix in (".toml", ".kfr", ".kfp"):
        began = time.monotonic()
        refused_or_valid(suffix, data)
        assert time.monotonic() - began < QUICK_S


KEYS_THAT_HIDE = {
    "a line each": "".join(f"k{i}." + "a." * 1990 + "a = 1\n" for i in range(250)),
    "quoted": "".join(f"k{i}." + '"=,[{".' * 800 + "a = 1\n" for i in range(150)),
    "in a table": "re = {" + "a." * 100_000 + "b = 1}\n",
    "in a header": "[" + "a." * 100_000 + "b]\n",
    "with blanks": ("a . \t" * 50_000) + "a = 1\n",
    "behind a comment": "# it's \"\n" + "a." * 100_000 + 'a = 1 # "\n',
    "behind strings": 're = "\\"" # \'\n' + "a." * 100_000 + "a = 1\n",
    "behind lines": 're = {b = """\n""", ' + "a." * 100_000 + 'a = 1, d="x"}\n',
}


@pytest.mark.parametrize("text", KEYS_THAT_HIDE.values(), ids=KEYS_THAT_HIDE)
def test_keys_of_many_parts_are_refused_at_once(text: str) -> None:
    began = time.monotonic()
    assert isinstance(answered(".toml", text.encode()), BadRequestError)
    assert time.monotonic() - began < QUICK_S


def test_points_in_values_are_no_keys() -> None:
    lists = ", ".join("0.25" for _ in range(16))
    comment = "# " + "." * 100
    text = f'{comment}\nre = -0.5 {comment}\nim = "0.25"\nwidth = 1\nformula = "newton"\nroots = [{lists}]\n'
    assert validate(toml.read(text)).roots == ("0.25",) * 16
