"""Palettes: by name, as published (256 RGB entries each) or of a few colours, or as text of one's own.

That text is "#rrggbb,#rrggbb,…", evenly spaced, or "#rrggbb@0,#rrggbb@0.3,…,#rrggbb@1" with the place of each; the same
place twice is a hard edge.

viridis, plasma, inferno and magma: Stéfan van der Walt and Nathaniel Smith, CC0. cividis: Nuñez, Anderton
and Renslow, 2018, CC0. turbo: Anton Mikhailov, Google, Apache-2.0. The tables are those of matplotlib 3.11
rounded to bytes, stored as differences between neighbours, compressed.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.refusals import nearest, shown

__all__ = ["COLOURS_LIMIT", "PALETTES", "PUBLISHED", "Gradient", "blended", "gradient", "palette", "palette_text"]

ENTRIES = 256

COLOURS_LIMIT = 1024
"""As many as the palette files of other programs have at most."""

COLOUR = re.compile(r"#([0-9a-fA-F]{6})(?:@([0-9]{0,1}(?:\.[0-9]{1,9})?))?")

ENCODED = {
    "viridis": (
        "c-nQ4feiyO2m?)iwT{sJNBI<tLui{<E9*F%yp)%{VZ(owh%_6+6Uvy=Zz)b_+a+fJO7^ihzz7<%fGkXLt>8B&bos^Oxc$kx_"
        "FUK_4xOj78}L+^|2IgY<V0I_X?=?{J!7jEU0%<S?=9Gz4=i3uNvJ=L<K6iZhr9|xrpfX4PNetQS*gx01m~%ne$ueXLL8KtIx"
        "EPpg9TgxM({MUkq5zZd;k$Khzb"
    ),
    "plasma": (
        "c-nQ6$qvIn2ty6I^wRI{S4T7~X0}#}(8D%ll*#+`xlAs^W2z7hPEdn3L!<y|-GWwt5r7Pf%`K=@OA%t(&KAnbDic3dwrXTQf"
        "rkTJEa>WQDv$$o7X9gwr5)idiBtcVudsiPpJBR(z9}4^@>~d>r$@le;E`w{_h8*QM4c@^!)AeNORqdoZYLLocRv`+*wW_IbI"
        "skta>OBO{3W(1LUz4lvBbRU{RPAppbG"
    ),
    "inferno": (
        "c-oDU0S?132m>)>|Nn7WutSqh(=;`*&JGQ2gxP@22WAd)g9{))h?i~~Q@smZNdZ+{=Y*e-u3YTZwX_**Pk`8(XS&s)-1yPTt"
        "*!lKSD4Q*Rk@(TWV=-+`wa7&%|4tzydd}MyR4bI%Vd8--5M@D?1W2vhn0M@c5eB!*Ker$gA1naJUKhbTh_uoO1wKxf%iC^Q{"
        "Zvfn<JsEP)#oW&_SSL(2larD0r1(fOak~jRKE1CMRv6"
    ),
    "magma": (
        "c-mc(3lak%2txz*{#T|#_{dHj<`E-{RNyDLKLIpA9Xy^JCD~)A1#Zw$+J906;at%H0ht~(C2-eQDtC!kf^&nn;@x<cLIoYY`"
        "{;E<-X{Uu02&(R{>1?{>2_8fW3|%l*|pMbSF>&45!;3Vex*UUB~&cyki#RIsqly<$Om$!7Jn~wpe9auBCp43q8~*<jxt{d-X"
        "$MJTOS@#pH#O}AUk~@%Xn65lWHGn{sSmHEx7"
    ),
    "cividis": (
        "c-n=M0S-eU2t!-8lk7md|7m1EK+(7@A*Q@m^3{*m8zd-RC}9LrP%>~Kw!&8Hp2P#{s|yIDpebBi&Rd4dfP|Jn7nWRP!Jp!Pj"
        "2&Wgc?=0~*^7kD4UKcogfp3_2j+b6>v#H9d^=`8OI_w}>1EW#Y8%&(8HiVF?dIl7b$BE8^a)Si25SBxr4K7y<xv<rA5+L`N3"
        "?@kb%P=wv(`f&"
    ),
    "turbo": (
        "c-m#qO>V|82t`rA?$5X@>Ad^jRe-*SjgzmHtg8dcz|QyAkBv_qAOFrfk1f2dQ2^sepf+`3%<^oE0y@wd0qa^;Wmj|PYMOK<E"
        "W5co0tky3nQWAuzQLwBHpz_(pc}%vD4`fNRNV{>!v@wE+&HUjoeQ0Xs!t*4jcW?WYIz-g00g{%2hD^DKBC%hO>X#5DV*}+EF"
        "7o2{sCTK^%-%O@2kqQ`*^lf>JLdR+bModJjcYya-Y3vZ08>b8x6E95#^BTfy7H2N%$+exxDTeabNuTh>OrQUc34WNLOi*"
    ),
}

BLENDED = {
    "ultra": "#000764@0,#206bcb@0.16,#edffff@0.42,#ffaa00@0.6425,#000200@0.8575,#000764@1",
    "ocean": "#03071e,#023e7d,#0096c7,#90e0ef,#f8fdff,#48cae4,#0077b6,#03071e",
    "ember": "#0b0a12,#3d0c11,#8f1d14,#d9480f,#ffa94d,#fff3bf,#d9480f,#3d0c11,#0b0a12",
    "aurora": "#04101f,#0b3948,#16697a,#3bb273,#c6f7a1,#f2f5c8,#8f6bb3,#3a1c5e,#04101f",
    "copper": "#140c08,#4a2412,#9c5221,#e0a458,#fff0d6,#b5c9c3,#4f7a78,#1b3a3a,#140c08",
    "dusk": "#10101f,#2d1e4f,#6a2c70,#b83b5e,#f08a5d,#f9ed69,#f08a5d,#6a2c70,#10101f",
    "ice": "#02060f,#0d2b52,#2f6690,#81c3d7,#eaf7fb,#ffffff,#a9bcd0,#3a506b,#02060f",
    "forest": "#0a0f0a,#1b3a26,#3a6b35,#9bb860,#f4f1c9,#d9a441,#7a4419,#2b1a10,#0a0f0a",
    "rose": "#1a0610,#5c1033,#a4133c,#ff4d6d,#ffccd5,#fff0f3,#c9a7c7,#5e4b7a,#1a0610",
    "ink": "#000000,#ffffff",
    "gold": "#0d0a05,#3b2a10,#8a6420,#d8b04a,#fff4c8,#ffffff,#d8b04a,#6b4416,#0d0a05",
    "spectrum": "#3a0ca3,#4361ee,#4cc9f0,#80ed99,#fee440,#f15bb5,#9b5de5,#3a0ca3",
}
"""For pictures rather than for measuring: most end where they begin, and all are blended like colours of one's own."""

PUBLISHED = tuple(ENCODED)
PALETTES = (*PUBLISHED, *BLENDED)


class Gradient(Struct, frozen=True, kw_only=True):
    """colours: red green blue, one after the other. positions: of each, ascending, 0 to 1; none if they are even.

    published: by name, dense, and to be shown as it is; others are blended between their colours.
    """

    colours: bytes
    positions: tuple[float, ...] = ()
    published: bool = False


def gradient(text: str) -> Gradient:
    """The palette of that name, or with those colours. Raises BadRequestError: what is wrong, and what to do."""
    if text in BLENDED:
        return gradient(BLENDED[text])
    if "#" not in text:
        if text not in ENCODED:
            raise BadRequestError(
                f"there is no palette {shown(text, 40)!r}",
                hint=f'{nearest(text, PALETTES)}; or colours of your own, e.g. "#000000,#ff8000"',
            )
        return Gradient(colours=palette(text), published=True)
    parts = text.split(",", COLOURS_LIMIT)
    if not 2 <= len(parts) <= COLOURS_LIMIT:
        raise BadRequestError(
            f"the palette has {'one colour' if len(parts) < 2 else f'more than {COLOURS_LIMIT} colours'}",
            hint=f"give 2 to {COLOURS_LIMIT}, with commas between them",
        )
    colours, positions = bytearray(), []
    for part in parts:
        found = COLOUR.fullmatch(part.strip())
        if not found or found[2] == "":
            raise BadRequestError(
                f"the palette has {shown(part.strip(), 30)!r}, not a colour",
                hint='write each as "#rrggbb", or as "#rrggbb@0.25" with its place from 0 to 1',
            )
        colours += bytes.fromhex(found[1])
        if found[2]:
            positions.append(float(found[2]))
    _check_positions(positions, len(parts))
    return Gradient(colours=bytes(colours), positions=tuple(positions))


def _check_positions(positions: list[float], colours: int) -> None:
    if not positions:
        return
    if len(positions) < colours:
        raise BadRequestError(
            f"{len(positions)} of the palette's {colours} colours have a place", hint="give all of them one, or none"
        )
    for before, after in pairwise([0.0, *positions, 1.0]):
        if before > after:
            raise BadRequestError(
                f"the palette goes from {before:g} to {after:g}", hint="places go from 0 to 1 and never back"
            )


def palette_text(colours: Sequence[tuple[int, int, int]], positions: Sequence[float] = ()) -> str:
    """The text of a palette, for `gradient`: colours 0 to 255, places 0 to 1 if they are not even."""
    texts = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]
    if not positions:
        return ",".join(texts)
    places = (f"{position:.9f}".rstrip("0").rstrip(".") for position in positions)
    return ",".join(f"{text}@{place}" for text, place in zip(texts, places, strict=True))


@cache
def palette(name: str) -> bytes:
    """The palette's 256 entries, red green blue, one after the other. Raises KeyError for an unknown name."""
    table = bytearray(zlib.decompress(base64.b85decode(ENCODED[name])))
    for place in range(3, len(table)):
        table[place] = (table[place] + table[place - 3]) & 0xFF
    return bytes(table)


Triple = tuple[float, float, float]


def blended(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """The colour at a share of the way between two, in Oklab: as pictures have it between colours of one's own.

    Ottosson, "A perceptual color space for image processing", 2020; `rfm_kernels.gradient` does it for whole tables.
    """
    lightness, a, b = (mine + share * (theirs - mine) for mine, theirs in zip(_lab(one), _lab(other), strict=True))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    return _stored(red), _stored(green), _stored(blue)


def _lab(rgb: tuple[int, int, int]) -> Triple:
    red, green, blue = (
        level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4
        for level in (part / 255 for part in rgb)
    )
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _stored(light: float) -> int:
    """The sRGB level of 255 for a light of 0 to 1; what is beyond that is cut."""
    light = min(max(light, 0.0), 1.0)
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))
