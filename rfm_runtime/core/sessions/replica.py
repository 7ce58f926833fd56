"""The gateway's copy of the committed operations, and the rules by which it follows the feed.

PUB drops silently, so a frame is applied only if it follows the position. After a gap the missing events are
asked for while frames are buffered; where the log has another name, or the gap is older than the broker's memory,
everything is read again. `GatewayCore` owns it; the shell carries out `Ask…`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from rfm_runtime.core.sessions.encoded import EncodedEvent, EncodedProgress
from rfm_runtime.protocol.internal import (
    DoRevoke,
    Events,
    EventsSince,
    FeedFrame,
    GetRevocations,
    ProgressState,
    ProgressStateReply,
    Snapshot,
    SnapshotPage,
)
from rfm_runtime.protocol.operation import (
    TERMINAL_EVENTS,
    TERMINAL_STATES,
    Operation,
    OperationEvent,
    ProgressUpdate,
    after_event,
)

__all__ = ["Ask", "Replica"]

BUFFER_LIMIT = 2000
"""Frames kept while events are fetched; more than that and it starts again."""

Phase = Literal["empty", "snapshot", "events", "live"]


class Ask(Struct, frozen=True):
    """Ask the broker; `attempt` comes back with the answer, so that one to an older question is ignored."""

    message: Snapshot | EventsSince | ProgressState | GetRevocations | DoRevoke
    attempt: int


class Replica:
    """operations, progress: by id. ring: the newest events, without gaps. position: the last of them.

    changed, ended: operations with new progress, and those that got their outcome, since the sessions were told.
    attempt: the newest question to the broker. confirmed: the newest one whose answer ended at the broker's own head.
    """

    def __init__(self, history_events: int) -> None:
        self.phase: Phase = "empty"
        self.epoch = ""
        self.incarnation = 0
        self.position = 0
        self.generation = 0
        self.operations: dict[str, Operation] = {}
        self.progress: dict[str, EncodedProgress] = {}
        self.ring: deque[EncodedEvent] = deque(maxlen=history_events)
        self.changed: set[str] = set()
        self.ended: set[str] = set()
        self._frame_no = 0
        self.attempt = 0
        self.confirmed = 0
        self._finished: dict[str, None] = {}
        self._buffer: list[FeedFrame] = []
        self._fresh: dict[str, Operation] = {}
        self._snapshot_seq = 0
        self._progress_asked = False

    @property
    def floor(self) -> int:
        """Events after this number are in the ring."""
        return self.ring[0].event.seq - 1 if self.ring else self.position

    @property
    def is_live(self) -> bool:
        """Contiguous with the broker's log, as far as frames came."""
        return self.phase == "live"

    def live(self) -> Iterator[Operation]:
        """What has not ended, in no order."""
        finished = self._finished
        return (operation for operation_id, operation in self.operations.items() if operation_id not in finished)

    @property
    def live_count(self) -> int:
        """How many those are."""
        return len(self.operations) - len(self._finished)

    def finished(self) -> Iterator[Operation]:
        """What has ended, the newest end first."""
        return (self.operations[operation_id] for operation_id in reversed(self._finished))

    def since(self, seq: int, index: int) -> EncodedEvent | None:
        """The `index`-th event after `seq`, None beyond the position; seq must not be below the floor."""
        place = seq - self.floor + index
        return self.ring[place] if place < len(self.ring) else None

    def after(self, seq: int) -> Iterator[EncodedEvent]:
        """The events after `seq`, which must not be below the floor."""
        index = 0
        while (entry := self.since(seq, index)) is not None:
            index += 1
            yield entry

    # --- asking -----------------------------------------------------------------------------

    def restart(self) -> list[Ask]:
        """Read everything again."""
        self.phase = "snapshot"
        self._fresh = {}
        return self._ask(Snapshot())

    def again(self, *, silent: bool) -> list[Ask]:
        """The last question was not answered, or the feed is silent: ask what is needed now."""
        if self.phase in ("empty", "snapshot"):
            return self.restart()
        if self.phase == "events" or silent:
            return self._ask(EventsSince(self.epoch, self.position))
        if self._progress_asked:
            return self._ask(ProgressState())
        return []

    def _ask(self, message: Snapshot | EventsSince | ProgressState) -> list[Ask]:
        self.attempt += 1
        return [Ask(message, self.attempt)]

    # --- answers ----------------------------------------------------------------------------

    def page(self, page: SnapshotPage, attempt: int) -> list[Ask]:
        """A page of the snapshot; after the last one the events since its first."""
        if self.phase != "snapshot" or attempt != self.attempt:
            return []
        if not self._fresh:
            self._snapshot_seq = page.seq
        elif page.incarnation != self.incarnation:
            self.incarnation = page.incarnation
            return self.restart()
        self.incarnation = page.incarnation
        self._fresh |= {operation.operation_id: operation for operation in page.operations}
        if page.cursor:
            return self._ask(Snapshot(page.cursor))
        self._adopt(page.epoch)
        self.phase = "events"
        return self._ask(EventsSince(self.epoch, self.position))

    def _adopt(self, epoch: str) -> None:
        """The snapshot is whole. A ring that reaches up to it stays; any other begins anew."""
        known, self.operations, self._fresh = self.operations, self._fresh, {}
        if epoch == self.epoch:
            # A broker that was just started knows what is journalled, and watchers were shown more than that.
            for operation_id, operation in self.operations.items():
                if operation_id in known and operation.state not in TERMINAL_STATES:
                    latest = _newer(operation.latest, known[operation_id].latest)
                    self.operations[operation_id] = msgspec.structs.replace(operation, latest=latest)
        ended = [o for o in self.operations.values() if o.state in TERMINAL_STATES]
        # As journalled, like events: a millisecond has many ends, and every gateway is to forget the same ones.
        ended.sort(key=lambda operation: operation.at_seq)
        self._finished = dict.fromkeys(operation.operation_id for operation in ended)
        self.progress = {
            operation_id: EncodedProgress(operation.latest)
            for operation_id, operation in self.operations.items()
            if operation.latest is not None and operation.state not in TERMINAL_STATES
        }
        if epoch != self.epoch or self.position != self._snapshot_seq:
            self.ring.clear()
            self.generation += 1
        self.epoch = epoch
        self.position = self._snapshot_seq

    def events(self, answer: Events, attempt: int) -> list[Ask]:
        """Missing events; then the buffered frames follow."""
        if self.phase not in ("events", "live") or attempt != self.attempt:
            return []
        if not answer.recovered or answer.epoch != self.epoch:
            return self.restart()
        for event in answer.events:
            # Asked while the feed was silent, it may have spoken meanwhile.
            if event.seq > self.position:
                self._apply(event)
        if self.position < answer.head:
            return self._ask(EventsSince(self.epoch, self.position))
        self.confirmed = attempt
        if self.phase == "live":
            return self._ask(ProgressState())
        self.incarnation = answer.incarnation
        self.phase = "live"
        buffered, self._buffer = self._buffer, []
        self._frame_no = 0
        asks: list[Ask] = []
        for frame in buffered:
            asks = self.frame(frame) or asks
        if not asks and self.phase == "live":
            self._progress_asked = True
            return self._ask(ProgressState())
        return asks

    def progress_state(self, answer: ProgressStateReply, attempt: int) -> None:
        """The newest progress of everything alive."""
        if attempt == self.attempt:
            self._progress_asked = False
        for update in answer.progress:
            self._measure(update)

    def prefill(self, epoch: str, events: tuple[OperationEvent, ...]) -> None:
        """Older events for the ring, so that watchers of a restarted gateway can resume.

        Taken only if they are of this log and end at the ring's floor: both may have moved since they were asked for.
        """
        room = (self.ring.maxlen or 0) - len(self.ring)
        if epoch == self.epoch and events and room > 0 and events[-1].seq == self.floor:
            about = {event.operation_id: event.operation for event in events if event.operation is not None}
            about |= self.operations
            older = [EncodedEvent(event, about.get(event.operation_id)) for event in events[-room:]]
            self.ring.extendleft(reversed(older))

    # --- the feed ---------------------------------------------------------------------------

    def frame(self, frame: FeedFrame) -> list[Ask]:
        """Apply a frame, or ask for what is missing."""
        if self.phase == "empty":
            return self.restart()
        if self.phase != "live":
            self._buffer.append(frame)
            if len(self._buffer) > BUFFER_LIMIT:
                self._buffer.clear()
                return self.restart()
            return []
        if frame.epoch != self.epoch:
            return self.restart()
        if frame.prev_seq > self.position or (frame.head_seq < self.position and frame.incarnation > self.incarnation):
            self._buffer = [frame]
            self.phase = "events"
            return self._ask(EventsSince(self.epoch, self.position))
        missed = frame.incarnation != self.incarnation or (self._frame_no and frame.frame_no != self._frame_no + 1)
        if frame.incarnation < self.incarnation:
            return []
        self.incarnation = frame.incarnation
        self._frame_no = frame.frame_no
        for event in frame.events:
            if event.seq > self.position:
                self._apply(event)
        for update in frame.progress:
            self._measure(update)
        if missed:
            self._progress_asked = True
            return self._ask(ProgressState())
        return []

    def _apply(self, event: OperationEvent) -> None:
        known = self.operations.get(event.operation_id)
        operation = event.operation or known
        # None: forgotten by the broker's bounded history between snapshot and event.
        if operation is not None and (known is None or event.seq > known.at_seq):
            self._change(event, operation, known)
        self.position = event.seq
        self.ring.append(EncodedEvent(event, self.operations.get(event.operation_id)))

    def _change(self, event: OperationEvent, operation: Operation, known: Operation | None) -> None:
        # What an operation starts with again may be older than what was shown of it.
        latest = event.final or _newer(operation.latest, known.latest if known is not None else None)
        self.operations[event.operation_id] = after_event(operation, event, latest)
        if event.type in TERMINAL_EVENTS:
            self.progress.pop(event.operation_id, None)
            self.changed.discard(event.operation_id)
            self.ended.add(event.operation_id)
            self._finished[event.operation_id] = None

    def _measure(self, update: ProgressUpdate) -> None:
        """The highest revision wins; after the outcome there is no progress."""
        operation_id = update.operation_id
        operation = self.operations.get(operation_id)
        if operation is None or operation.state in TERMINAL_STATES:
            return
        known = self.progress.get(operation_id)
        if known is not None and update.rev <= known.update.rev:
            return
        self.progress[operation_id] = EncodedProgress(update)
        self.operations[operation_id] = msgspec.structs.replace(operation, latest=update, stale=update.stale)
        self.changed.add(operation_id)

    def forget(self, finished_keep: int) -> None:
        """Bounded history: what finished first leaves memory."""
        while len(self._finished) > finished_keep:
            oldest = next(iter(self._finished))
            del self._finished[oldest]
            del self.operations[oldest]

    def sanity_check(self) -> None:
        """Raise AssertionError if the ring has a gap, tables disagree or progress outlives an operation."""
        finished = {oid for oid, operation in self.operations.items() if operation.state in TERMINAL_STATES}
        if finished != self._finished.keys():
            raise AssertionError(f"finished operations: {finished ^ self._finished.keys()}")
        seqs = [entry.event.seq for entry in self.ring]
        if seqs != list(range(self.floor + 1, self.position + 1)):
            raise AssertionError(f"ring {seqs[:1]}…{seqs[-1:]} against {self.floor}…{self.position}")
        for operation_id in self.progress:
            if self.operations[operation_id].state in TERMINAL_STATES:
                raise AssertionError(f"{operation_id} has ended and has progress")


def _newer(one: ProgressUpdate | None, other: ProgressUpdate | None) -> ProgressUpdate | None:
    """The one with the higher revision."""
    if one is None or other is None:
        return one or other
    return one if one.rev >= other.rev else other
