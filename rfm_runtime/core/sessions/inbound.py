"""How fast a gateway takes what is said to it: one rate for all, of which each who speaks has an equal part for sure.

A flood is slowed down, not refused: it fills its own sockets. Who speaks no faster than his part never waits behind it;
what nobody needs is for whoever comes first, up to a share that one user may have while others are there.
"""

from __future__ import annotations

from dataclasses import replace

from rfm_runtime.core.sessions.askers import Askers
from rfm_runtime.core.timing import TokenBucket

__all__ = ["PART_BURST", "RECENT_S", "Inbound"]

RECENT_S = 2.0
"""Who has said something within this time speaks. The parts of those who only listen are the others'."""


PART_BURST = 2.0
"""Messages of a part at once: a request, and what it follows from."""


class Inbound:
    """rate_per_s: of all. share_per_s: the most that one user may have while there are others."""

    def __init__(self, rate_per_s: float, share_per_s: float, now_s: float) -> None:
        self._all = TokenBucket.full(rate_per_s, rate_per_s, now_s)
        self._shares = Askers(share_per_s, share_per_s)
        # By who speaks, the one that has been silent for longest first: what is left of his part.
        self._parts: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def take(self, name: str, now_s: float, *, alone: bool) -> tuple[float, bool]:
        """Seconds to wait (0.0: it was taken), and whether others are the reason. alone: there is no other user."""
        self._forget(now_s)
        part = self._part(name, now_s)
        part, part_wait_s = part.take(now_s)
        if part_wait_s == 0.0:
            # For sure, also where that makes all of them owe: whoever wants more than his part pays for it.
            self._took(name, part, 1.0, now_s, alone=alone)
            return 0.0, False
        everybody, wait_s = self._all.take(now_s)
        share_wait_s = 0.0 if alone else self._shares.wait_s(name, now_s)
        if wait_s > 0.0 or share_wait_s > 0.0:
            return min(part_wait_s, max(wait_s, share_wait_s)), wait_s > 0.0
        self._all = everybody
        self._spoke(name, part)
        if not alone:
            self._shares.charge(name, 1.0, now_s)
        return 0.0, False

    def charge(self, name: str, cost: float, now_s: float, *, alone: bool) -> None:
        """What was taken has cost so much more, or less."""
        self._took(name, self._part(name, now_s), cost, now_s, alone=alone)

    def _took(self, name: str, part: TokenBucket, cost: float, now_s: float, *, alone: bool) -> None:
        self._all = self._all.spend(cost, now_s)
        self._spoke(name, part)
        if not alone:
            self._shares.charge(name, cost, now_s)

    def _part(self, name: str, now_s: float) -> TokenBucket:
        speaking = len(self._parts) + (name not in self._parts)
        rate = self._all.rate_per_s / speaking
        part = self._parts.get(name)
        if part is None:
            return TokenBucket.full(rate, PART_BURST, now_s)
        return part if part.rate_per_s == rate else replace(part, rate_per_s=rate)

    def _spoke(self, name: str, part: TokenBucket) -> None:
        self._parts.pop(name, None)
        self._parts[name] = part

    def _forget(self, now_s: float) -> None:
        while self._parts:
            name, part = next(iter(self._parts.items()))
            if now_s - part.at_s <= RECENT_S:
                return
            del self._parts[name]
