"""Views worth looking at, by name. A preset is a complete request; size and iterations may be overridden."""

from __future__ import annotations

from msgspec import Struct

from rfm_runtime.render.refusals import one_of
from rfm_runtime.render.request import RenderRequest

__all__ = ["PRESETS", "Preset", "preset"]


class Preset(Struct, frozen=True, kw_only=True):
    """A named view."""

    name: str
    title: str
    request: RenderRequest


def _preset(name: str, title: str, request: RenderRequest) -> Preset:
    return Preset(name=name, title=title, request=request)


_ALL = (
    _preset(
        "seahorse",
        "The seahorse valley: tails and eyes between head and body",
        RenderRequest(
            re="-0.7452", im="0.113", width="0.0075", max_iter=5000,
            palette="inferno", density=0.4, offset=0.35,
        ),
    ),
    _preset(
        "home",
        "The whole Mandelbrot set",
        RenderRequest(re="-0.65", im="0", width="4.4", max_iter=2000, palette="viridis", density=0.30),
    ),
    _preset(
        "mini",
        "The mini-set of period 3 on the real axis",
        RenderRequest(
            re="-1.7548776662", im="0", width="0.085", max_iter=5000, palette="plasma", density=0.45,
        ),
    ),
    _preset(
        "star",
        "A mini-set in a star of seahorse tails",
        RenderRequest(
            re="-0.743904874255535", im="0.1317119067802009", width="0.000078", max_iter=5000,
            palette="magma", density=0.35, offset=0.1,
        ),
    ),
    _preset(
        "elephant",
        "The elephant valley",
        RenderRequest(
            re="0.2925755", im="-0.0149977", width="0.0115", max_iter=3000, palette="turbo", density=0.4,
        ),
    ),
    _preset(
        "spiral",
        "A spiral of many arms",
        RenderRequest(
            re="-0.761574", im="-0.0847596", width="0.00032", max_iter=6000, palette="magma", density=0.5,
            offset=0.3,
        ),
    ),
    _preset(
        "triple_spiral",
        "Three arms around a centre",
        RenderRequest(
            re="-0.088", im="0.654", width="0.018", max_iter=3000, palette="cividis", density=0.45,
        ),
    ),
    _preset(
        "julia_dendrite",
        "The Julia set of c = i: a tree without an inside",
        RenderRequest(
            re="0", im="0", width="4.2", julia_re="0", julia_im="1", max_iter=500, palette="magma",
            density=0.5,
        ),
    ),
    _preset(
        "julia_rabbit",
        "Douady's rabbit",
        RenderRequest(
            re="0", im="0", width="4.0", julia_re="-0.122561166876654", julia_im="0.744861766619744",
            max_iter=1000, palette="viridis", density=0.5,
        ),
    ),
    _preset(
        "julia_spirals",
        "A Julia set of the seahorse valley",
        RenderRequest(
            re="0", im="0", width="3.4", julia_re="-0.7436438870", julia_im="0.1318259042",
            max_iter=3000, palette="inferno", density=0.5, offset=0.1,
        ),
    ),
)  # fmt: skip

PRESETS: dict[str, Preset] = {entry.name: entry for entry in _ALL}


def preset(name: str) -> Preset:
    """The preset of that name. Raises BadRequestError with the nearest names."""
    one_of("preset", name, tuple(PRESETS))
    return PRESETS[name]
