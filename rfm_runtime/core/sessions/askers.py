"""How often plain requests are answered, by who asks: a user, or an address that has shown no token."""

from __future__ import annotations

from rfm_runtime.core.timing import TokenBucket

__all__ = ["Askers"]

KNOWN = 1024
"""Of those that asked last; who was forgotten begins anew."""


class Askers:
    """rate_per_s, burst: of each."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def ask(self, name: str, cost: float, now_s: float) -> float:
        """Seconds after which to ask again; 0.0: it is answered."""
        bucket = self._buckets.pop(name, None) or TokenBucket.full(self._rate_per_s, self._burst, now_s)
        if len(self._buckets) >= KNOWN:
            del self._buckets[next(iter(self._buckets))]
        # Put back last: the first is whoever has not asked for longest.
        self._buckets[name], wait_s = bucket.take(now_s, cost)
        return wait_s
