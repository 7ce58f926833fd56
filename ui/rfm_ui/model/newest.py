"""Requests that come faster than their answers: one is under way, of the others the newest waits. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Newest"]

T = TypeVar("T")


class Newest(Generic[T]):
    """Of one kind of request."""

    def __init__(self) -> None:
        self._is_under_way = False
        self._waiting: T | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether an answer is to come."""
        return self._is_under_way

    def want(self, value: T) -> bool:
        """Ask for this at once? Otherwise it waits, in place of what waited before."""
        if self._is_under_way:
            self._waiting = value
            return False
        self._is_under_way = True
        return True

    def answered(self) -> T | None:
        """What was asked for has come, or failed. What to ask for next."""
        value, self._waiting = self._waiting, None
        self._is_under_way = value is not None
        return value

    def forget(self) -> None:
        """Nothing of it is wanted any more; what is under way is still to be answered."""
        self._waiting = None
