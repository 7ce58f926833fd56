"""Kalles Fraktaler's text files: lines of "Key: value", and the colouring in them, which alone is a .kfp file.

Formats and meanings as in Kalles Fraktaler 2+ 2.15, https://mathr.co.uk/kf/manual.html, and its source
(Parameter.cpp, Settings.cpp, fraktal_sft.cpp). A palette is a list of up to 1024 key colours that goes round: place x
has the colour between key ⌊x·keys/1024⌋ and the next one, with 1024 places, and a pixel gets the place
f(count)/IterDiv + ColorOffset, where f is the logarithm if ColorMethod is 3.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.colouring import Colouring
from rfm_runtime.render.files.text import checked
from rfm_runtime.render.palettes import PALETTES, blended, gradient, palette_text
from rfm_runtime.render.refusals import shown
from rfm_runtime.render.request import DECIMAL, RenderRequest

__all__ = [
    "Rgb",
    "colour_lines",
    "colour_params",
    "integer",
    "joined",
    "key_colours",
    "kfp_colours",
    "lines_of",
    "read",
    "real",
    "write",
]

Rgb = tuple[int, int, int]

KEYS_LIMIT = 1024
PLACES = 1024
KEYS = 256
"""Key colours that a palette is written as if it does not go round evenly itself."""

NUMBER_DIGITS = 64

DENSITY_LIMIT = 1000.0
"""Of a request: beyond it a colouring is noise."""

LOGARITHM = 3
"""The ColorMethod that is ours: the palette goes round once each time the count is multiplied by something."""

EXAMPLE = 'lines look like "Re: -0.75"'


def lines_of(text: str) -> dict[str, str]:
    """Key → value, stripped; of a key that comes twice, the last. Raises BadRequestError if there is no such line."""
    found: dict[str, str] = {}
    for line in checked(text).removeprefix("\ufeff").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip():
            found[key.strip()] = value.strip()
    if not found:
        raise BadRequestError(
            "this is no file of Kalles Fraktaler: it has no line with a key and a value", hint=EXAMPLE
        )
    return found


def joined(lines: Mapping[str, str]) -> str:
    """A file of these lines, with the ends of lines that the program writes."""
    return "".join(f"{key}: {value}\r\n" for key, value in lines.items())


def real(lines: Mapping[str, str], key: str, default: float) -> float:
    """A finite number. Raises BadRequestError."""
    text = lines.get(key, "")
    if not text:
        return default
    value = float(text) if len(text) <= NUMBER_DIGITS and DECIMAL.fullmatch(text) else math.inf
    if not math.isfinite(value):
        raise BadRequestError(f"{key} is {shown(text, 40)!r}, not a number", hint=f"correct that line; {EXAMPLE}")
    return value


def integer(lines: Mapping[str, str], key: str, default: int) -> int:
    """A whole number. Raises BadRequestError."""
    value = real(lines, key, default)
    if value != int(value):
        raise BadRequestError(f"{key} is {shown(lines[key], 40)!r}, not a whole number", hint="correct that line")
    return int(value)


def kfp_colours(text: str) -> tuple[Rgb, ...]:
    """The key colours in a .kfp or .kfr file, red, green and blue from 0 to 255.

    The file has them the other way round, blue first, as Windows has its pixels. Raises BadRequestError.
    """
    return _colours(lines_of(text))


def _colours(lines: Mapping[str, str]) -> tuple[Rgb, ...]:
    numbers = _bytes("Colors", lines.get("Colors", ""))
    keys = len(numbers) // 3
    if not keys:
        raise BadRequestError("the file has no colours", hint='they are in a line "Colors: blue,green,red,…"')
    if keys > KEYS_LIMIT:
        raise BadRequestError(f"the file has {keys} colours, the limit is {KEYS_LIMIT}", hint="leave some out")
    return tuple((numbers[at + 2], numbers[at + 1], numbers[at]) for at in range(0, 3 * keys, 3))


def _bytes(key: str, text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    # The program ends the list with a comma.
    numbers = parts if parts[-1] else parts[:-1]
    for part in numbers:
        if not (part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255):
            raise BadRequestError(
                f"{key} has {shown(part, 20)!r}, not a number from 0 to 255", hint="colours are blue,green,red,…"
            )
    return [int(part) for part in numbers]


def read(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a .kfp file says of a request's colouring, and the keys that were not understood. Raises BadRequestError."""
    lines = lines_of(text)
    params, used = colour_params(lines)
    return params, tuple(key for key in lines if key not in used)


def colour_params(lines: Mapping[str, str]) -> tuple[dict[str, Any], set[str]]:
    """Parameters of a request, as far as it can have what the file says, and the keys that were used.

    The palette and the colour of the inside always, and density and offset if the colouring is logarithmic. Between two
    key colours the program goes in sRGB along a sine, a request in Oklab.
    """
    params: dict[str, Any] = {}
    used: set[str] = set()
    if lines.get("InteriorColor"):
        numbers = _bytes("InteriorColor", lines["InteriorColor"])
        if len(numbers) != 3:
            raise BadRequestError("InteriorColor is not one colour", hint="it is blue,green,red")
        params["interior"] = "#{2:02x}{1:02x}{0:02x}".format(*numbers)
        used.add("InteriorColor")
    if integer(lines, "ColorMethod", 0) == LOGARITHM:
        # The program takes 1 for 0.
        density = math.log(2.0) / (PLACES * (real(lines, "IterDiv", 1.0) or 1.0))
        if abs(density) <= DENSITY_LIMIT:
            # Rounded to what is the same whichever way it is computed.
            params["density"] = float(f"{density:.14g}")
            params["offset"] = float(f"{real(lines, 'ColorOffset', 0.0) % PLACES / PLACES:.14g}")
            used |= {"ColorMethod", "IterDiv", "ColorOffset", "Smooth"}
    if lines.get("Colors"):
        params |= _palette(_colours(lines))
        used.add("Colors")
    return params, used


def _palette(colours: tuple[Rgb, ...]) -> dict[str, str]:
    """By name, if it is one of ours as `write` has it; else as text, going round."""
    for name in PALETTES if len(colours) == KEYS else ():
        if colours == key_colours(Colouring(palette=name)):
            return {"palette": name}
    # A palette has two colours at least.
    return {"palette": palette_text(colours if len(colours) > 1 else 2 * colours), "cyclic": "wrap"}


def key_colours(look: Colouring) -> tuple[Rgb, ...]:
    """A palette as key colours: its own if they go round evenly, else as many as show it, mixed as pictures do."""
    found = gradient(look.palette)
    table = found.colours
    colours: list[Rgb] = [(table[at], table[at + 1], table[at + 2]) for at in range(0, len(table), 3)]
    wraps = look.cyclic == "wrap"
    if wraps and not found.positions:
        return tuple(colours)
    positions = list(found.positions) or [place / (len(colours) - 1) for place in range(len(colours))]
    if wraps:
        positions = [positions[-1] - 1.0, *positions, positions[0] + 1.0]
        colours = [colours[-1], *colours, colours[0]]
    places = [key / KEYS for key in range(KEYS)]
    if look.cyclic == "mirror":
        # Forward and back again, so that it goes round without a seam.
        places = [1.0 - abs(1.0 - 2.0 * place) for place in places]
    return tuple(_between(colours, positions, place, perceptual=not found.published) for place in places)


def _between(colours: Sequence[Rgb], positions: Sequence[float], place: float, *, perceptual: bool) -> Rgb:
    after = bisect.bisect_right(positions, place)
    if after in (0, len(positions)):
        return colours[min(after, len(colours) - 1)]
    share = (place - positions[after - 1]) / (positions[after] - positions[after - 1])
    if perceptual:
        return blended(colours[after - 1], colours[after], share)
    red, green, blue = (
        round(one + share * (other - one)) for one, other in zip(colours[after - 1], colours[after], strict=True)
    )
    return red, green, blue


def left_out(request: RenderRequest) -> tuple[str, ...]:
    """Names of parameters whose effect Kalles Fraktaler's files do not keep."""
    plain = RenderRequest(re="0", im="0", width="4")
    names = ("colouring", "slopes", "bits", "dither", "samples", "trap")
    found = [name for name in names if getattr(request, name) != getattr(plain, name)]
    found += ["cyclic"] if request.cyclic == "clamp" else []
    found += ["interior"] if request.by_period else []
    return tuple(found)


def write(request: RenderRequest) -> str:
    """A .kfp file with the colouring of a request, as near as the program has it."""
    return joined(colour_lines(request))


def colour_lines(request: RenderRequest) -> dict[str, str]:
    """The lines of a colouring, as by iterations: slopes and distances are left out.

    The program has ln(count) where a request has ln(count + 1).
    """
    rate = PLACES * request.density
    return {
        # Where a request stands still in the palette, so does the program for any count.
        "IterDiv": repr(math.log(2.0) / rate if abs(rate) > 1e-30 else 1e30),
        "ColorMethod": str(LOGARITHM),
        # The program takes the whole part.
        "ColorOffset": f"{PLACES * (request.offset % 1.0):.14g}",
        "Colors": "".join(f"{blue},{green},{red}," for red, green, blue in key_colours(request)),
        "InteriorColor": ",".join(str(part) for part in reversed(request.interior_rgb)),
        "Smooth": "1",
    }
