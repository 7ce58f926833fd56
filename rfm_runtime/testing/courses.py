"""How operations go over their time, recorded or made up, replayed through the estimator of remaining time.

Times are in motion: a pause takes none, and only shows as a place where the pace begins anew.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rfm_runtime.core.operations.eta import Expected, Pace
from rfm_runtime.core.operations.experience import Course, Experience, Mark
from rfm_runtime.core.operations.series import SPACING_MS
from rfm_runtime.protocol.history import SERIES_POINTS, Performance, Point
from rfm_runtime.protocol.operation import Eta

__all__ = [
    "SYNTHETIC",
    "Estimated",
    "Estimator",
    "Row",
    "Trace",
    "at_bars",
    "at_times",
    "leave_one_out",
    "performance",
    "recorded",
    "replay",
    "synthetic",
]

Row = tuple[float, float, float, Expected | None]
"""Seconds since the start, done, CPU time spent in seconds, what is expected yet."""

TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Trace:
    """One run of a kind. restarts: times of pauses."""

    kind: str
    name: str
    total: float
    end_s: float
    rows: tuple[Row, ...]
    restarts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimated:
    """What was shown at a time. fraction: of the time that the run took. error: (estimate − actual) / actual time left.

    covered: whether the actual time is at most p90.
    """

    fraction: float
    bar: float
    p50_s: float
    p90_s: float
    left_s: float

    @property
    def error(self) -> float:
        """Relative to the actual remaining time."""
        return (self.p50_s - self.left_s) / self.left_s

    @property
    def covered(self) -> bool:
        """Whether the pessimistic estimate was enough."""
        return self.left_s <= self.p90_s


class Estimator(Protocol):
    """What a replay needs."""

    def measured(self, done: float, now_s: float, cpu_s: float = 0.0, expected: Expected | None = None) -> None: ...

    def restart(self) -> None: ...

    def eta(self, remaining: float, total: float | None = None) -> Eta | None: ...


def recorded(folder: Path) -> list[Trace]:
    """What `record_eta.py` wrote, in the order of names."""
    traces = []
    for path in sorted(folder.glob("*.json")):
        trace = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(
            (t_ms / 1000, float(done), cpu_ms / 1000, _expected(expected, trace["workers"]))
            for t_ms, done, cpu_ms, *expected in trace["rows"]
        )
        traces.append(Trace(trace["kind"], trace["name"], trace["total"], trace["end_ms"] / 1000, rows))
    return traces


def _expected(left_tail_ms: list[int], workers: int) -> Expected | None:
    return Expected(left_tail_ms[0] / 1000, left_tail_ms[1] / 1000, workers) if left_tail_ms else None


def replay(trace: Trace, pace: Estimator) -> list[tuple[float, float, Eta | None]]:
    """(seconds, fraction of the bar, what is shown) at each row."""
    shown = []
    restarts = list(trace.restarts)
    for t_s, done, cpu_s, expected in trace.rows:
        if restarts and t_s >= restarts[0]:
            pace.restart()
            del restarts[0]
        pace.measured(done, t_s, cpu_s, expected)
        shown.append((t_s, done / trace.total, pace.eta(trace.total - done, trace.total)))
    return shown


def at_times(
    trace: Trace, shown: Sequence[tuple[float, float, Eta | None]], fractions: Iterable[float]
) -> list[Estimated | None]:
    """What a watcher sees at these fractions of its time: the newest estimate, counted down. None: nothing yet."""
    found = []
    for fraction in fractions:
        now_s = fraction * trace.end_s
        newest = next(((t_s, bar, eta) for t_s, bar, eta in reversed(shown) if t_s <= now_s), None)
        found.append(_seen(trace, newest, now_s))
    return found


def at_bars(
    trace: Trace, shown: Sequence[tuple[float, float, Eta | None]], bars: Iterable[float]
) -> list[Estimated | None]:
    """What is shown when the bar first reaches these fractions."""
    found = []
    for goal in bars:
        first = next(((t_s, bar, eta) for t_s, bar, eta in shown if bar >= goal), None)
        found.append(None if first is None else _seen(trace, first, first[0]))
    return found


def _seen(trace: Trace, newest: tuple[float, float, Eta | None] | None, now_s: float) -> Estimated | None:
    left_s = trace.end_s - now_s
    if newest is None or left_s <= 0.0:
        return None
    t_s, bar, eta = newest
    if eta is None:
        return None
    p50_s, p90_s = (max(0.0, ms / 1000 - (now_s - t_s)) for ms in (eta.p50, eta.p90))
    return Estimated(now_s / trace.end_s, bar, p50_s, p90_s, left_s)


def performance(trace: Trace) -> Performance:
    """As the store keeps it: as far apart as `Series` begins, twice as far each time that it is full."""
    spacing_s = at_s = SPACING_MS / 1000
    points = [Point(0, 0.0)]
    ahead = list(trace.rows)
    newest = ahead[0]
    while at_s < trace.end_s:
        while ahead and ahead[0][0] <= at_s:
            newest = ahead.pop(0)
        points.append(Point(round(1000 * at_s), newest[1], newest[2]))
        if len(points) >= SERIES_POINTS:
            points, spacing_s = points[::2], 2.0 * spacing_s
        at_s += spacing_s
    points.append(Point(round(1000 * trace.end_s), trace.total, trace.rows[-1][2]))
    return Performance(points=tuple(points), total=trace.total)


def leave_one_out(traces: Sequence[Trace]) -> Iterator[tuple[Trace, Course | None]]:
    """Each run with what is known from all the others: their courses, and how wrong their estimates were."""
    marks = [_marks(traces, trace) for trace in traces]
    for index, trace in enumerate(traces):
        experience = Experience()
        for other, (run, of_run) in enumerate(zip(traces, marks, strict=True)):
            if other != index:
                experience.learn(run.kind, run.name, performance(run))
                experience.scored(run.kind, of_run, run.end_s)
        yield trace, experience.course(trace.kind, trace.name)


def _marks(traces: Sequence[Trace], trace: Trace) -> list[Mark]:
    """What was shown of it when the courses of all others were known."""
    experience = Experience()
    for other in traces:
        if other is not trace:
            experience.learn(other.kind, other.name, performance(other))
    pace = Pace(experience.course(trace.kind, trace.name))
    replay(trace, pace)
    return pace.marks


# --- made up --------------------------------------------------------------------------------------

Steps = list[float]


def _scattered(dice: random.Random, steps: Iterable[float], sigma: float = 0.15) -> Steps:
    return [step * math.exp(dice.gauss(0.0, sigma)) for step in steps]


def _stalls(dice: random.Random) -> Steps:
    steps = _scattered(dice, [0.1] * 300)
    for _ in range(3):
        steps[dice.randrange(300)] += dice.uniform(2.0, 6.0)
    return steps


def _half_as_fast(dice: random.Random) -> Steps:
    before = dice.randrange(60, 240)
    return _scattered(dice, [0.1] * before + [0.2] * (300 - before))


SYNTHETIC: dict[str, Callable[[random.Random], Steps]] = {
    "even": lambda dice: _scattered(dice, [0.1] * 300),
    "slowing": lambda dice: _scattered(dice, [0.2 * 1.04**i for i in range(60)]),
    "speeding up": lambda dice: _scattered(dice, [2.0 * 0.96**i for i in range(60)]),
    "half as fast": _half_as_fast,
    "bursts": lambda dice: _scattered(dice, [1.5 if i % 10 == 0 else 0.01 for i in range(200)]),
    "long first step": lambda dice: _scattered(dice, [10.0] + [0.2] * 100),
    "unequal steps": lambda dice: _scattered(dice, [0.3] * 100, sigma=1.0),
    "stalls": _stalls,
    "long end": lambda dice: _scattered(dice, [0.1] * 200 + [8.0]),
    "paused": lambda dice: _scattered(dice, [0.1] * 300),
}
"""Durations of steps in seconds, by what they are like."""


def synthetic(kind: str, seed: int) -> Trace:
    """A run of that kind: each of its own speed and with its own accidents; what it reports is looked at 20 times a
    second."""
    dice = random.Random(f"{kind} {seed}")
    speed = math.exp(dice.gauss(0.0, 0.3))
    steps = [step / speed for step in SYNTHETIC[kind](dice)]
    rows: list[Row] = [(0.0, 0.0, 0.0, None)]
    now_s = shown_s = 0.0
    for done, step in enumerate(steps, 1):
        now_s += step
        shown_s = max(math.ceil(now_s / TICK_S) * TICK_S, shown_s)
        if rows[-1][0] == shown_s:
            rows.pop()
        rows.append((shown_s, float(done), 0.0, None))
    total = float(len(steps))
    if kind == "long end":
        # The bar is full before the last step, which no bar shows.
        rows.pop()
        total -= 1.0
    rows = [row for row in rows if row[0] <= now_s]
    restarts = tuple(dice.uniform(0.2, 0.8) * now_s for _ in range(2)) if kind == "paused" else ()
    return Trace(kind, "", total, now_s, tuple(rows), tuple(sorted(restarts)))
