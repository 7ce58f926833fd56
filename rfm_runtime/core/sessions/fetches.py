"""Tiles and pictures that engines are asked for and that have not come yet, by all connections of each user. Pure.

A connection that is gone is counted until its answer is there: the engine works on it all the same.
"""

from __future__ import annotations

from collections import Counter

__all__ = ["Fetches"]


class Fetches:
    """Owned by the gateway's core."""

    def __init__(self) -> None:
        self._under_way: dict[int, tuple[str, int]] = {}
        self._of: Counter[str] = Counter()

    def of(self, user: str) -> int:
        """How many are under way for this user."""
        return self._of[user]

    def begin(self, session: int, user: str) -> None:
        """One more is asked for; a session is one user's for as long as something of it is under way."""
        _, number = self._under_way.get(session, (user, 0))
        self._under_way[session] = (user, number + 1)
        self._of[user] += 1

    def end(self, session: int) -> None:
        """One has been answered."""
        user, number = self._under_way.pop(session)
        if number > 1:
            self._under_way[session] = (user, number - 1)
        self._of[user] -= 1
        if not self._of[user]:
            del self._of[user]

    def sanity_check(self) -> None:
        """Raise AssertionError if the counts disagree."""
        of: Counter[str] = Counter()
        for user, number in self._under_way.values():
            of[user] += number
        if of != self._of:
            raise AssertionError(f"fetches under way: {self._of} against {of}")
