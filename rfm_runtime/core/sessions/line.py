"""The line of those who have a token and come too fast: one rate for all, and a fair share of it for each user.

Owned by `Door`. Nobody holds a place open: each is told a time, and whoever of that user comes then takes it.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import replace

from rfm_runtime.core.timing import TokenBucket

__all__ = ["FairLine"]

LATE_S = 2.0
"""So long after its time somebody is expected yet: as slow as a connection may be."""


class _User:
    """places: the times that were told, the earliest first. share: what it may take while others wait."""

    __slots__ = ("places", "seen_s", "share")

    def __init__(self, share: TokenBucket, now_s: float) -> None:
        self.places: list[float] = []
        self.share = share
        self.seen_s = now_s


class FairLine:
    """`rate_per_s` of all are let in, and a second's worth at once.

    As long as nobody else waits a user may have all of it; otherwise an equal part. A place in the line is where it
    would be if users took turns: who comes five thousand times stands behind all others with all but the first of them.
    limit_s: the last place, seconds ahead.
    """

    def __init__(self, rate_per_s: float, limit_s: float, now_s: float) -> None:
        self._bucket = TokenBucket.full(rate_per_s, rate_per_s, now_s)
        self._limit_s = limit_s
        self._users: dict[str, _User] = {}

    def knock(self, name: str, now_s: float) -> float:
        """Somebody of that user comes; the seconds after which to come again (0.0: come in)."""
        self._forget(now_s)
        rate = self._bucket.rate_per_s
        waiting = 1 + sum(1 for other, user in self._users.items() if user.places and other != name)
        part = rate / waiting
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = _User(TokenBucket.full(part, max(1.0, part), now_s), now_s)
        user.seen_s = now_s
        share = replace(user.share, rate_per_s=part, burst=max(1.0, part))
        share, own_wait_s = share.take(now_s)
        bucket, wait_s = self._bucket.take(now_s)
        if wait_s == 0.0 and (own_wait_s == 0.0 or waiting == 1):
            self._bucket = bucket
            # What it takes while nobody waits is its share as well, which it then has not any more.
            user.share = share
            if user.places:
                del user.places[0]
            return 0.0
        user.share = share if own_wait_s > 0.0 else share.charge(-1.0, now_s)
        return self._place(user, max(wait_s, own_wait_s if waiting > 1 else 0.0), now_s)

    def _place(self, user: _User, wait_s: float, now_s: float) -> float:
        """After all places that would have their turn before the next one of this user."""
        ahead = _ahead(user, now_s)
        before = sum(min(ahead + (other is not user), _ahead(other, now_s)) for other in self._users.values())
        told_s = wait_s + before / self._bucket.rate_per_s
        if told_s >= self._limit_s:
            return self._limit_s
        insort(user.places, now_s + told_s)
        return told_s

    def _forget(self, now_s: float) -> None:
        """Those who did not come, and users who have their share again."""
        for name, user in list(self._users.items()):
            if user.places and user.places[0] <= now_s - LATE_S:
                del user.places[: bisect_right(user.places, now_s - LATE_S)]
            if not user.places and now_s - user.seen_s > LATE_S:
                del self._users[name]


def _ahead(user: _User, now_s: float) -> int:
    """Its places that are still to come."""
    return len(user.places) - bisect_right(user.places, now_s)
