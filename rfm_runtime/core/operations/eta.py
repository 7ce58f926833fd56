"""Time that is left of one operation: from its own pace, from what its owner expects, and from how others went.

Pure: time is an argument. One mutable `Pace` per live operation, owned by its `Merge`.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rfm_runtime.core.operations.experience import DECILES, Course, Mark, decile_of
from rfm_runtime.protocol.operation import Eta

__all__ = ["PACE_SAMPLES", "Expected", "Pace"]

PACE_SAMPLES = 48
"""Samples kept per operation; when full, every second one goes and the spacing doubles."""

PACE_SPACING_S = 0.25

ETA_LIMIT_S = 1e9
"""Thirty years: what takes longer is not estimated."""

CLOCK_S = 1e-6
"""Measurements that are closer than this have no rate."""

Z90 = 1.2816
"""90 % quantile of the normal distribution."""

SLOWEST = 4.0
"""The pessimistic estimate is at most so many times the median one."""

WORK_SPREAD = 0.1
"""Least scatter of log(actual / estimated) where the owner says what is left: p90 is then enough for nine in ten of the
recorded renders, whose estimates are rather too long."""

CHECK_S = 0.5
"""After this time, or an eighth of all so far, each estimate is held against what came."""

CHECKS_WEIGHT = 0.3
"""Weight of the newest check in the mean."""

OVERRULED = 2.0
"""How much an error that the others did not make counts against an estimate."""

ERROR_LIMIT = 2.0
"""Largest error of one check, as a logarithm: a factor of 7."""

WIDEST = 10.0
"""Largest scatter of an estimate, as a logarithm."""

GAP_FADES = 0.8
"""Of the longest standstill, at each step: one stall is forgotten after some."""

LEAST = 0.05
"""Of an estimate, what is left of it when its time is over and nothing came."""

TREND = 1.5
"""How much further a trend of the rate goes on: chosen so that courses that slow down or speed up are met better, and
no worse one that changes its rate once."""

SURE = 2.0
"""Standard errors that a trend has to exceed."""

COVERED = 0.01
"""Fraction of the time that has to be behind before the course says how long it takes."""

HORIZON = 1 / 3
"""Of the time so far: after this, an interval counts a third."""

SCORES_DOUBT = 4.0
"""Scores of past estimates that weigh as much as what is expected from this run."""


class Expected(NamedTuple):
    """What an owner expects of its operation, as CPU time: left_s shared by `workers`, then tail_s by one alone."""

    left_s: float
    tail_s: float = 0.0
    workers: int = 1


Sample = tuple[float, float, float]
Estimate = tuple[float, float]
"""Seconds, and the scatter of the logarithm of actual by estimated seconds."""


class Pace:
    """Rate and remaining time from samples of `done`, of whole life down to the last seconds.

    The live estimate weights recent intervals more, and takes a clear trend for granted. Where the owner says what CPU
    time is left, that is divided by the rate at which it is spent, and what comes after it is added. Otherwise course,
    what the past says, is weighed with the live one by how wrong each of them usually is at this place, and has been
    in this run. marks: what was shown, once a decile.
    """

    __slots__ = (
        "_before",
        "_check",
        "_covered",
        "_errors",
        "_expected",
        "_gap_s",
        "_moved_s",
        "_now_s",
        "_rates",
        "_samples",
        "_settled_s",
        "_settles_s",
        "_spacing_s",
        "_tail",
        "course",
        "marks",
    )

    def __init__(self, course: Course | None = None) -> None:
        self.course = course
        self.marks: list[Mark] = []
        self._samples: deque[Sample] = deque()
        self._errors = [0.0, 0.0, 0.0]
        self._before = (0.0, 0.0)
        self._covered = 0.0
        self.restart()

    def restart(self, settles_s: float = 0.0) -> None:
        """Forget: the work stood still (a pause), and standing still is no rate. What it did before stays done.

        settles_s: from the first measurement on, for so long only the newest counts, from which the rate begins.
        """
        if self._samples:
            before_s, covered = self._before
            self._before = before_s + self._samples[-1][0] - self._samples[0][0], covered + self._covered
        self._covered = 0.0
        self._settles_s, self._settled_s = settles_s, math.inf
        self._samples.clear()
        self._spacing_s = PACE_SPACING_S
        self._rates: tuple[float, float] | None = None
        self._expected: Expected | None = None
        self._tail: tuple[float, float] | None = None
        self._check: tuple[float, float, float, tuple[float, float, float]] | None = None
        self._gap_s = self._moved_s = self._now_s = 0.0
        self.marks.clear()

    def measured(self, done: float, now_s: float, cpu_s: float = 0.0, expected: Expected | None = None) -> None:
        """Take a measurement; those that come faster than the spacing replace the newest. cpu_s: spent so far."""
        samples = self._samples
        self._now_s = now_s
        self._expected = expected
        if expected is not None and expected.left_s <= 0.0 and self._tail is None:
            self._tail = now_s, expected.tail_s
        if self._settles_s:
            self._settled_s = min(self._settled_s, now_s + self._settles_s)
            if now_s < self._settled_s:
                samples.clear()
            else:
                self._settles_s = 0.0
        if not samples or done > samples[-1][1]:
            if samples:
                self._gap_s = max(now_s - self._moved_s, GAP_FADES * self._gap_s)
            self._moved_s = now_s
        elif expected is None:
            # Between two steps it is not slower: that it takes longer than ever before would be.
            now_s -= self._gap_s
            if now_s <= samples[-1][0]:
                return
        self._rates = None
        self._take((now_s, done, cpu_s))

    def _take(self, sample: Sample) -> None:
        samples = self._samples
        if len(samples) >= 2 and sample[0] - samples[-2][0] < self._spacing_s:
            samples[-1] = sample
            return
        samples.append(sample)
        if len(samples) > PACE_SAMPLES:
            self._samples = deque(sample for i, sample in enumerate(samples) if i % 2 == (len(samples) - 1) % 2)
            if self._samples[0] != samples[0]:
                self._samples.appendleft(samples[0])
            self._spacing_s *= 2.0

    def rates(self) -> tuple[float, float] | None:
        """Mean rate in units/s and its standard error, None before there is one."""
        if self._rates is None:
            self._rates = _rate(self._samples, 1)
        return self._rates

    def eta(self, remaining: float, total: float | None = None) -> Eta | None:
        """Time for `remaining` units, None while nothing is known. total: without it the past says nothing."""
        if remaining < 0.0 or not self._samples:
            return None
        bar = max(0.0, 1.0 - remaining / total) if total else 0.0
        behind, estimate = bar, self._live(remaining)
        if self._expected is not None and estimate is not None:
            # An owner that looked ahead knows this run; how far the bar was in others says nothing of it.
            since_s = self._now_s - self._samples[0][0]
            behind = since_s / max(since_s + estimate[0], CLOCK_S)
        elif self.course is not None and self.course.runs and total:
            estimate = self._weighed(self.course, bar, total, estimate)
        if estimate is None or estimate[0] > ETA_LIMIT_S:
            return None
        return self._shown(estimate, behind)

    def _live(self, remaining: float) -> Estimate | None:
        """From the rate of this run alone."""
        if self._expected is not None and (work := self._work(self._expected)) is not None:
            return work
        rates = self.rates()
        if rates is None or rates[0] <= 0.0 or remaining > ETA_LIMIT_S * rates[0]:
            return None
        mean, error = rates
        spread, trend = error / mean, TREND * self._trend(mean)
        # A trend that the scatter explains is none, but may be one.
        sure = max(0.0, 1.0 - (TREND * SURE * spread / trend) ** 2) if trend else 0.0
        return self._since(remaining / mean * math.exp(-sure * trend)), math.hypot(spread, trend)

    def _work(self, expected: Expected) -> Estimate | None:
        """From what the owner expects, and the rate at which CPU time is spent."""
        spending = _rate(self._samples, 2)
        if spending is None or spending[0] <= 0.0:
            return None
        mean, error = spending
        # Where workers get less than a core each, others want it, and one alone gets more than they did.
        slowness = math.sqrt(min(SLOWEST, max(1.0, expected.workers / mean)))
        if self._tail is not None:
            since_s, tail_s = self._tail
            took_s, spent_s = self._now_s - since_s, tail_s - expected.tail_s
            if took_s >= CHECK_S and spent_s > 0.0:
                slowness = min(SLOWEST, max(1.0, took_s / spent_s))
        return expected.left_s / mean + expected.tail_s * slowness, math.hypot(error / mean, WORK_SPREAD)

    def _trend(self, mean: float) -> float:
        """Log of the recent rate by the one of all time."""
        (t0, d0, _), (t1, d1, _) = self._samples[0], self._samples[-1]
        if d1 <= d0 or t1 <= t0:
            return 0.0
        return math.log(min(SLOWEST, max(1.0 / SLOWEST, mean * (t1 - t0) / (d1 - d0))))

    def _since(self, seconds: float) -> float:
        """What is left now of a time that was left at the newest sample."""
        return max(seconds - max(0.0, self._now_s - self._samples[-1][0]), seconds * LEAST)

    def _weighed(self, course: Course, bar: float, total: float, live: Estimate | None) -> Estimate | None:
        """The live estimate and those that the past makes, each by how wrong it is."""
        first_s, first, _ = self._samples[0]
        now_s = self._samples[-1][0]
        at = course.at(course.fractions, bar)
        self._covered = at - course.at(course.fractions, first / total)
        covered, spent_s = self._covered + self._before[1], now_s - first_s + self._before[0]
        typical_s = min(course.s_per_unit * total, ETA_LIMIT_S)
        takes_s = min(spent_s / covered, ETA_LIMIT_S) if covered > COVERED and spent_s > 0.0 else None
        self._compare(at, takes_s, typical_s)
        least = min(self._errors)
        live_error, course_error, typical_error = (OVERRULED * (error - least) for error in self._errors)
        found = []
        if live is not None:
            # That the rate alone misleads is the past's word too: as good as its course was.
            usual = course.at(course.live_spread, bar) * math.exp(-OVERRULED * course_error)
            spread = max(usual, live[1])
            found.append((live[0], math.sqrt(spread * spread + live_error)))
        if takes_s is not None:
            spread = math.hypot(course.at(course.spread, bar), COVERED / covered)
            found.append((self._since(takes_s * (1.0 - at)), math.sqrt(spread * spread + course_error)))
        spread = course.s_per_unit_spread
        found.append((self._since(typical_s * (1.0 - at)), math.sqrt(spread * spread + typical_error)))
        return _combined(found)

    def _compare(self, at: float, takes_s: float | None, typical_s: float) -> None:
        """Now and then: what each estimate said of the time until now, against what it took."""
        now_s, place, _ = self._samples[-1]
        if self._check is not None:
            since_s, place_before, at_before, expected = self._check
            took_s = now_s - since_s
            if took_s < max(CHECK_S, (now_s - self._samples[0][0]) / 8.0) or place <= place_before:
                return
            said = (place - place_before, at - at_before, at - at_before)
            self._errors = [
                error + CHECKS_WEIGHT * (_missed(took_s, covered * per) - error) if per > 0.0 else error
                for error, covered, per in zip(self._errors, said, expected, strict=True)
            ]
        rates = self.rates()
        per_unit = 1.0 / rates[0] if rates is not None and rates[0] > 0.0 else 0.0
        self._check = (now_s, place, at, (per_unit, takes_s or typical_s, typical_s))

    def _shown(self, estimate: Estimate, behind: float) -> Eta:
        """Corrected by how wrong the estimates were that were shown at this place, and marked for its own score."""
        raw_s, spread = estimate
        decile = decile_of(behind)
        p50_s = raw_s
        course = self.course
        if course is not None and course.scores[decile]:
            scores, error = course.scores[decile], course.error[decile]
            p50_s = raw_s * math.exp(course.bias[decile])
            spread = math.sqrt((SCORES_DOUBT * spread**2 + scores * error**2) / (SCORES_DOUBT + scores))
        p90_s = p50_s * math.exp(min(math.log(SLOWEST), Z90 * spread))
        if behind * DECILES >= decile + 0.5 and (not self.marks or self.marks[-1].decile < decile):
            self.marks.append(Mark(decile, self._now_s, raw_s, p50_s, p90_s))
        return Eta(p50=math.ceil(1000.0 * p50_s), p90=math.ceil(1000.0 * p90_s))


def _missed(took_s: float, expected_s: float) -> float:
    """The squared error of an expectation."""
    if expected_s <= 0.0:
        return ERROR_LIMIT**2
    return min(ERROR_LIMIT, abs(math.log(took_s) - math.log(expected_s))) ** 2


def _combined(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of the logarithms, weighted by 1 / scatter²; its own scatter is that of the mixture, so that
    estimates that contradict each other are no surer than one."""
    bounded = [(seconds, min(WIDEST, max(CLOCK_S, spread))) for seconds, spread in estimates]
    weights = [1.0 / spread**2 for _, spread in bounded]
    total = sum(weights)
    logs = [math.log(max(seconds, CLOCK_S)) for seconds, _ in bounded]
    mean = sum(weight * log for weight, log in zip(weights, logs, strict=True)) / total
    variance = sum(
        weight * (spread * spread + (log - mean) ** 2)
        for weight, log, (_, spread) in zip(weights, logs, bounded, strict=True)
    )
    return math.exp(mean), math.sqrt(variance / total)


def _rate(samples: Iterable[Sample], column: int) -> tuple[float, float] | None:
    """Mean of what a column gains a second, and its standard error; newer intervals count more."""
    points = [(sample[0], sample[column]) for sample in samples]
    if len(points) < 2:
        return None
    end_s = points[-1][0]
    horizon_s = max(1.0, (end_s - points[0][0]) * HORIZON)
    total = weights = squares = products = 0.0
    for (t0, d0), (t1, d1) in itertools.pairwise(points):
        if t1 - t0 < CLOCK_S:
            continue
        weight = (t1 - t0) * math.exp(-(end_s - t1) / horizon_s)
        rate = (d1 - d0) / (t1 - t0)
        total += rate * weight
        weights += weight
        squares += weight * weight
        products += rate * rate * weight
    if weights <= 0.0:
        return None
    mean = total / weights
    variance = max(0.0, products / weights - mean * mean)
    return mean, math.sqrt(variance * squares) / weights
