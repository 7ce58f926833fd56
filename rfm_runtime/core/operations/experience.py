"""How operations went before: the courses of past runs by kind, and how wrong the estimates were that were shown.

Pure values, and one `Experience` that the broker's hub owns. Its memory is bounded, whatever it is told.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rfm_runtime.protocol.history import Performance

__all__ = ["DECILES", "Accuracy", "Course", "Experience", "Mark", "Run", "decile_of", "run_of"]

KNOTS = 20
"""A course is kept as the time at every twentieth of the bar."""

DECILES = 10

KINDS_LIMIT = 256
"""Kinds that are remembered; which was not used for longest goes."""

RUNS_LIMIT = 32
"""Runs of one kind: 6 kB."""

SCORES_LIMIT = 64
"""Scores of each decile of a kind."""

NAME_ENOUGH = 3
"""Runs of the same name that say more than those of all names of the kind."""

NEWER = 0.9
"""Weight of a run to the one after it."""

SHORTEST_MS = 1000
"""What takes less is over before anybody asks how long it takes."""

EDGE = 1e-3
"""Fractions of time this close to 0 and 1 are not told apart."""

DOUBT = 0.25
"""Scatter, in log-odds, that a course has before a second run confirms it: counts as one run."""

DOUBT_DURATION = 1.0
"""The same of durations, as a logarithm: a factor of 2.7."""

LOOK_BACK = 1 / 3
"""Of the time so far, from which the rate of the live estimate is taken."""

SCORES_DOUBT = 4.0
"""Scores that weigh as much as what was expected without any."""

ERROR_LIMIT = 3.0
"""Larger errors, as logarithms, count as this one: a factor of 20."""


@dataclass(frozen=True, slots=True)
class Run:
    """One past run. fractions: of its time, at every KNOTS-th of its bar. s_per_unit: its time by its total."""

    name: str
    fractions: tuple[float, ...]
    s_per_unit: float


@dataclass(frozen=True, slots=True)
class Mark:
    """An estimate that was shown. decile: of what was expected to be behind, 0 to 9. raw_s: before it was corrected."""

    decile: int
    at_s: float
    raw_s: float
    p50_s: float
    p90_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """How an estimate turned out. raw, shown: log(actual / estimate) before and after correction."""

    raw: float
    shown: float
    covered: bool


@dataclass(frozen=True, slots=True)
class Accuracy:
    """By decile, None where nothing was estimated. error: median of |estimate − actual| / actual remaining time.

    coverage: share of the estimates whose p90 was not exceeded.
    """

    estimates: tuple[int, ...]
    error: tuple[float | None, ...]
    coverage: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """What the past says of an operation. At every KNOTS-th of the bar: fractions of time behind it,

    spread: their scatter in log-odds, which is that of the logarithm of remaining time; live_spread: what an
    estimate from the rate alone was wrong by, as the same. s_per_unit, its spread: how long a unit took.
    bias, error: by decile, mean and scatter of log(actual / shown) of estimates; scores: how many they are of.
    """

    runs: int = 0
    fractions: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    live_spread: tuple[float, ...] = ()
    s_per_unit: float = 0.0
    s_per_unit_spread: float = math.inf
    bias: tuple[float, ...] = (0.0,) * DECILES
    error: tuple[float, ...] = (0.0,) * DECILES
    scores: tuple[int, ...] = (0,) * DECILES

    def at(self, values: Sequence[float], bar: float) -> float:
        """One of its rows at a fraction of the bar, between its knots."""
        place = min(max(bar, 0.0), 1.0) * KNOTS
        left = min(int(place), KNOTS - 1)
        return values[left] + (place - left) * (values[left + 1] - values[left])


def decile_of(fraction: float) -> int:
    """0 to 9."""
    return min(DECILES - 1, max(0, int(fraction * DECILES)))


def run_of(name: str, performance: Performance) -> Run | None:
    """What is learned from a run that was completed; None if it says nothing of the next one.

    Nothing is learned from one whose owner was lost: part of its work was done twice.
    """
    points = _moving(performance)
    if performance.losses or len(points) < 3:
        return None
    total = performance.total if performance.total is not None else points[-1][1]
    end_ms = points[-1][0]
    if not (math.isfinite(total) and 0.0 < total <= points[-1][1] * (1.0 + EDGE)) or end_ms < SHORTEST_MS:
        return None
    fractions, place = [], 0
    for knot in range(KNOTS + 1):
        goal = min(total * knot / KNOTS, points[-1][1])
        while points[place][1] < goal:
            place += 1
        t1, d1 = points[place]
        t0, d0 = points[max(0, place - 1)]
        fractions.append((t1 if d1 <= d0 else t0 + (t1 - t0) * (goal - d0) / (d1 - d0)) / end_ms)
    s_per_unit = end_ms / 1000.0 / total
    return Run(name, tuple(fractions), s_per_unit) if 0.0 < s_per_unit < math.inf else None


def _moving(performance: Performance) -> list[tuple[float, float]]:
    """(ms in motion, done) from zero on, both rising; what is neither number nor in order is left out.

    The series does not say when it stood still: pauses are taken out where least was done.
    """
    points = [(0.0, 0.0)]
    for point in performance.points:
        if point.t_ms >= points[-1][0] and points[-1][1] <= point.done < math.inf:
            points.append((float(point.t_ms), point.done))
    steps = [(t1 - t0, d1 - d0) for (t0, d0), (t1, d1) in itertools.pairwise(points)]
    paused_ms = max(0.0, float(performance.paused_ms))
    for index in sorted(range(len(steps)), key=lambda i: (steps[i][1] / max(steps[i][0], 1.0), -steps[i][0])):
        if paused_ms <= 0.0:
            break
        still_ms = min(paused_ms, steps[index][0])
        steps[index] = (steps[index][0] - still_ms, steps[index][1])
        paused_ms -= still_ms
    ends = itertools.accumulate(steps, lambda at, step: (at[0] + step[0], at[1] + step[1]), initial=(0.0, 0.0))
    return list(ends)


def _log_odds(fraction: float) -> float:
    bounded = min(max(fraction, EDGE), 1.0 - EDGE)
    return math.log(bounded / (1.0 - bounded))


def _scatter(values: Iterable[float], weights: Sequence[float], centre: float, doubt: float) -> float:
    """Weighted scatter about `centre`, with `doubt` as one value more; of the next value, not of the mean."""
    squares = doubt * doubt + sum(weight * (value - centre) ** 2 for value, weight in zip(values, weights, strict=True))
    of = 1.0 + sum(weights)
    return math.sqrt(squares / of * (1.0 + 1.0 / of))


def _mean(values: Iterable[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _error(actual_s: float, estimate_s: float) -> float:
    return max(-ERROR_LIMIT, min(ERROR_LIMIT, math.log(actual_s) - math.log(estimate_s)))


def _live_error(run: Run, knot: int) -> float:
    """What an estimate by the rate of the time just before was wrong by in this run, as log(actual / estimate)."""
    now = max(run.fractions[knot], EDGE)
    since = now * (1.0 - LOOK_BACK)
    before = 0
    while before < knot and run.fractions[before + 1] <= since:
        before += 1
    t0, t1 = run.fractions[before], run.fractions[min(before + 1, KNOTS)]
    bar = (before + (min(1.0, (since - t0) / (t1 - t0)) if t1 > t0 else 0.0)) / KNOTS
    covered = max(knot / KNOTS - bar, EDGE)
    left = max(1.0 - knot / KNOTS, EDGE) * (now - since) / covered
    return _error(max(1.0 - now, EDGE), left)


def _course(runs: Sequence[Run], scores: Sequence[deque[Score]]) -> Course:
    """runs: oldest first."""
    weights = [NEWER ** (len(runs) - 1 - age) for age in range(len(runs))]
    bias, error = _correction(scores)
    counts = tuple(len(of_decile) for of_decile in scores)
    if not runs:
        return Course(bias=bias, error=error, scores=counts)
    centres, spread, live_spread = [], [], []
    for knot in range(KNOTS + 1):
        odds = [_log_odds(run.fractions[knot]) for run in runs]
        centre = _mean(odds, weights)
        centres.append(1.0 / (1.0 + math.exp(-centre)))
        spread.append(_scatter(odds, weights, centre, DOUBT))
        live_spread.append(_scatter([_live_error(run, knot) for run in runs], weights, 0.0, DOUBT))
    durations = [math.log(run.s_per_unit) for run in runs]
    duration = _mean(durations, weights)
    return Course(
        runs=len(runs),
        fractions=tuple(centres),
        spread=tuple(spread),
        live_spread=tuple(live_spread),
        s_per_unit=math.exp(duration),
        s_per_unit_spread=_scatter(durations, weights, duration, DOUBT_DURATION),
        bias=bias,
        error=error,
        scores=counts,
    )


def _correction(scores: Sequence[deque[Score]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Median error by decile and the scatter about it.

    A bias is drawn to none while there are few scores, and as far as their scatter explains it (James and Stein).
    """
    bias, error = [], []
    for of_decile in scores:
        raw = [score.raw for score in of_decile]
        centre = median(raw) if raw else 0.0
        square = sum((value - centre) ** 2 for value in raw) / len(raw) if raw else 0.0
        if centre:
            trust = max(0.0, 1.0 - square / len(raw) / centre**2)
            bias.append(centre * trust * len(raw) / (len(raw) + SCORES_DOUBT))
        else:
            bias.append(0.0)
        error.append(math.sqrt(square))
    return tuple(bias), tuple(error)


class _Kind:
    """runs: of all names, oldest first. courses: by name, None for all, until something new is learned."""

    __slots__ = ("courses", "runs", "scores")

    def __init__(self) -> None:
        self.runs: deque[Run] = deque(maxlen=RUNS_LIMIT)
        self.scores: tuple[deque[Score], ...] = tuple(deque(maxlen=SCORES_LIMIT) for _ in range(DECILES))
        self.courses: dict[str | None, Course] = {}


class Experience:
    """What the past says, by kind."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def __len__(self) -> int:
        """Kinds that it knows."""
        return len(self._kinds)

    def learn(self, kind: str, name: str, performance: Performance) -> None:
        """Take a run that was completed, newest last. Series that say nothing are passed over."""
        run = run_of(name, performance)
        if run is not None:
            known = self._kind(kind)
            known.runs.append(run)
            known.courses.clear()

    def scored(self, kind: str, marks: Iterable[Mark], ended_s: float) -> None:
        """Hold what was shown of an operation against its end, at `ended_s` of the clock of its marks."""
        for mark in marks:
            actual_s = ended_s - mark.at_s
            if not (0.0 < actual_s < math.inf and 0.0 < mark.raw_s < math.inf and 0.0 < mark.p50_s < math.inf):
                continue
            known = self._kind(kind)
            score = Score(_error(actual_s, mark.raw_s), _error(actual_s, mark.p50_s), actual_s <= mark.p90_s)
            known.scores[decile_of(mark.decile / DECILES + EDGE)].append(score)
            known.courses.clear()

    def course(self, kind: str, name: str) -> Course | None:
        """What is known of the kind, from the runs of that name if there are enough. None if nothing is."""
        known = self._kinds.get(kind)
        if known is None:
            return None
        self._kinds.move_to_end(kind)
        same = [run for run in known.runs if run.name == name]
        key = name if len(same) >= NAME_ENOUGH else None
        if key not in known.courses:
            known.courses[key] = _course(known.runs if key is None else same, known.scores)
        return known.courses[key]

    def accuracy(self, kind: str) -> Accuracy | None:
        """How wrong the estimates were that were shown of this kind; None if there were none."""
        known = self._kinds.get(kind)
        if known is None or not any(known.scores):
            return None
        return Accuracy(
            estimates=tuple(len(scores) for scores in known.scores),
            error=tuple(
                median(abs(math.exp(-score.shown) - 1.0) for score in scores) if scores else None
                for scores in known.scores
            ),
            coverage=tuple(
                sum(score.covered for score in scores) / len(scores) if scores else None for scores in known.scores
            ),
        )

    def _kind(self, kind: str) -> _Kind:
        if kind not in self._kinds:
            self._kinds[kind] = _Kind()
            if len(self._kinds) > KINDS_LIMIT:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(kind)
        return self._kinds[kind]
