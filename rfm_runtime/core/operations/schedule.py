"""Which queued operation is assigned next: strict priorities with ageing, fair between users inside one.

Fairness between users: whoever has fewer operations in hand goes first, and of two with as many the one who has
had less CPU time (stride scheduling).
Source: C. Waldspurger, W. Weihl, "Stride Scheduling", MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["AGEING_S", "Candidate", "Usage", "effective_priority", "order"]

AGEING_S = 60.0
"""Waiting this long is worth one step of priority: nothing waits for ever behind a stream of others."""

FORGET_S = 3600.0
"""CPU-seconds of a user halve in this time: yesterday's render does not count against today's."""


class Candidate(NamedTuple):
    """A queued operation. queued_s: monotonic time since which it waits."""

    operation_id: str
    owner: str
    priority: int
    queued_s: float


def effective_priority(candidate: Candidate, now_s: float) -> int:
    """Its priority with ageing."""
    return candidate.priority + int(max(0.0, now_s - candidate.queued_s) / AGEING_S)


class Usage:
    """CPU-seconds of each user, decaying. One per broker."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[float, float]] = {}

    def charge(self, owner: str, cpu_s: float, now_s: float) -> None:
        """`owner` used `cpu_s` more seconds."""
        self._used[owner] = (self.of(owner, now_s) + cpu_s, now_s)
        if len(self._used) > 10_000:
            self._used = {user: used for user, used in self._used.items() if now_s - used[1] < 10.0 * FORGET_S}

    def of(self, owner: str, now_s: float) -> float:
        """What counts against `owner` now, in CPU-seconds."""
        used, at_s = self._used.get(owner, (0.0, now_s))
        return used * math.exp2(-max(0.0, now_s - at_s) / FORGET_S)


def order(candidates: Iterable[Candidate], usage: Usage, in_hand: Mapping[str, int], now_s: float) -> list[Candidate]:
    """Candidates in the order in which they are to be assigned. in_hand: operations owners have, by user."""
    waiting = sorted(candidates, key=lambda c: (-effective_priority(c, now_s), c.queued_s, c.operation_id))
    # The n-th of a user counts as if the n - 1 before it were assigned: a queue of hundreds alternates too.
    turns = dict(in_hand)
    keyed = []
    for candidate in waiting:
        turn = turns.get(candidate.owner, 0)
        turns[candidate.owner] = turn + 1
        keyed.append((-effective_priority(candidate, now_s), turn, usage.of(candidate.owner, now_s), candidate))
    keyed.sort(key=lambda key: key[:3])
    return [candidate for *_, candidate in keyed]
