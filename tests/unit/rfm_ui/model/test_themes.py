"""Colours, measured: letters on every ground, and states as people see them who see fewer colours.

Colour vision by Machado, Oliveira and Fernandes 2009 (severity 1.0, linear RGB), differences by CIEDE2000.
"""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, pi, radians, sin, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.own_theme import PLAIN, TABLES, contrast, of_toml, problems, to_toml
from rfm_ui.model.themes import DARK, THEMES, Theme

pytestmark = pytest.mark.scenario("J113")

READABLE, HIGH = 4.5, 7.0
APART = 15.0
"""Between any two states, for everybody; from 2 on a difference is seen by whoever looks for it."""
LINE = 3.0
"""Of what is no letter: WCAG 2, 1.4.11."""

Vector = tuple[float, float, float]

EYES: dict[str, tuple[Vector, Vector, Vector]] = {
    "all": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def times(matrix: tuple[Vector, Vector, Vector], vector: Vector) -> Vector:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def linear(colour: str) -> Vector:
    first, second, third = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    )
    return first, second, third


def lab(rgb: Vector) -> Vector:
    red, green, blue = (min(1.0, max(0.0, part)) for part in rgb)
    white = times(XYZ, (1.0, 1.0, 1.0))
    x, y, z = (
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for t in (a / b for a, b in zip(times(XYZ, (red, green, blue)), white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: Vector, other: Vector) -> float:
    """CIEDE2000 (Sharma, Wu, Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (hypot(a1, b1) + hypot(a2, b2)) / 2
    g = 0.5 * (1 - sqrt(chroma**7 / (chroma**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = hypot(a1, b1), hypot(a2, b2)
    h1, h2 = degrees(atan2(b1, a1)) % 360, degrees(atan2(b2, a2)) % 360
    d_h = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    d_hue = 2 * sqrt(c1 * c2) * sin(radians(d_h / 2))
    light, c = (l1 + l2) / 2, (c1 + c2) / 2
    if c1 * c2 == 0:
        h = h1 + h2
    elif abs(h1 - h2) <= 180:
        h = (h1 + h2) / 2
    else:
        h = (h1 + h2 + (360 if h1 + h2 < 360 else -360)) / 2
    t = (
        1 - 0.17 * cos(radians(h - 30)) + 0.24 * cos(radians(2 * h))
        + 0.32 * cos(radians(3 * h + 6)) - 0.20 * cos(radians(4 * h - 63))
    )  # fmt: skip
    s_l, s_c, s_h = 1 + 0.015 * (light - 50) ** 2 / sqrt(20 + (light - 50) ** 2), 1 + 0.045 * c, 1 + 0.015 * c * t
    turn = 60 * exp(-(((h - 275) / 25) ** 2))
    r = -2 * sqrt(c**7 / (c**7 + 25**7)) * sin(turn * pi / 180)
    x, y, z = (l2 - l1) / s_l, (c2 - c1) / s_c, d_hue / s_h
    return sqrt(x * x + y * y + z * z + r * y * z)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_measure_is_the_published_one(one: Vector, other: Vector, wanted: float) -> None:
    assert difference(one, other) == pytest.approx(wanted, abs=1e-4)
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda one: one.name)
def test_letters_can_be_read_on_every_ground(theme: Theme) -> None:
    least = HIGH if theme.name == "contrast" else READABLE
    letters = {"text": theme.text, "faint": theme.faint, "accent": theme.accent, **theme.tones, **theme.links}
    for ground in ("window", "panel", "hover", "chosen"):
        for name, colour in letters.items():
            assert contrast(colour, getattr(theme, ground)) >= least, f"{name} on {ground}"
    assert contrast(theme.on_accent, theme.accent) >= least
    assert problems(theme) == []
    if theme.name == "contrast":
        assert contrast(theme.line, theme.panel) >= LINE


@pytest.mark.parametrize("name", ["safe-dark", "safe-light"])
@pytest.mark.parametrize("eyes", EYES)
def test_states_are_told_apart_whatever_eyes_one_has(name: str, eyes: str) -> None:
    for colours in (THEMES[name].tones, THEMES[name].links):
        seen = {tone: lab(times(EYES[eyes], linear(colour))) for tone, colour in colours.items()}
        for one, other in combinations(seen, 2):
            assert difference(seen[one], seen[other]) >= APART, f"{one} and {other} as {eyes} sees them"


def test_the_others_would_not_pass_for_everybody() -> None:
    """So it is the colours that pass, and not the measure."""
    seen = {tone: lab(times(EYES["protan"], linear(colour))) for tone, colour in DARK.tones.items()}
    assert min(difference(seen[one], seen[other]) for one, other in combinations(seen, 2)) < APART / 3


def test_a_colour_that_themes_have_can_be_said_in_a_file() -> None:
    assert {one.name for one in fields(Theme)} == {"name", "title", "is_dark", *PLAIN, *TABLES}


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda one: one.name)
def test_the_file_to_begin_with_is_the_theme_itself(theme: Theme) -> None:
    own = of_toml("mine", to_toml(theme))
    assert {one: getattr(own, one) for one in (*PLAIN, *TABLES)} == {
        one: getattr(theme, one) for one in (*PLAIN, *TABLES)
    }
    assert (own.name, own.is_dark) == ("mine", theme.is_dark)


def test_a_file_says_what_is_other() -> None:
    own = of_toml("sea", 'base = "light"\ntitle = "At sea"\naccent = "#006090"\n[tones]\ngood = "#004040"\n')
    assert (own.title, own.accent, own.text) == ("At sea", "#006090", THEMES["light"].text)
    assert own.tones == {**THEMES["light"].tones, "good": "#004040"}
    assert not own.is_dark
    assert of_toml("snow", 'window = "#ffffff"\ntext = "#000000"\n').is_dark is False


def test_what_can_hardly_be_read_is_told() -> None:
    assert problems(of_toml("fog", 'text = "#303030"')) != []


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("a = \n", "is no TOML: Invalid value (at line 1", "panel ="),
        ('\n\nacent = "#000000"', "sea.toml, line 3: nothing is called 'acent'", "did you mean accent?"),
        ('[tones]\nok = "#000000"', "sea.toml, line 2: nothing is called 'ok'", "choose some of idle"),
        ('text = "#000000"\nfaint = "grey"', "sea.toml, line 2: faint is no colour", "#rrggbb"),
        ("text = 7", "sea.toml, line 1: text is no colour", "#rrggbb"),
        ('base = "pink"', "sea.toml, line 1: there is no theme 'pink'", "dark, light"),
        ("tones = 3", "sea.toml, line 1: tones is no table", "[tones]"),
        ('title = ""', "sea.toml, line 1: the title is no name", "characters"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_what_to_do(text: str, said: str, hint: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        of_toml("sea", text)
    assert said in caught.value.message
    assert hint in caught.value.hint


@given(st.text(max_size=80) | st.text('abo=#"[]\n tonesxlik0', max_size=60))
def test_whatever_is_in_a_file_it_is_a_theme_or_told(text: str) -> None:
    try:
        said = of_toml("sea", text).title
    except BadRequestError as error:
        said = f"{error.message}{error.hint}"
    assert said.isprintable()


@pytest.mark.parametrize("name", ["dark", "system"])
def test_a_theme_that_is_there_is_not_replaced(name: str) -> None:
    with pytest.raises(BadRequestError, match="name of a theme that is there"):
        of_toml(name, "")
