"""Connections that have not said what they want yet: how many there may be, and who goes when there are too many.

An honest one says it at once; who only holds a place (slowloris) is the oldest, and makes room for who comes. Nobody is
kept out, from the same address either: somebody who wants to fill this has to come again faster than all others speak.
"""

from __future__ import annotations

from rfm_runtime.core.networks import network_of

__all__ = ["Doorstep"]


class Doorstep:
    """limit: of all; limit_per_address: of each `network_of` an address."""

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        # By address, each in the order in which they came.
        self._waiting: dict[str, dict[int, None]] = {}
        self._address: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._address)

    def came(self, number: int, address: str) -> int | None:
        """A connection was accepted; the number of the one that has to go for it, None if there is room."""
        network = network_of(address)
        waiting = self._waiting.setdefault(network, {})
        waiting[number] = None
        self._address[number] = network
        gone: int | None = None
        if len(waiting) > self._limit_per_address:
            gone = next(iter(waiting))
        elif len(self._address) > self._limit:
            fullest = max(self._waiting, key=lambda of: len(self._waiting[of]))
            gone = next(iter(self._waiting[fullest]))
        if gone is not None:
            self.left(gone)
        return gone

    def left(self, number: int) -> None:
        """It has said what it wants, or is gone. Idempotent."""
        address = self._address.pop(number, None)
        if address is None:
            return
        waiting = self._waiting[address]
        del waiting[number]
        if not waiting:
            del self._waiting[address]

    def sanity_check(self) -> None:
        """Raise AssertionError if the two tables disagree, or more wait than may."""
        told = {number: address for address, numbers in self._waiting.items() for number in numbers}
        if told != self._address or len(told) > self._limit:
            raise AssertionError(f"{len(told)} wait by address, {len(self._address)} by number, of {self._limit}")
        if any(not 0 < len(numbers) <= self._limit_per_address for numbers in self._waiting.values()):
            raise AssertionError("an address has more than it may, or is kept for nobody")
