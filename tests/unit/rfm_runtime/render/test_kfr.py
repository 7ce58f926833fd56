"""Kalles Fraktaler's files: what they mean here, what is written for it, and what is refused by name."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.colouring import Colouring
from rfm_runtime.render.files import kfp, kfr
from rfm_runtime.render.palettes import palette
from rfm_runtime.render.plan import point
from rfm_runtime.render.request import RenderRequest, validate

OLD = """Re: -1.76858
Im: -0.00259331
Zoom: 1.00e004
Iterations: 4036
IterDiv: 1.000000
SmoothMethod: 0
ColorMethod: 0
Differences: 0
ColorOffset: 0
Rotate: 0.000000
Ratio: 360.000000
Colors: 0,0,0,41,35,190,132,225,108,
Smooth: 1
MultiColor: 0
BlendMC: 0
MultiColors:
Power: 2
FractalType: 0
Slopes: 0
SlopePower: 50
SlopeRatio: 50
SlopeAngle: 45
imag: 1
real: 1
SeedR: 0
SeedI: 0
FactorAR: 1
FactorAI: 0
"""
"""As versions before 2.15 write it."""

NEW = (
    OLD.replace("Rotate: 0.000000\nRatio: 360.000000\n", "")
    .replace("SmoothMethod: 0", "SmoothMethod: 0\nSmoothingMethod: 0\nBailoutRadiusPreset: 3\nBailoutRadiusCustom: 500")
    .replace("\n", "\r\n")
    + "InteriorColor: 1,2,255\r\nRotateAngle: 30\r\nStretchAngle: 0\r\nStretchAmount: 0\r\nImagPointsUp: 1\r\n"
    "TriangleInequalityAverage: 0\r\nVersion: 2150500\r\n"
)


def test_an_old_file() -> None:
    location = kfr.read(OLD)
    request = validate(location.params)
    assert (request.re, request.im, request.max_iter, request.formula) == (
        *("-1.76858", "-0.00259331", 4036, "mandelbrot"),
    )
    assert request.bailout == 10_000.0
    # 4/Zoom is the height.
    assert Fraction(request.width) * 1080 / 1920 == pytest.approx(Fraction(4, 10_000), abs=1e-40)
    assert location.ignored == (
        *("IterDiv", "ColorMethod", "Differences", "ColorOffset", "Smooth", "MultiColor", "BlendMC"),
        *("MultiColors", "Slopes", "SlopePower", "SlopeRatio", "SlopeAngle"),
    )
    assert location.notes == ()
    assert request.mirror


def test_a_new_file() -> None:
    location = kfr.read(NEW, width_px=400, height_px=400)
    request = validate(location.params)
    assert (request.width, request.rotation_deg, request.bailout) == ("0.0004", 30.0, 500.0)
    assert not request.mirror
    assert (request.width_px, request.height_px, request.interior) == (400, 400, "#ff0201")
    assert location.notes == ()
    assert "TriangleInequalityAverage" in location.ignored


def kalles(lines: dict[str, float], u: float, v: float) -> complex:
    """Offset of the pixel u right of the centre and v below it, for Zoom 4/height: after its matrix.cpp, by hand."""
    turn, along = math.radians(lines.get("RotateAngle", 0.0)), math.radians(lines.get("StretchAngle", 0.0))
    factor = 2.0 ** lines.get("StretchAmount", 0.0)
    place = complex(u, -v if lines.get("ImagPointsUp") else v) * complex(math.cos(turn), math.sin(turn))
    place *= complex(math.cos(along), -math.sin(along))
    place = complex(place.real * factor, place.imag / factor)
    return place * complex(math.cos(along), math.sin(along))


@pytest.mark.scenario("J47")
@pytest.mark.parametrize("up", [0, 1])
@pytest.mark.parametrize("kind", [0, 7])
@pytest.mark.parametrize(
    ("turn", "along", "amount"), [(0, 0, 0), (25, 0, 0), (-400, 30, 0), (10, 70, 0.75), (200, -15, -1)]
)
def test_places_are_where_the_program_has_them(up: int, kind: int, turn: float, along: float, amount: float) -> None:
    lines = {"RotateAngle": turn, "StretchAngle": along, "StretchAmount": amount, "ImagPointsUp": up}
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    width, height = 300, 200
    text += f"Re: 0.25\nIm: -0.5\nZoom: {4 / height}\nFractalType: {kind}\n"
    location = kfr.read(text, width_px=width, height_px=height)
    # Not validated: pixels are 1 apart, so that numbers are easy to read.
    request = RenderRequest(**location.params)
    conjugate = kind == 7
    assert location.notes == ()
    for u, v in ((100, 0), (0, 50), (-70, 30)):
        theirs = complex(0.25, -0.5) + kalles(lines, u, v)
        if conjugate:
            theirs = theirs.conjugate()
        ours = complex(*map(float, point(request, Fraction(u, width), Fraction(-v, width))))
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"rotation_deg": -123.456},
        {"skew_deg": 35.0, "stretch": 0.25},
        {"mirror": True},
        {"rotation_deg": 69.125, "skew_deg": 77.7578125, "stretch": 0.01},
        {"skew_deg": -80.0, "stretch": 100.0},
        {"mirror": True, "rotation_deg": 77.0, "skew_deg": -60.5, "stretch": 3.5},
        {"mirror": True, "formula": "perpendicular_ship", "rotation_deg": 20.0},
        {"rotation_deg": 77.0, "skew_deg": -60.5, "stretch": 3.5},
        {"formula": "perpendicular_ship", "rotation_deg": 20.0, "skew_deg": 5.0},
        {"formula": "multibrot", "power": 7, "bailout": 123.5},
        {"formula": "tricorn", "width_px": 640, "height_px": 480, "density": -0.3, "offset": 0.8},
        {"interior": "#12ab00", "palette": "turbo", "max_iter": 2**31 - 1},
    ],
)
def test_what_is_written_comes_back(params: dict[str, object]) -> None:
    request = validate({"re": "-0.75123", "im": "0.1", "width": "0.0075", **params})
    location = kfr.read(kfr.write(request))
    assert validate(location.params) == request
    assert location.notes == location.ignored == ()


def test_a_size_of_the_users_own_goes_before_that_of_the_file_and_nothing_of_ours_is_foreign() -> None:
    request = RenderRequest(re="0", im="0", width="3", width_px=640, height_px=400)
    text = kfr.write(request)
    own = kfr.read(text, width_px=300, height_px=200)
    assert (own.params["width_px"], own.params["height_px"], own.ignored) == (300, 200, ())
    found = kfr.read(text)
    assert (found.params["width_px"], found.params["height_px"], found.ignored) == (640, 400, ())


def test_only_what_the_program_has_is_written() -> None:
    for params, said in (
        ({"formula": "newton"}, "newton"),
        ({"formula": "phoenix"}, "phoenix"),
        ({"julia_re": "0", "julia_im": "1"}, "Julia"),
        ({"formula": "multibrot", "power": 12}, "12"),
    ):
        with pytest.raises(BadRequestError) as caught:
            kfr.write(validate({"re": "0", "im": "0", "width": "4", **params}))
        assert said in caught.value.message


def line(change: str) -> str:
    key = change.partition(":")[0]
    return "".join(old + "\n" for old in OLD.splitlines() if not old.startswith(f"{key}:")) + change + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line"),
        ("nonsense", "no line"),
        ("Re: 1\nIm: 2", "no Zoom"),
        ("Colors: 0,0,0", "no Re and no Im and no Zoom"),
        (line("FractalType: 9"), "Perpendicular Buffalo"),
        (line("FractalType: 42"), "FractalType 42"),
        (line("FractalType: two"), "'two'"),
        (line("FractalType: 1.5"), "whole"),
        (line("FractalType: 1\nPower: 3") + "Power: 3\n", "power 3"),
        (line("SeedR: 0.5"), "SeedR"),
        (line("UseHybridFormula: 1"), "hybrid"),
        (line("Zoom: -1"), "positive"),
        (line("Zoom: 0"), "positive"),
        (line("Zoom: NaN"), "Zoom"),
        (line("Zoom: \uff14"), "Zoom"),
        (line("Zoom: 1E50"), "too deep"),
        (line("Zoom: 1E999999999"), "width"),
        (line("Zoom: 1E-999999999"), "width"),
        (line("Zoom: " + "9" * 1_000_000), "width"),
        (line("Re: one"), "re is 'one'"),
        (line("Re: " + "1" * 1_000_000), "re has 1000000 characters"),
        (line("Re: " + "1" * 10_000_000), "bytes"),
        (line("Iterations: 0"), "Iterations"),
        (line("Iterations: " + "9" * 100_000), "Iterations"),
        (line("StretchAmount: 1000"), "StretchAmount"),
        (line("StretchAmount: 9"), "stretch"),
        (line("RotateAngle: 1e9999"), "RotateAngle"),
        (line("BailoutRadiusPreset: 3\nBailoutRadiusCustom: 1"), "bailout"),
        (line("InteriorColor: 1,2"), "InteriorColor"),
        (line("InteriorColor: 1,2,256"), "'256'"),
        (line("Colors: 1,2,x"), "'x'"),
        (line("Colors: " + "1,2,3," * 1025), "1025"),
    ],
)
def test_refusals_say_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        validate(kfr.read(text).params)
    assert said in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.hint


def test_the_turn_of_old_versions_is_not_passed_over() -> None:
    assert "Rotate" in kfr.read(line("Rotate: 12")).notes[-1]


def test_colours_of_a_file_are_blue_first() -> None:
    assert kfp.kfp_colours(OLD) == ((0, 0, 0), (190, 35, 41), (108, 225, 132))
    with pytest.raises(BadRequestError, match="no colours"):
        kfp.kfp_colours("Colors:\n")


def test_a_palette_file() -> None:
    request = RenderRequest(re="0", im="0", width="4", palette="magma", density=0.35, offset=0.1, interior="#102030")
    text = kfp.write(request)
    assert text.endswith("\r\n")
    assert "InteriorColor: 48,32,16\r\n" in text
    keys = kfp.kfp_colours(text)
    table = palette("magma")
    # Forward and back: as the engine's, the middle is the palette's end.
    assert (keys[0], keys[128]) == (tuple(table[:3]), tuple(table[-3:]))
    assert keys[1:128] == keys[:128:-1]
    assert kfp.read(text) == ({"interior": "#102030", "density": 0.35, "offset": 0.1, "palette": "magma"}, ())
    assert kfp.read(OLD)[0] == {"palette": "#000000,#be2329,#6ce184", "cyclic": "wrap"}
    assert kfp.read("Colors: 1,2,3")[0] == {"palette": "#030201,#030201", "cyclic": "wrap"}


@pytest.mark.parametrize(
    ("look", "first", "middle"),
    [
        ({"palette": "#ff0000,#00ff00", "cyclic": "wrap"}, (255, 0, 0), None),
        ({"palette": "viridis", "cyclic": "wrap"}, (68, 1, 84), (33, 145, 140)),
        ({"palette": "#ff0000,#00ff00"}, (255, 0, 0), (0, 255, 0)),
        ({"palette": "#ff0000,#00ff00", "cyclic": "clamp"}, (255, 0, 0), (208, 168, 0)),
        ({"palette": "#ff0000@0.25,#00ff00@0.75", "cyclic": "wrap"}, (208, 168, 0), (208, 168, 0)),
        ({"palette": "#ff0000@0,#0000ff@0.5,#00ff00@0.5,#00ff00@1", "cyclic": "clamp"}, (255, 0, 0), (0, 255, 0)),
    ],
)
def test_any_palette_has_key_colours(
    look: dict[str, str], first: tuple[int, int, int], middle: tuple[int, int, int] | None
) -> None:
    keys = kfp.key_colours(Colouring(**look))
    assert keys[0] == first
    assert middle is None or keys[len(keys) // 2] == middle
    request = validate({"re": "0", "im": "0", "width": "4", **look})
    assert kfp.kfp_colours(kfp.write(request)) == keys
