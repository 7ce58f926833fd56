"""The estimator of remaining time before there was experience: what P16 is compared with. Not used by the runtime."""

from __future__ import annotations

import itertools
import math
from collections import deque

from rfm_runtime.protocol.operation import Eta

__all__ = ["Pace"]

PACE_SAMPLES = 48
PACE_SPACING_S = 0.25
ETA_LIMIT_S = 1e9
CLOCK_S = 1e-6
Z90 = 1.2816


class Pace:
    """Rate and remaining time from samples of `done`, of whole life down to the last seconds.

    The median estimate weights recent intervals more; its 90 % quantile comes from how much the rates of the
    intervals scatter.
    """

    __slots__ = ("_samples", "_spacing_s")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self._spacing_s = PACE_SPACING_S

    def measured(self, done: float, now_s: float, *_unknown: object) -> None:
        """Take a measurement; those that come faster than the spacing replace the newest."""
        samples = self._samples
        if len(samples) >= 2 and now_s - samples[-2][0] < self._spacing_s:
            samples[-1] = (now_s, done)
            return
        samples.append((now_s, done))
        if len(samples) > PACE_SAMPLES:
            self._samples = deque(sample for i, sample in enumerate(samples) if i % 2 == (len(samples) - 1) % 2)
            if self._samples[0] != samples[0]:
                self._samples.appendleft(samples[0])
            self._spacing_s *= 2.0

    def restart(self) -> None:
        """Forget: the work stood still (a pause), and standing still is no rate."""
        self._samples.clear()
        self._spacing_s = PACE_SPACING_S

    def rates(self) -> tuple[float, float] | None:
        """Mean rate in units/s and its standard error, None before there is one."""
        samples = list(self._samples)
        if len(samples) < 2:
            return None
        end_s = samples[-1][0]
        horizon_s = max(1.0, (end_s - samples[0][0]) / 3.0)
        total = weights = squares = 0.0
        rates = []
        for (t0, d0), (t1, d1) in itertools.pairwise(samples):
            if t1 - t0 < CLOCK_S:
                continue
            weight = (t1 - t0) * math.exp(-(end_s - t1) / horizon_s)
            rate = (d1 - d0) / (t1 - t0)
            rates.append((rate, weight))
            total += rate * weight
            weights += weight
            squares += weight * weight
        if weights <= 0.0:
            return None
        mean = total / weights
        variance = sum(weight * (rate - mean) ** 2 for rate, weight in rates) / weights
        effective = weights * weights / squares
        return mean, math.sqrt(variance / effective)

    def eta(self, remaining: float, *_unknown: object) -> Eta | None:
        """Time for `remaining` units, None while nothing is known."""
        rates = self.rates()
        if rates is None or rates[0] <= 0.0 or remaining < 0.0:
            return None
        mean, error = rates
        if remaining > ETA_LIMIT_S * mean:
            return None
        pessimistic = max(mean - Z90 * error, mean / 4.0)
        return Eta(p50=math.ceil(1000.0 * remaining / mean), p90=math.ceil(1000.0 * remaining / pessimistic))
