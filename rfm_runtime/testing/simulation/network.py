"""What lies between processes: lanes that keep their order, from which messages are delivered, lost or doubled.

A lane is one direction of one socket. As with ZeroMQ, what a process has sent may still arrive after its death, what
was sent to it does not, and a peer that comes back under the same name has another address.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

__all__ = ["BROKER", "Channel", "Frames", "Lane", "Network", "process_of"]

Channel = Literal["command", "feed", "control", "ingest", "death"]
Frames = list[bytes]

BROKER = "broker"

LOSSY: frozenset[Channel] = frozenset({"feed", "control", "ingest"})
"""PUB and PUSH: what is lost there is lost in silence, and what comes twice must do no harm."""


class Lane:
    """One direction of one socket; the oldest message is the next. ends: the processes of sender and receiver."""

    __slots__ = ("channel", "ends", "queue", "receiver", "sender")

    def __init__(self, sender: str, receiver: str, channel: Channel) -> None:
        self.sender = sender
        self.receiver = receiver
        self.channel = channel
        self.ends = (process_of(sender), process_of(receiver))
        self.queue: deque[Frames] = deque()

    @property
    def is_lossy(self) -> bool:
        """Whether single messages may vanish or come twice although both ends live."""
        return self.channel in LOSSY

    def __str__(self) -> str:
        return f"{self.sender} → {self.receiver} ({self.channel})"


def process_of(address: str) -> str:
    """Whose socket it is: a process may have several, each with an address of its own behind a stroke."""
    return address.partition("/")[0]


class Network:
    """All lanes. cut: processes whose connection to the broker is interrupted; what they send waits."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str, Channel], Lane] = {}
        self._addresses = {BROKER}
        self.cut: set[str] = set()

    def join(self, address: str) -> None:
        """A socket that can be sent to."""
        self._addresses.add(address)

    def send(self, sender: str, receiver: str, channel: Channel, frames: Frames) -> None:
        """Put a message on its way; to nobody it is lost."""
        if receiver not in self._addresses:
            return
        key = (sender, receiver, channel)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(sender, receiver, channel)
        lane.queue.append(frames)

    def waiting(self) -> list[Lane]:
        """Lanes with something in them, in the order in which they were first used."""
        return [lane for lane in self._lanes.values() if lane.queue]

    def open(self, frozen: Iterable[str]) -> list[Lane]:
        """Lanes from which something can be delivered now."""
        deaf = self.cut | set(frozen)
        return [lane for lane in self.waiting() if lane.ends[1] not in deaf and lane.ends[0] not in self.cut]

    def forget(self, address: str) -> None:
        """The socket is gone, or the process with all of its: nobody receives what was sent to it."""
        gone = {known for known in self._addresses if address in (known, process_of(known))}
        for key in [key for key in self._lanes if key[1] in gone]:
            del self._lanes[key]
        self._addresses -= gone
        self.cut.discard(address)

    def tidy(self) -> None:
        """Let go of empty lanes of the dead."""
        for key, lane in list(self._lanes.items()):
            if not lane.queue and not {lane.sender, lane.receiver} <= self._addresses:
                del self._lanes[key]
