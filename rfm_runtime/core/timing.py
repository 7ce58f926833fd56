"""Token buckets, backoff, decayed rates, age: what the three cores and the journal share. Values in, values out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

__all__ = ["AGE_RATE", "AgeClock", "Backoff", "DecayedRate", "TokenBucket", "Uniform", "WaitingLine"]

AGE_RATE = 24.0
"""How many times faster than time passes `AgeClock` may run: who computes for an hour a day keeps up with the calendar,
and a clock that is years ahead makes what is kept for a year old after a fortnight, in which somebody sees it."""


class Uniform(Protocol):
    """The part of `random.Random` that backoff needs."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between a and b."""
        ...


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """At most `burst` at once and `rate_per_s` in the long run.

    tokens: what is left at `at_s` (monotonic seconds).
    """

    rate_per_s: float
    burst: float
    tokens: float
    at_s: float

    @classmethod
    def full(cls, rate_per_s: float, burst: float, now_s: float) -> TokenBucket:
        """A bucket that was never drawn from."""
        return cls(rate_per_s, burst, burst, now_s)

    def take(self, now_s: float, cost: float = 1.0) -> tuple[TokenBucket, float]:
        """The bucket after trying to take `cost`, and the seconds to wait (0.0: taken)."""
        tokens = self._filled(now_s)
        # What costs more than fits in is taken from a full bucket, which then owes the rest.
        needed = min(cost, self.burst)
        if tokens >= needed:
            return self._with(tokens - cost, now_s), 0.0
        return self._with(tokens, now_s), (needed - tokens) / self.rate_per_s

    def spend(self, cost: float, now_s: float) -> TokenBucket:
        """The bucket after `cost` was taken, whatever was left; it may owe."""
        return self._with(self._filled(now_s) - cost, now_s)

    def _filled(self, now_s: float) -> float:
        return min(self.burst, self.tokens + max(0.0, now_s - self.at_s) * self.rate_per_s)

    def _with(self, tokens: float, now_s: float) -> TokenBucket:
        # Not `replace`, which takes five times as long: a gateway does this some times for each message.
        return TokenBucket(self.rate_per_s, self.burst, tokens, max(self.at_s, now_s))

    def charge(self, cost: float, now_s: float) -> TokenBucket:
        """The bucket after what was taken turned out to cost so much more, or less; it may owe, but not overflow."""
        elapsed_s = max(0.0, now_s - self.at_s)
        return self._with(min(self.burst, self.tokens + elapsed_s * self.rate_per_s - cost), now_s)


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """Who comes too fast is told a place in a line: a thousand who are refused at once must not come back at once.

    free_s: the first time (monotonic) at which nobody was told to come. limit_s: the last place, seconds ahead.
    """

    bucket: TokenBucket
    limit_s: float
    free_s: float = 0.0

    def knock(self, now_s: float) -> tuple[WaitingLine, float]:
        """The line after somebody came, and the seconds after which to come again (0.0: come in)."""
        bucket, wait_s = self.bucket.take(now_s)
        if wait_s == 0.0:
            return replace(self, bucket=bucket), 0.0
        place_s = min(max(self.free_s, now_s + wait_s), now_s + self.limit_s)
        return replace(self, bucket=bucket, free_s=place_s + 1.0 / bucket.rate_per_s), place_s - now_s


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: attempt n waits uniform(0, min(cap, base · 2ⁿ)).

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. `jitter` scales the
    random part: 1.0 is full jitter, 0.0 waits the whole bound.
    """

    base_s: float = 0.5
    cap_s: float = 30.0
    jitter: float = 1.0

    def bound_s(self, attempt: int) -> float:
        """Longest wait before attempt `attempt` (0 is the first repetition)."""
        # The exponent is bounded: 2.0**1024 overflows, and the cap holds long before.
        return min(self.cap_s, self.base_s * 2.0 ** min(attempt, 64))

    def delay_s(self, attempt: int, rng: Uniform) -> float:
        """Seconds to wait before attempt `attempt`."""
        bound_s = self.bound_s(attempt)
        return rng.uniform(bound_s * (1.0 - self.jitter), bound_s)


@dataclass(frozen=True, slots=True)
class DecayedRate:
    """Exponentially decayed mean rate of a growing count, in units/s.

    time_constant_s: age at which a measurement weighs 1/e. Corrected for the short start, so that
    the first value is the plain mean.
    """

    time_constant_s: float
    count: float | None = None
    at_s: float = 0.0
    weighted: float = 0.0
    weight: float = 0.0

    def measured(self, count: float, now_s: float) -> DecayedRate:
        """The rate after a measurement; one without elapsed time, or with a smaller count, only re-bases."""
        if self.count is None:
            return replace(self, count=count, at_s=now_s)
        elapsed_s = now_s - self.at_s
        if elapsed_s <= 0.0:
            return self
        if count < self.count:
            return replace(self, count=count, at_s=now_s)
        keep = math.exp(-elapsed_s / self.time_constant_s)
        rate = (count - self.count) / elapsed_s
        return replace(
            self,
            count=count,
            at_s=now_s,
            weighted=self.weighted * keep + rate * (1.0 - keep),
            weight=self.weight * keep + (1.0 - keep),
        )

    @property
    def per_s(self) -> float | None:
        """Units/s, None before two measurements."""
        return self.weighted / self.weight if self.weight > 0.0 else None


@dataclass(frozen=True, slots=True)
class AgeClock:
    """What age is counted by: the wall clock, as far as time that really passed speaks for it.

    A machine cannot tell a clock that is a month ahead from a month of being off. So neither is believed at once: this
    clock goes on where it was, and runs after the wall clock at `AGE_RATE` times real time until it has caught up. It
    is never ahead of the wall clock. Where it has been it may be again at once: a clock that was far behind for a while
    does not set it back for years, and nothing becomes older than it was.

    at_ms: what it shows, ms since 1970. mono_s: monotonic seconds at which it did. reached_ms: the most it has shown.
    """

    at_ms: float
    mono_s: float
    reached_ms: float

    @classmethod
    def begun(cls, known_ms: float | None, wall_ms: float, mono_s: float) -> AgeClock:
        """Of a process that begins. known_ms: the most the clock has shown, or the newest record; None: no record."""
        reached_ms = wall_ms if known_ms is None else known_ms
        return cls(min(wall_ms, reached_ms), mono_s, reached_ms)

    def later(self, wall_ms: float, mono_s: float) -> AgeClock:
        """The clock at that time."""
        passed_ms = 1000.0 * max(0.0, mono_s - self.mono_s)
        at_ms = min(wall_ms, max(self.reached_ms, self.at_ms + AGE_RATE * passed_ms))
        return AgeClock(at_ms, max(self.mono_s, mono_s), max(self.reached_ms, at_ms))
