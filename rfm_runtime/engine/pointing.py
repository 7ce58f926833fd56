"""What becomes of single pixels of a frame: what is in it, and beside that what is cheap to find out. In a helper.

Counts are the frame's own; where it has none yet the render's own kernel finds them. Orbits, and distances where the
frame keeps none, are taken step by step from the formula as it stands, so that nothing has to be compiled for them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from rfm_kernels.formulas import Formula, formula
from rfm_kernels.layout import away, layout, stepped
from rfm_kernels.pixelwise import CYCLE_LIMIT, NUDGE, RETURN2
from rfm_runtime.engine import pipe
from rfm_runtime.engine.frames import HOLE, PENDING, Frame
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.engine.repaint import opened, request_of
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.render.plan import ViewPlan, plan
from rfm_runtime.render.request import RenderRequest, validate

__all__ = ["pointed"]

NOT_ESCAPED = -1

ITERATIONS_LIMIT = 20_000_000
"""Of all points of a request together, that a frame has nothing of yet: a tenth of a second."""

DISTANCE_LIMIT, DISTANCES_LIMIT = 5000, 20_000
"""Applications after which a distance is not followed any more, of one point and of all together: 10 µs each."""


SETTLED = 2000
"""Applications after which a period is looked for: as many as `rfm_kernels.pixelwise` makes of a frame's pixels."""

PERIODS_S = 1.0
"""CPU time that a request's periods may take: 10 ms a point for z² + c, a second for a polynomial of degree 16."""


def pointed(job: pipe.Probe) -> pipe.JobAnswer:
    """What becomes of these pixels. Raises BadRequestError, OSError."""
    folder = Path(job.folder)
    request = validate(msgspec.msgpack.decode(job.params)) if job.params is not None else request_of(folder)
    frame = opened(folder, request)
    for x, y in job.points:
        if x >= frame.grid.width_px or y >= frame.grid.height_px:
            raise BadRequestError(
                f"the pixel {x}, {y} is not in the frame",
                hint=f"it has {frame.grid.width_px}×{frame.grid.height_px}",
            )
    probe = _Probe(request, frame, len(job.points))
    return pipe.Points(tuple(probe.at(x, y, job.orbit) for x, y in job.points))


class _Probe:
    """Of one frame. points: how many share what may be computed."""

    def __init__(self, request: RenderRequest, frame: Frame, points: int) -> None:
        self._request = request
        self._frame = frame
        self._view = plan(request)
        self._most = ITERATIONS_LIMIT // points
        self._until_s = time.process_time() + PERIODS_S
        self._followed = min(DISTANCE_LIMIT, DISTANCES_LIMIT // points)
        self._formula = formula(self._view.formula, self._view.degree)

    def at(self, x: int, y: int, places: int) -> ProbedPoint:
        n, nf, far = self._counted(x, y)
        re, im = _place(self._view, x, y)
        facts = ProbedPoint(x=x, y=y, re=re, im=im, orbit=self._orbit(re, im, places))
        if n >= 0:
            distance = self._distance(re, im, n) if far is None else far * math.hypot(*self._view.right)
            known = None if self._formula.converges or not math.isfinite(distance) else distance
            return msgspec.structs.replace(facts, n=n, mu=n + nf, interior=False, distance=known)
        if n == NOT_ESCAPED:
            period = int(nf) if self._request.by_period and nf > 0 else self._period(re, im)
            return msgspec.structs.replace(facts, n=n, interior=True if period else None, period=period or None)
        return facts

    def _counted(self, x: int, y: int) -> tuple[int, float, float | None]:
        """Count, fraction and, where the frame keeps it, distance in pixels; PENDING or HOLE where nothing is known."""
        planes = {name: plane[y : y + 1, x : x + 1].copy() for name, plane in self._frame.planes.items()}
        if planes["n"][0, 0] == PENDING:
            view = self._view
            if view.max_iter > self._most:
                view = msgspec.structs.replace(view, max_iter=self._most)
            renderer = Renderer(view, derivative=self._request.needs_derivative)
            n, nf = planes["n"], planes["nf"]
            renderer.compute(n, nf, x, y, z=planes.get("z"), far=planes.get("far"))
            if planes["n"][0, 0] == NOT_ESCAPED and view is not self._view:
                planes["n"][0, 0] = HOLE
        distance = float(abs(planes["far"][0, 0])) if "far" in planes else None
        return int(planes["n"][0, 0]), float(planes["nf"][0, 0]), distance

    def _period(self, re: float, im: float) -> int:
        """As `rfm_kernels.pixelwise` tells it, which would have to be compiled for it; 0 where it is not known."""
        if time.process_time() > self._until_s:
            return 0
        made, view = self._formula, self._view
        place = layout(made, derivative=False)
        c, p = view.julia if view.is_julia else (re, im), view.parameters[: made.parameters]

        def step(z: list[float]) -> list[float]:
            return stepped(made, place, z, c, p, 0.0)

        try:
            z = next(itertools.islice(_states(view, made, re, im, derivative=False), SETTLED, None), None)
            return 0 if z is None else _cycle(step, z)
        except ArithmeticError:
            return 0

    def _orbit(self, re: float, im: float, places: int) -> tuple[float, ...]:
        found: list[float] = []
        if places > 0:
            for count, state in enumerate(_states(self._view, self._formula, re, im, derivative=False)):
                x, y = float(state[0]), float(state[1])
                if not (math.isfinite(x) and math.isfinite(y)):
                    break
                found += (x, y)
                if count + 1 == places or _is_over(self._view, self._formula, state):
                    break
        return tuple(found)

    def _distance(self, re: float, im: float, n: int) -> float:
        """Estimated, in units of the plane; NaN where it is not known, or takes too long."""
        if self._formula.converges or n > self._followed:
            return math.nan
        place = layout(self._formula, derivative=True)
        for count, state in enumerate(_states(self._view, self._formula, re, im, derivative=True)):
            if count == n:
                norm = float(state[0] * state[0] + state[1] * state[1])
                try:
                    return float(math.hypot(*away(place, state, math.log2(norm), norm)))
                except (ArithmeticError, ValueError):
                    return math.nan
        return math.nan


def _cycle(step: Callable[[list[float]], list[float]], z: list[float]) -> int:
    """The length of the cycle that z is on and that draws in what is beside it; 0: none was found."""
    w = z
    for period in range(1, CYCLE_LIMIT + 1):
        w = step(w)
        apart2 = (w[0] - z[0]) * (w[0] - z[0]) + (w[1] - z[1]) * (w[1] - z[1])
        if not apart2 <= RETURN2 * (1.0 + z[0] * z[0] + z[1] * z[1]):
            continue
        return period if _draws_in(step, z, period) else 0
    return 0


def _draws_in(step: Callable[[list[float]], list[float]], z: list[float], period: int) -> bool:
    for direction in range(2):
        u, v = z, [z[0] + NUDGE * (1 - direction), z[1] + NUDGE * direction, *z[2:]]
        for _ in range(period):
            u, v = step(u), step(v)
        if not (v[0] - u[0]) * (v[0] - u[0]) + (v[1] - u[1]) * (v[1] - u[1]) < NUDGE * NUDGE:
            return False
    return True


def _place(view: ViewPlan, x: int, y: int) -> tuple[float, float]:
    """Of the centre of a pixel, rounded as the kernels do."""
    re = view.origin[0] + (view.right[0] * x + view.down[0] * y)
    im = view.origin[1] + (view.right[1] * x + view.down[1] * y)
    return re, im


def _is_over(view: ViewPlan, made: Formula, state: list[float]) -> bool:
    if made.converges:
        size = (state[0] - state[2]) * (state[0] - state[2]) + (state[1] - state[3]) * (state[1] - state[3])
        return not size >= view.limit
    return not state[0] * state[0] + state[1] * state[1] <= view.limit


def _states(view: ViewPlan, made: Formula, re: float, im: float, *, derivative: bool) -> Iterator[list[float]]:
    """z and what belongs to it, from z₀ on, for as long as these are numbers."""
    place = layout(made, derivative=derivative)
    state = [*made.start, *[0.0] * (place.state - len(made.start))]
    c = view.julia if view.is_julia else (re, im)
    if view.is_julia:
        state[:2] = re, im
        for direction in range(place.slopes):
            state[place.words + direction * place.slopes + direction] = 1.0
    seed = 0.0 if view.is_julia else 1.0
    p = view.parameters[: made.parameters]
    try:
        while True:
            yield state
            state = stepped(made, place, state, c, p, seed)
    except ArithmeticError:
        # Beyond what float64 can say.
        return
