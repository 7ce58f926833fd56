"""Owners: who is there, who is dead, who has which operation as which generation.

One `Owners` per broker, touched by its hub alone. Frozen is not dead: silence only makes an owner stale. A
local owner is dead when its process is gone, a remote one when its lease ran out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rfm_runtime.protocol.internal import OwnerHello, Source

__all__ = ["Owner", "Owners", "is_older", "same_process"]


def same_process(one: Source, other: Source) -> bool:
    """Whether two sources are the same process."""
    return (one.host, one.boot_id, one.pid, one.start_time) == (
        other.host,
        other.boot_id,
        other.pid,
        other.start_time,
    )


def is_older(one: Source, other: Source) -> bool:
    """Whether it surely began before the other: on one host and since one boot, by the kernel's own clock."""
    same_boot = (one.host, one.boot_id) == (other.host, other.boot_id)
    return same_boot and 0.0 < one.start_time < other.start_time


class Owner:
    """An owner that said hello to this broker, or that the journal knows and that is awaited.

    routing: where its last message came from, None while it is awaited. heard_s: monotonic time of that.
    local: its death can be proven on this host. interrupted: it was of a runtime that has ended. leaving: it gave
    something back and gets nothing new. unconfirmed: of its operations, all that it may have to be told something of
    again.
    """

    __slots__ = (
        "heard_s",
        "hello",
        "interrupted",
        "lease_until_s",
        "leaving",
        "local",
        "operations",
        "routing",
        "source",
        "stale",
        "unconfirmed",
    )

    def __init__(self, source: Source, heard_s: float, lease_until_s: float, *, local: bool) -> None:
        self.source = source
        self.local = local
        self.leaving = False
        self.interrupted = False
        self.routing: bytes | None = None
        self.hello: OwnerHello | None = None
        self.heard_s = heard_s
        self.lease_until_s = lease_until_s
        self.operations: set[str] = set()
        self.unconfirmed: set[str] = set()
        self.stale = False

    @property
    def takes_new(self) -> bool:
        """Whether anything may be assigned to it now."""
        return self.routing is not None and not self.stale and not self.leaving

    @property
    def free_slots(self) -> int:
        """How many more operations it takes."""
        return 0 if self.hello is None else max(0, self.hello.slots - len(self.operations))

    def offers(self, kind: str) -> bool:
        """Whether it takes operations of this kind."""
        return self.hello is not None and any(offer.kind == kind for offer in self.hello.kinds)


class Owners:
    """All owners by name. in_hand: how many operations of each user are with one."""

    def __init__(self) -> None:
        self._by_name: dict[str, Owner] = {}
        self.in_hand: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Owner]:
        return iter(list(self._by_name.values()))

    def get(self, name: str) -> Owner | None:
        """The owner of that name."""
        return self._by_name.get(name)

    def of(self, source: Source) -> Owner | None:
        """The owner if it is this very process."""
        owner = self._by_name.get(source.name)
        return owner if owner is not None and same_process(owner.source, source) else None

    def at(self, routing: bytes) -> Owner | None:
        """The owner whose messages come from this routing id."""
        return next((owner for owner in self._by_name.values() if owner.routing == routing), None)

    def add(self, owner: Owner) -> None:
        """A new owner; its predecessor of the same name has been dealt with."""
        self._by_name[owner.source.name] = owner

    def remove(self, owner: Owner) -> None:
        """It is gone."""
        if self._by_name.get(owner.source.name) is owner:
            del self._by_name[owner.source.name]

    def hand(self, owner: Owner, operation_id: str, user: str) -> None:
        """The owner has the operation, which is this user's."""
        if operation_id not in owner.operations:
            owner.operations.add(operation_id)
            self.in_hand[user] += 1

    def take_back(self, owner: Owner, operation_id: str, user: str) -> None:
        """The owner does not have it any more."""
        owner.unconfirmed.discard(operation_id)
        if operation_id in owner.operations:
            owner.operations.remove(operation_id)
            self.in_hand[user] -= 1
            if not self.in_hand[user]:
                del self.in_hand[user]
