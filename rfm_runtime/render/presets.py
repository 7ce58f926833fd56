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
            re="-0.7452", im="0.113", width="0.0075", max_iter=5000, palette="inferno", density=0.4, offset=0.35,
        ),
    ),
    _preset(
        "home",
        "The whole Mandelbrot set",
        RenderRequest(
            re="-0.65", im="0", width="4.4", max_iter=2000, palette="viridis", density=0.3,
        ),
    ),
    _preset(
        "relief",
        "The whole set as a landscape under a low lamp",
        RenderRequest(
            re="-0.65", im="0", width="3.6", max_iter=2000, palette="ice", density=0.35, offset=0.2, slopes=1.2,
            light_azimuth_deg=120.0, light_elevation_deg=35.0,
        ),
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
            re="-0.743904874255535", im="0.1317119067802009", width="0.000078", max_iter=5000, palette="magma",
            density=0.35, offset=0.1,
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
        "A double spiral among a hundred others",
        RenderRequest(
            re="-0.761557", im="-0.0847600", width="0.00007", max_iter=6000, palette="magma", density=0.5,
            offset=0.3,
        ),
    ),
    _preset(
        "triple_spiral",
        "Where three arms meet",
        RenderRequest(
            re="-0.0839", im="0.6572", width="0.0022", max_iter=3000, palette="cividis", density=0.45,
        ),
    ),
    _preset(
        "scepter",
        "The scepter valley, in copper under a lamp",
        RenderRequest(
            re="-1.3755", im="0.0155", width="0.014", max_iter=4000, palette="copper", density=0.5, slopes=1.0,
        ),
    ),
    _preset(
        "tendrils",
        "Tendrils of a seahorse, engraved",
        RenderRequest(
            re="-0.74364386269", im="0.13182590271", width="0.0000135", max_iter=8000, palette="gold", density=0.6,
            slopes=1.5, light_elevation_deg=40.0,
        ),
    ),
    _preset(
        "field_lines",
        "Lines of force outside the set",
        RenderRequest(
            re="-0.65", im="0", width="3.6", max_iter=1000, palette="ocean", density=0.5, colouring="field_lines",
        ),
    ),
    _preset(
        "filigree",
        "A Julia set by its distance, in ink",
        RenderRequest(
            re="0", im="0", width="3.4", julia_re="-0.8", julia_im="0.156", max_iter=3000, palette="ink",
            density=0.2, colouring="distance", cyclic="clamp",
        ),
    ),
    _preset(
        "julia_dendrite",
        "The Julia set of c = i: a tree without an inside",
        RenderRequest(
            re="0", im="0", width="4.2", julia_re="0", julia_im="1", max_iter=500, palette="magma", density=0.5,
        ),
    ),
    _preset(
        "julia_rabbit",
        "Douady's rabbit",
        RenderRequest(
            re="0", im="0", width="4.0", julia_re="-0.122561166876654", julia_im="0.744861766619744", max_iter=1000,
            palette="viridis", density=0.5,
        ),
    ),
    _preset(
        "julia_spirals",
        "A Julia set of the seahorse valley",
        RenderRequest(
            re="0", im="0", width="3.4", julia_re="-0.7436438870", julia_im="0.1318259042", max_iter=3000,
            palette="inferno", density=0.5, offset=0.1,
        ),
    ),
    _preset(
        "julia_siegel",
        "Around a Siegel disc: the golden mean",
        RenderRequest(
            re="0", im="0", width="3.2", julia_re="-0.390540870218400", julia_im="-0.586787907346969", max_iter=2000,
            palette="dusk", density=0.6, interior="#2d1e4f",
        ),
    ),
    _preset(
        "stalks",
        "Pickover stalks: how near orbits come to the axes",
        RenderRequest(
            re="0", im="0", width="3.2", julia_re="-0.74543", julia_im="0.11301", max_iter=2000, palette="aurora",
            density=0.25, colouring="orbit_trap", trap="cross",
        ),
    ),
    _preset(
        "pearls",
        "An orbit trap at a point, in the seahorse valley",
        RenderRequest(
            re="-0.7452", im="0.113", width="0.0075", max_iter=3000, palette="ocean", density=0.3,
            colouring="orbit_trap", trap="point", trap_re=-0.5, trap_im=0.2,
        ),
    ),
    _preset(
        "periods",
        "The inside by the period of its cycles",
        RenderRequest(
            re="-0.65", im="0", width="3.2", max_iter=2000, palette="aurora", density=0.35, interior="period",
        ),
    ),
    _preset(
        "ranks",
        "The seahorse valley with every colour as often",
        RenderRequest(
            re="-0.7452", im="0.113", width="0.0075", max_iter=3000, palette="turbo", density=1.0,
            colouring="histogram",
        ),
    ),
    _preset(
        "multibrot_3",
        "z³ + c: two heads",
        RenderRequest(
            formula="multibrot", power=3, re="0", im="0", width="4.4", max_iter=1000, palette="aurora", density=0.5,
        ),
    ),
    _preset(
        "multibrot_5",
        "The cusp between two petals of z⁵ + c",
        RenderRequest(
            formula="multibrot", power=5, re="0.62", im="0", width="0.5", max_iter=1000, palette="spectrum",
            density=0.5,
        ),
    ),
    _preset(
        "multi_julia",
        "A Julia set of z⁴ + c",
        RenderRequest(
            formula="multibrot", power=4, re="0", im="0", width="3.9", julia_re="0.6", julia_im="0.55",
            max_iter=1000, palette="rose", density=0.6,
        ),
    ),
    _preset(
        "armada",
        "The armada of the Burning Ship",
        RenderRequest(
            formula="burning_ship", re="-1.762", im="-0.028", width="0.13", max_iter=2000, palette="ember",
            density=0.5,
        ),
    ),
    _preset(
        "burning_ship",
        "The whole Burning Ship",
        RenderRequest(
            formula="burning_ship", re="-0.5", im="-0.5", width="4.8", max_iter=1000, palette="ember", density=0.5,
        ),
    ),
    _preset(
        "ship_julia",
        "A Julia set of the Burning Ship",
        RenderRequest(
            formula="burning_ship", re="0", im="0", width="3.6", julia_re="-1.62", julia_im="-0.01", max_iter=1000,
            palette="gold", density=0.5,
        ),
    ),
    _preset(
        "perpendicular",
        "The Perpendicular Ship",
        RenderRequest(
            formula="perpendicular_ship", re="-0.6", im="-0.1", width="4.2", max_iter=1000, palette="ice",
            density=0.5,
        ),
    ),
    _preset(
        "celtic",
        "A knot of the Celtic set",
        RenderRequest(
            formula="celtic", re="-0.6", im="0", width="4.4", max_iter=1000, palette="forest", density=0.5,
        ),
    ),
    _preset(
        "buffalo",
        "The Buffalo",
        RenderRequest(
            formula="buffalo", re="-0.4", im="-0.4", width="4.4", max_iter=1000, palette="copper", density=0.5,
        ),
    ),
    _preset(
        "tricorn",
        "The Tricorn, with its three horns",
        RenderRequest(
            formula="tricorn", re="-0.2", im="0", width="5.2", max_iter=1000, palette="dusk", density=0.5,
        ),
    ),
    _preset(
        "tricorn_horn",
        "Along a horn of the Tricorn",
        RenderRequest(
            formula="tricorn", re="-1.73", im="0.0", width="0.16", max_iter=3000, palette="ocean", density=0.5,
        ),
    ),
    _preset(
        "phoenix",
        "The Phoenix of Ushiki",
        RenderRequest(
            formula="phoenix", re="0", im="0", width="3.0", julia_re="0.5666666666666667", julia_im="0", p="-0.5",
            rotation_deg=90.0, max_iter=1000, palette="ultra", density=0.6,
        ),
    ),
    _preset(
        "phoenix_map",
        "Where the Phoenix lives: its set of c",
        RenderRequest(
            formula="phoenix", re="0", im="0", width="4.0", p="-0.5", max_iter=1000, palette="rose", density=0.5,
        ),
    ),
    _preset(
        "newton",
        "Newton's method for z³ = 1",
        RenderRequest(
            formula="newton", re="0", im="0", width="4.0", max_iter=200, palette="spectrum", density=0.6,
        ),
    ),
    _preset(
        "newton_flower",
        "Newton's method for z⁵ = 1",
        RenderRequest(
            formula="newton", coefficients=("1", "0", "0", "0", "0", "-1"), re="0", im="0", width="2.4",
            max_iter=200, palette="aurora", density=0.7,
        ),
    ),
    _preset(
        "nova",
        "The Nova set of z³ − 1",
        RenderRequest(
            formula="nova", re="-0.35", im="0", width="1.6", max_iter=500, palette="ultra", density=0.6,
        ),
    ),
)  # fmt: skip

PRESETS: dict[str, Preset] = {entry.name: entry for entry in _ALL}


def preset(name: str) -> Preset:
    """The preset of that name. Raises BadRequestError with the nearest names."""
    one_of("preset", name, tuple(PRESETS))
    return PRESETS[name]
