"""What each of many may do a second: a bucket for each user, or for each address that has shown no token.

One user's many connections share one, and so do an address's many strangers.
"""

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
        bucket, wait_s = self._bucket(name, now_s).take(now_s, cost)
        self._keep(name, bucket)
        return wait_s

    def wait_s(self, name: str, now_s: float) -> float:
        """What `ask` would say to one that costs 1, and nothing is taken."""
        return self._bucket(name, now_s).take(now_s)[1]

    def charge(self, name: str, cost: float, now_s: float) -> None:
        """It has cost so much, whatever is left; it may owe."""
        self._keep(name, self._bucket(name, now_s).spend(cost, now_s))

    def _bucket(self, name: str, now_s: float) -> TokenBucket:
        return self._buckets.get(name) or TokenBucket.full(self._rate_per_s, self._burst, now_s)

    def _keep(self, name: str, bucket: TokenBucket) -> None:
        # Put back last: the first is whoever has not asked for longest.
        self._buckets.pop(name, None)
        if len(self._buckets) >= KNOWN:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = bucket
