"""The broker of the simulation: `testing.operations.World` with its real hub and its checks, on the network.

What its shell does is done here as there: measures are coalesced until the next tick, frames of the feed are numbered,
whoever subscribes to `control` gets the cancel set, and a local process is watched for its death.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from rfm_runtime.core.operations.feed import Feed
from rfm_runtime.core.operations.record import Asked, Died, Heard, Push, Send, Told
from rfm_runtime.protocol.internal import (
    PROGRESS_HEADER,
    ControlFrame,
    LastWord,
    OwnerHeartbeat,
    OwnerHello,
    ProgressStateReply,
    Request,
    Source,
    pack,
    pack_reply,
    unpack,
    unpack_body,
    unpack_progress,
)
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.protocol.revocation import Revocations
from rfm_runtime.testing.operations import World
from rfm_runtime.testing.simulation.network import BROKER, Channel, Frames, Lane, Network

__all__ = ["Broker", "Processes"]

LOOK_S = 5.0


class Processes:
    """What the operating system knows: who lives, and how to end it."""

    def __init__(self, kill: Callable[[str], None]) -> None:
        self.alive: dict[str, Source] = {}
        self._kill = kill

    def kill(self, source: Source) -> None:
        """SIGKILL; nothing if it is gone."""
        address = next((address for address, known in self.alive.items() if known == source), None)
        if address is not None:
            self._kill(address)


class Broker(World):
    """feeds, owners: addresses of those who subscribe. on_events: told what is being published, before anybody.

    left: what ended programs have left on disk, by name.
    heard_s: when each owner was last heard of by a broker that knew it; lapsed: those that were silent for a lease.
    """

    def __init__(
        self,
        network: Network,
        processes: Processes,
        on_events: Callable[[tuple[OperationEvent, ...]], None],
        settings: dict[str, object],
    ) -> None:
        self.network = network
        self.processes = processes
        self.on_events = on_events
        self.feeds: list[str] = []
        self.owners: list[str] = []
        self.watching: list[Source] = []
        self.greeted: set[str] = set()
        self.heard_s: dict[str, float] = {}
        self.lapsed: set[str] = set()
        self._measures: dict[bytes, bytes] = {}
        self.left: dict[str, tuple[Source, tuple[LastWord, ...]]] = {}
        self._hearing: set[str] = set()
        self._look_s = 0.0
        super().__init__(**settings)

    def boot(self, *, first: bool = False) -> None:
        """A new broker process on the same journal; what was not written is gone, and so are its sockets' queues."""
        self.network.forget(BROKER)
        self.network.join(BROKER)
        self.greeted.clear()
        self.watching.clear()
        self._hearing.clear()
        self._look_s = 0.0
        self._measures.clear()
        super().boot(first=first)
        log = self.hub.log
        self._feed = Feed(log.epoch, self.hub.incarnation, log.head, self.hub.revocations.committed.version)

    # --- what comes in ----------------------------------------------------------------------

    def receive(self, lane: Lane, frames: Frames) -> None:
        """One message."""
        if lane.channel == "ingest":
            # As the shell does: the newest of each (handle, source) is looked at with the next tick.
            self._measures[frames[0][2:PROGRESS_HEADER]] = frames[0]
            return
        if lane.channel == "death":
            source = msgspec.msgpack.decode(frames[0], type=Source)
            if source in self.watching:
                self.watching.remove(source)
                # What it could not say happened before it died.
                self._hear(source.name)
                self.handle(Died(source))
            return
        routing = lane.sender.encode()
        message = unpack(frames)
        if not isinstance(message, Request):
            if isinstance(message, OwnerHeartbeat) and message.source.name in self.greeted:
                self._heard(message.source.name)
            self.handle(Told(routing, message))
            return
        body = unpack_body(message)
        if isinstance(body, OwnerHello):
            self.greeted.add(body.source.name)
            self._heard(body.source.name)
        missing = self.hub.missing(body)
        if missing is not None:
            self.hub.recall(self._find(*missing), self.now)
        self._asked[message.id] = body
        self.handle(Asked(routing, message.id, body))

    def _hear(self, name: str) -> None:
        if name in self.left and name not in self._hearing:
            self._hearing.add(name)
            source, words = self.left[name]
            unknown = [word.outcome.operation_id for word in words if word.outcome.operation_id not in self.hub.records]
            self.hub.recall(self._find("", [], unknown), self.now)
            self.handle(Heard(source, words, True))

    def _heard(self, name: str) -> None:
        if self.is_silent(name):
            self.lapsed.add(name)
        self.heard_s[name] = self.mono_s

    def is_silent(self, name: str) -> bool:
        """Whether nothing was heard of that owner for a lease."""
        return name in self.lapsed or self.mono_s - self.heard_s.get(name, self.mono_s) >= self.settings.lease_s

    def subscribe(self, address: str, *, feed: bool) -> None:
        """A SUB socket has connected. A late joiner gets the whole cancel set at once."""
        subscribers = self.feeds if feed else self.owners
        if address not in subscribers:
            subscribers.append(address)
        if not feed:
            self.network.send(BROKER, address, "control", pack(self.hub.control_frame()))

    def unsubscribe(self, address: str) -> None:
        """It is gone."""
        for addresses in (self.feeds, self.owners):
            if address in addresses:
                addresses.remove(address)

    def turn(self) -> None:
        """Its tick: measures are merged, deadlines looked at, a frame is published."""
        measures, self._measures = self._measures, {}
        for key, message in measures.items():
            handle, source = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
            if handle in self.hub.handles:
                self.report(handle, source, unpack_progress(message))
        self._frame((), self.tick(0.0))
        if self.mono_s >= self._look_s:
            # Of programs that nobody watches: this broker has never heard of them.
            self._look_s = self.mono_s + LOOK_S
            for name in sorted(self.left):
                self._hear(name)

    # --- what leaves ------------------------------------------------------------------------

    def _answered(self, command: Send) -> None:
        super()._answered(command)
        self.replies.pop(command.request_id, None)
        answer = command.answer
        if isinstance(answer, ProgressStateReply):
            answer = ProgressStateReply(answer.incarnation, self._feed.number, answer.progress)
        self._send(command.routing, pack_reply(command.request_id, answer))

    def _pushed(self, command: Push) -> None:
        self._send(command.routing, pack(command.message))

    def _send(self, routing: bytes, frames: Frames) -> None:
        self.network.send(BROKER, routing.decode(), "command", frames)

    def _controlled(self, frame: ControlFrame) -> None:
        self._spread(self.owners, "control", frame)

    def _published(self, events: tuple[OperationEvent, ...]) -> None:
        super()._published(events)
        self.on_events(events)
        self._frame(events, ())

    def _revoked(self, revocations: Revocations) -> None:
        super()._revoked(revocations)
        self._frame((), (), revocations)

    def _ruled(self, user: str, version: int) -> None:
        super()._ruled(user, version)
        self._frame((), (), rules=((user, version),))

    def _frame(
        self,
        events: tuple[OperationEvent, ...],
        progress: tuple[ProgressUpdate, ...],
        revocations: Revocations | None = None,
        rules: tuple[tuple[str, int], ...] = (),
    ) -> None:
        frame = self._feed.frame(self.wall_ms, events, progress, revocations=revocations, rules=rules)
        self._spread(self.feeds, "feed", frame)

    def _spread(self, addresses: Iterable[str], channel: Channel, frame: Struct) -> None:
        frames = pack(frame)
        for address in addresses:
            self.network.send(BROKER, address, channel, frames)

    def _forgotten(self, name: str) -> None:
        super()._forgotten(name)
        self._hearing.discard(name)
        self.left.pop(name, None)

    # --- processes --------------------------------------------------------------------------

    def _watch(self, source: Source) -> None:
        self.watching.append(source)
        if source not in self.processes.alive.values():
            self.died(source)

    def died(self, source: Source) -> None:
        """Its pidfd has become readable, or it was gone already."""
        self.network.send("kernel", BROKER, "death", [msgspec.msgpack.encode(source)])

    def _kill(self, source: Source) -> None:
        self.processes.kill(source)
