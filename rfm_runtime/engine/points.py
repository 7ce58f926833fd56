"""Single points of a view, computed by the kernels that render it, or by the oracle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from rfm_kernels.catalog import cycle
from rfm_kernels.oracle import FORMULAS as ORACLE
from rfm_kernels.oracle import escape, precision_bits_for
from rfm_runtime.engine.limits import iterations_for
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.complex_text import Complex, complex_number
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.plan import ViewPlan, plan, point
from rfm_runtime.render.request import RenderRequest, coefficients_of, p_of, validate

__all__ = ["Answer", "Answers", "Question", "answer"]

GUARD_BITS = 64


class Question(Struct, frozen=True):
    """params: of a render. points: dx, dy in widths of the view from its centre, decimal strings. truth: by gmpy2."""

    params: dict[str, Any]
    points: tuple[tuple[str, str], ...]
    truth: bool = False


class Answer(Struct, frozen=True):
    """Of one point.

    n: applications of the formula up to the first |z| > R, or up to the first step shorter than the tolerance; -1: none
    within max_iter. mu: n + 1 - log_d(ln|z| / ln R), null where not escaped. interior: whether its orbit was seen to
    go to a cycle; null where that is not known. period: of that cycle. distance: estimated distance to the set, in
    units of the plane, null where not escaped or not known.
    """

    n: int
    mu: float | None
    interior: bool | None
    period: int | None
    distance: float | None


class Answers(Struct, frozen=True):
    """In the order of the question's points."""

    points: list[Answer]


def answer(question: Question) -> Answers:
    """Compute all points. Raises BadRequestError."""
    request = validate(question.params)
    if question.truth and request.formula not in ORACLE:
        raise BadRequestError(
            f"the oracle does not know the formula {request.formula}",
            hint="ask without --truth, for the kernel's answer",
        )
    if not request.max_iter:
        request = msgspec.structs.replace(request, max_iter=iterations_for(request))
    places = [point(request, Fraction(dx), Fraction(dy)) for dx, dy in question.points]
    if question.truth:
        return Answers([_true(request, place) for place in places])
    view = plan(request)
    return Answers([_computed(_at(view, place)) for place in places])


def _at(view: ViewPlan, place: Complex) -> ViewPlan:
    """A view of one pixel, whose centre is rounded once."""
    return msgspec.structs.replace(view, origin=(float(place[0]), float(place[1])), right=(0.0, 0.0), down=(0.0, 0.0))


def _computed(view: ViewPlan) -> Answer:
    n, nf = np.full((1, 1), -2, np.int32), np.zeros((1, 1), np.float32)
    z, far = np.zeros((1, 1), np.complex64), np.zeros((1, 1), np.complex64)
    Renderer(view, derivative=True).compute(n, nf, 0, 0, z=z, far=far)
    count = int(n[0, 0])
    if count >= 0:
        # Pixels that are no distance apart measure nothing: this one is in units of the plane.
        distance = float(abs(far[0, 0]))
        known = math.isfinite(distance) and not FORMULAS[view.formula].converges
        return Answer(count, count + float(nf[0, 0]), False, None, distance if known else None)
    period = cycle(view.formula, view.degree)(np.array(view.numbers), view.max_iter, view.is_julia)
    return Answer(-1, None, True if period else None, period or None, None)


def _true(request: RenderRequest, place: Complex) -> Answer:
    view = plan(request)
    bits = precision_bits_for(request.width, request.width_px, request.max_iter) + GUARD_BITS
    julia = None
    if request.julia_re is not None and request.julia_im is not None:
        julia = Fraction(request.julia_re), Fraction(request.julia_im)
    truth = escape(
        request.formula,
        *place,
        julia,
        request.max_iter,
        math.sqrt(view.limit),
        bits,
        power=view.degree,
        p=complex_number(p_of(request)),
        relaxation=complex_number(request.relaxation or "1"),
        coefficients=coefficients_of(request) if FORMULAS[request.formula].converges else (),
    )
    return Answer(truth.n, truth.mu if truth.n >= 0 else None, False if truth.n >= 0 else None, None, None)
