"""From a request to the numbers a kernel takes. Decimals stay exact until the last rounding to float64."""

from __future__ import annotations

import decimal
from fractions import Fraction

from msgspec import Struct

from rfm_runtime.render.complex_text import Complex, complex_number
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.request import DEFAULT_TOLERANCE, RenderRequest, coefficients_of, p_of

__all__ = ["ViewPlan", "axes", "plan", "point"]

PI = Fraction("3.14159265358979323846264338327950288419716939937510")
ANGLE_DIGITS = 50


class ViewPlan(Struct, frozen=True, kw_only=True):
    """Arguments of the shallow kernel.

    degree: of a Multibrot or a polynomial, else 2. origin: centre of the top left pixel. axes: what a step to the right
    adds to real and imaginary part, and what a step down does. julia: c of a Julia set, else 0. parameters: of the
    formula's step, and of its trap. Each is the float64 nearest to the exact number. limit: R², or ε² of what
    converges.
    """

    formula: str
    degree: int
    is_julia: bool
    origin: tuple[float, float]
    right: tuple[float, float]
    down: tuple[float, float]
    julia: tuple[float, float]
    parameters: tuple[float, ...]
    max_iter: int
    limit: float
    interior_tests: bool
    trap: str | None = None

    @property
    def numbers(self) -> tuple[float, ...]:
        """The view as `rfm_kernels.escape_time.Kernel` takes it."""
        axes = self.right[0], self.down[0], self.right[1], self.down[1]
        return (*self.origin, *axes, *self.julia, *self.parameters)


def plan(request: RenderRequest, moved: Complex = (Fraction(0), Fraction(0))) -> ViewPlan:
    """The numbers of a validated request. Pixels are square unless the view is stretched; its centre is the frame's.

    moved: to the right and down, in pixels: of a sample beside the centre of its pixel.
    Only the results are rounded, so rows of a view about the real axis are conjugate to the last bit wherever
    the origin and the spacing are float64 numbers.
    """
    right, down = axes(request)
    columns = Fraction(request.width_px - 1, 2) - moved[0]
    rows = Fraction(request.height_px - 1, 2) - moved[1]
    re0 = Fraction(request.re) - right[0] * columns - down[0] * rows
    im0 = Fraction(request.im) - right[1] * columns - down[1] * rows
    formula = FORMULAS[request.formula]
    degree, parameters = _parameters(request)
    if request.trap is not None:
        parameters = (*parameters, request.trap_re, request.trap_im, request.trap_radius)
    tolerance = request.tolerance or DEFAULT_TOLERANCE
    return ViewPlan(
        formula=request.formula,
        degree=degree,
        is_julia=request.julia_re is not None or formula.in_plane,
        origin=(float(re0), float(im0)),
        right=(float(right[0]), float(right[1])),
        down=(float(down[0]), float(down[1])),
        julia=(float(Fraction(request.julia_re or "0")), float(Fraction(request.julia_im or "0"))),
        parameters=parameters,
        max_iter=request.max_iter,
        limit=tolerance * tolerance if formula.converges else request.bailout * request.bailout,
        interior_tests=request.interior_tests,
        trap=request.trap,
    )


def point(request: RenderRequest, dx: Fraction, dy: Fraction) -> Complex:
    """The point dx, dy widths of the view to the right of its centre and above it, exact."""
    right, down = axes(request)
    u, v = dx * request.width_px, -dy * request.width_px
    return (
        Fraction(request.re) + right[0] * u + down[0] * v,
        Fraction(request.im) + right[1] * u + down[1] * v,
    )


def axes(request: RenderRequest) -> tuple[Complex, Complex]:
    """What a pixel to the right and a pixel down add, exact but for sine, cosine and tangent."""
    spacing = Fraction(request.width) / request.width_px
    cosine, sine = _cosine_and_sine(Fraction(request.rotation_deg))
    lean_cosine, lean_sine = _cosine_and_sine(Fraction(request.skew_deg))
    # Up, before the turn: leant over and lengthened, and where the view is mirrored the other way.
    upwards = -1 if request.mirror else 1
    up = upwards * lean_sine / lean_cosine, upwards * Fraction(request.stretch)
    turned = cosine * up[0] - sine * up[1], sine * up[0] + cosine * up[1]
    return (spacing * cosine, spacing * sine), (-spacing * turned[0], -spacing * turned[1])


def _cosine_and_sine(degrees: Fraction) -> tuple[Fraction, Fraction]:
    """To fifty digits, so that they are the same numbers on every machine; exact for multiples of a quarter turn."""
    quarters, rest = divmod(degrees, 90)
    cosine, sine = Fraction(1), Fraction(0)
    if rest:
        with decimal.localcontext(prec=ANGLE_DIGITS + 10):
            angle = _decimal(rest * PI / 180)
            cosine, sine = (Fraction(_series(angle, first)) for first in (0, 1))
    for _ in range(int(quarters) % 4):
        cosine, sine = -sine, cosine
    return cosine, sine


def _decimal(value: Fraction) -> decimal.Decimal:
    return decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)


def _series(angle: decimal.Decimal, first: int) -> decimal.Decimal:
    """Taylor's series of cosine (first 0) or sine (first 1)."""
    term = angle**first if first else decimal.Decimal(1)
    total, power = term, first
    while abs(term) > decimal.Decimal(10) ** -ANGLE_DIGITS:
        term *= -angle * angle / ((power + 1) * (power + 2))
        total, power = total + term, power + 2
    return total


def _parameters(request: RenderRequest) -> tuple[int, tuple[float, ...]]:
    """Degree and parameters of the formula's step."""
    taken = FORMULAS[request.formula].takes
    if "power" in taken:
        return request.power or 2, ()
    if "p" in taken:
        return 2, _floats(p_of(request))
    if "coefficients" in taken:
        coefficients = coefficients_of(request)
        numbers = [float(part) for number in coefficients for part in number]
        return len(coefficients) - 1, (*_floats(request.relaxation or "1"), *numbers)
    return 2, ()


def _floats(text: str) -> tuple[float, float]:
    number = complex_number(text)
    return float(number[0]), float(number[1])
