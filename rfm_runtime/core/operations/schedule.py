"""Which queued operation is assigned next: strict priorities with ageing, fair between users inside one.

Fairness between users: whoever has fewer operations in hand goes first, and of two with as many the one who has
had less CPU time (stride scheduling).
Source: C. Waldspurger, W. Weihl, "Stride Scheduling", MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["AGEING_S", "Candidate", "Usage", "Waiting", "effective_priority", "order", "rank"]

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


ORDERED_AT_ONCE = 256
"""Queued operations that are put in order each time somebody asks for it: a third of a millisecond."""

KEPT_S_EACH = 20e-6
"""An order of more is kept for so long for each of them: making it, 1.3 µs for each, takes a fifteenth of the time."""

Line = tuple[str, int, str]
"""User, priority, kind."""


class Waiting:
    """The queued operations that nobody has claimed, so that the next one is found without looking at all of them.

    Of one user, priority and kind whoever waits longest goes first; so only the first of each such line matters.
    """

    def __init__(self) -> None:
        self._lines: dict[Line, list[tuple[float, str]]] = {}
        self._entries: dict[str, tuple[Candidate, str]] = {}
        self._lengths: Counter[Line] = Counter()
        # The order that somebody asked for last: places by id, priorities in order, until when it is good enough.
        self._places: dict[str, int] = {}
        self._priorities: list[int] = []
        self._kept_until_s = -math.inf

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, candidate: Candidate, kind: str) -> None:
        """It waits, or waits as something else than before."""
        if self._entries.get(candidate.operation_id) == (candidate, kind):
            return
        self.drop(candidate.operation_id)
        self._entries[candidate.operation_id] = candidate, kind
        line = (candidate.owner, candidate.priority, kind)
        self._lengths[line] += 1
        heapq.heappush(self._lines.setdefault(line, []), (candidate.queued_s, candidate.operation_id))

    def drop(self, operation_id: str) -> None:
        """It does not wait any more."""
        candidate, kind = self._entries.pop(operation_id, (None, ""))
        if candidate is None:
            return
        line = (candidate.owner, candidate.priority, kind)
        self._lengths[line] -= 1
        if len(self._lines[line]) > 2 * self._lengths[line] + 16:
            self._tidy(line)

    def _tidy(self, line: Line) -> None:
        """More entries of a line mean nothing any more than do."""
        entries = [entry for entry in self._lines[line] if self._stands(line, *entry) is not None]
        # One that left and came back at the same moment stands there twice.
        self._lines[line] = sorted(set(entries))
        if not entries:
            del self._lines[line], self._lengths[line]

    def _stands(self, line: Line, queued_s: float, operation_id: str) -> Candidate | None:
        """Who an entry of a line is, None if it left or stands in another."""
        candidate, kind = self._entries.get(operation_id, (None, ""))
        if candidate is None or (candidate.owner, candidate.priority, kind) != line or candidate.queued_s != queued_s:
            return None
        return candidate

    def candidates(self) -> list[Candidate]:
        """All of them, in no order."""
        return [candidate for candidate, _ in self._entries.values()]

    def ahead(self, candidate: Candidate, usage: Usage, in_hand: Mapping[str, int], now_s: float) -> int:
        """How many are to be assigned before one that waits here; of thousands as it was a moment ago."""
        if now_s >= self._kept_until_s or len(self._entries) <= ORDERED_AT_ONCE:
            ordered = order(self.candidates(), usage, in_hand, now_s)
            self._places = {one.operation_id: place for place, one in enumerate(ordered)}
            self._priorities = [-effective_priority(one, now_s) for one in ordered]
            self._kept_until_s = now_s + KEPT_S_EACH * len(ordered)
        place = self._places.get(candidate.operation_id)
        if place is None:
            # It has come since: the last of its priority.
            place = bisect_right(self._priorities, -effective_priority(candidate, now_s))
        return place

    def first(self, line: Line) -> Candidate | None:
        """Who is first in a line."""
        entries = self._lines.get(line, [])
        while entries:
            candidate = self._stands(line, *entries[0])
            if candidate is not None:
                return candidate
            heapq.heappop(entries)
        self._lines.pop(line, None)
        del self._lengths[line]
        return None

    def heads(self) -> dict[Line, Candidate]:
        """The first of each line; lines are (user, priority, kind)."""
        return {line: first for line in list(self._lines) if (first := self.first(line)) is not None}


def rank(candidate: Candidate, usage: Usage, in_hand: Mapping[str, int], now_s: float) -> tuple[float, ...]:
    """The candidate with the smallest rank is assigned next. in_hand: operations owners have, by user."""
    turn = in_hand.get(candidate.owner, 0)
    return -effective_priority(candidate, now_s), turn, usage.of(candidate.owner, now_s), candidate.queued_s


def order(candidates: Iterable[Candidate], usage: Usage, in_hand: Mapping[str, int], now_s: float) -> list[Candidate]:
    """Candidates in the order in which they are to be assigned. in_hand: operations owners have, by user."""
    waiting = sorted(candidates, key=lambda c: (-effective_priority(c, now_s), c.queued_s, c.operation_id))
    # The n-th of a user counts as if the n - 1 before it were assigned: a queue of hundreds alternates too.
    turns = dict(in_hand)
    keyed = []
    for candidate in waiting:
        keyed.append((rank(candidate, usage, turns, now_s), candidate))
        turns[candidate.owner] = turns.get(candidate.owner, 0) + 1
    keyed.sort(key=lambda key: key[0])
    return [candidate for _, candidate in keyed]
