"""One watcher: what it subscribed to, what it has been sent, what waits. Owned by `GatewayCore`.

Lanes, in this order: control (replies, notices), reliable (a cursor into the shared ring, pulled as the socket drains),
state (the newest progress of each operation), bulk (chunks of files).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import msgspec
from msgspec import Struct

from rfm_runtime.core.networks import network_of
from rfm_runtime.core.operations.queries import matches
from rfm_runtime.core.permissions import Sight, reach, shown, sight
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.encoded import EncodedEvent
from rfm_runtime.core.sessions.pace import STEPS_HZ, Pace, flushed, skipped
from rfm_runtime.core.sessions.positions import epoch_for, is_whole
from rfm_runtime.core.sessions.replica import Replica
from rfm_runtime.core.sessions.reporting import Reporting
from rfm_runtime.core.timing import TokenBucket
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.limits import PAGE_LIMIT_BYTES
from rfm_runtime.protocol.messages import (
    Hello,
    Live,
    OperationList,
    ResumeFrom,
    Subscribe,
    Throttled,
)
from rfm_runtime.protocol.operation import (
    Operation,
    OperationEvent,
    OperationFilter,
)
from rfm_runtime.protocol.wire import Encoding, Envelope, encode, encode_part

__all__ = ["Payload", "Session"]

PAGE_OPERATIONS = 50
FINISHED_SHOWN = 200
"""Finished operations in the default snapshot."""

NO_GENERATION = -1
"""Of the replica that nobody was sent yet: the next flush begins with a list."""

CONTROL_LIMIT = 1000
"""Replies waiting for one watcher; above its command burst by far."""

CONTROL_LIMIT_BYTES = 4 * 1024 * 1024
"""The same in bytes: a dozen of the longest lists."""


class Payload(Struct, frozen=True):
    """Bytes of one envelope; binary ones are MessagePack whatever the session's encoding."""

    data: bytes
    binary: bool


class Session:
    """State of one connection, from its handshake on. bucket: of its commands; inbound: of all that it says."""

    def __init__(
        self, number: int, address: str, encoding: Encoding, bucket: TokenBucket, inbound: TokenBucket, now_s: float
    ) -> None:
        self.number = number
        self.address = address
        # Of which limits are: the audit log has the address.
        self.network = network_of(address)
        self.encoding = encoding
        self.bucket = bucket
        self.inbound = inbound
        self.connected_s = now_s
        self._grant: Grant | None = None
        self.sight: Sight | None = None
        # Of its connection's client certificate, whether that or a token says who it is; ms since 1970.
        self.certificate_ends_ms: int | None = None
        # Told that its token expires.
        self.warned = False
        # When it is looked whether it has to be, in ms since 1970.
        self.expiry_due_ms: int | None = None
        # Its `hello` with the code of a sign-in link, and the token that was made for it.
        self.signing_in: tuple[Envelope, Hello] | None = None
        self.issued: str | None = None
        self.metrics_due = False
        self.reporting: Reporting | None = None
        self.passed_on = 0
        self.client = ""
        self.resume: ResumeFrom | None = None
        self.max_hz = 0.0
        self.epoch = ""
        self.hello_id: int | None = None
        self.welcome_due = False
        self.greeting_since_s = now_s
        # The first question to the broker that was asked after its `hello`: the answer says which log there is.
        self.names_log = 0
        self.subscription: Subscribe | None = None
        self.waiting_since_s: float | None = None
        # The question to the broker whose answer says whether its position exists.
        self.asked_ahead: int | None = None
        self.mode: Literal["silent", "waiting", "snapshot", "events"] = "silent"
        self.cursor = 0
        self.generation = 0
        self.announced_live = True
        self.control_id: int | None = None
        self.fetching = 0
        self.superseded = 0
        self.control: deque[Payload] = deque()
        self.control_bytes = 0
        self.bulk: deque[Payload] = deque()
        self.slots: set[str] = set()
        self.pace = Pace()
        self.next_state_s = 0.0
        # Of the flush of progress that is under way, what has not been written yet, in order.
        self._flushing: deque[str] = deque()
        self.last_sent_s = now_s
        self.stalled_since_s: float | None = None
        self.unsent_bytes = 0
        self.handed_bytes = 0
        self.pulled_s = now_s
        self.look_again = False
        self.closing: int | None = None
        # The name in its client's certificate, whoever that is; "" without one.
        self.certificate = ""
        self._pages: deque[str] = deque()
        self._first_page = False
        self._sent_at: dict[str, int] = {}
        self._ids: frozenset[str] | None = None

    @property
    def grant(self) -> Grant | None:
        """What its token grants; None before it has shown one."""
        return self._grant

    @grant.setter
    def grant(self, grant: Grant) -> None:
        """Another token applies at once: who sees something else from now on gets a list that has that alone."""
        before, self._grant = self.sight, grant
        # Made here and not at each word, of which there are thousands a second.
        self.sight = sight(grant.principal)
        if self.sight != before and self.mode in ("snapshot", "events"):
            self.mode = "events"
            self.generation = NO_GENERATION
            self.slots.clear()
            self._flushing.clear()
            self._pages.clear()
            self._sent_at.clear()
        if not self._may_observe:
            self.metrics_due = False

    @property
    def principal(self) -> Principal | None:
        """Who it is; None before it has shown a token."""
        return None if self._grant is None else self._grant.principal

    @property
    def ends_ms(self) -> int | None:
        """When its token or its client certificate ends, whichever is first, in ms since 1970; None: neither does."""
        token_ends_ms = None if self._grant is None else self._grant.expires_at_ms
        return min((end for end in (token_ends_ms, self.certificate_ends_ms) if end is not None), default=None)

    @property
    def is_certified(self) -> bool:
        """Whether it is here by a client certificate and has shown no token."""
        return self._grant is not None and self._grant.by_certificate

    @property
    def _may_observe(self) -> bool:
        return self._grant is not None and reach(self._grant.principal, "observe") is not None

    # --- subscribing ------------------------------------------------------------------------

    def subscribe(self, request: Subscribe) -> None:
        """What to see from now on."""
        self.subscription = request
        self._ids = frozenset(request.operations) if isinstance(request.operations, list) else None
        self.slots.clear()
        self._flushing.clear()

    def wants_metrics(self) -> None:
        """There is something new of what the runtime uses."""
        wanted = self.subscription is not None and self.subscription.metrics and self.closing is None
        self.metrics_due = wanted and self._may_observe

    def unsubscribe(self) -> None:
        """See nothing any more."""
        self.subscription = None
        self.metrics_due = False
        self.mode = "silent"
        self.slots.clear()
        self._flushing.clear()
        self._pages.clear()
        self._sent_at.clear()

    def can_replay(self, replica: Replica, position: ResumeFrom) -> bool:
        """Whether it lacks nothing up to its position, and can be told all that happened since.

        Whom each event is about has to be known: otherwise who may not see all may miss some.
        """
        if position.seq < replica.floor or not is_whole(position, replica.epoch, self.sight):
            return False
        if self.sight is None or self.sight.everything:
            return True
        return all(entry.about is not None for entry in replica.after(position.seq))

    def begin_replay(self, replica: Replica, seq: int) -> None:
        """Everything after `seq`, which the ring has."""
        self.mode = "events"
        self.cursor = seq
        self.generation = replica.generation
        self.announced_live = False
        self._sent_at.clear()
        self._fill_slots(replica)

    def begin_snapshot(self, replica: Replica) -> int:
        """The list first, page by page, then what happened since it began. How many were looked at for it."""
        self.mode = "snapshot"
        self.cursor = replica.position
        self.generation = replica.generation
        self.announced_live = False
        self._sent_at.clear()
        self._first_page = True
        wanted, looked = self._wanted(replica)
        self._pages = deque(operation.operation_id for operation in wanted)
        self._fill_slots(replica)
        return looked

    def _fill_slots(self, replica: Replica) -> None:
        self._flushing.clear()
        self.slots = {oid for oid in replica.progress if self.sees(replica.operations[oid])}

    def _wanted(self, replica: Replica) -> tuple[list[Operation], int]:
        """What has not ended, newest first, then what has; and how many were looked at."""
        active = [operation for operation in replica.live() if self._lists(operation)]
        active.sort(key=_newest_first)
        looked, finished = replica.live_count, []
        few = self.subscription is not None and self.subscription.operations == "active"
        for operation in replica.finished():
            looked += 1
            if self._lists(operation):
                finished.append(operation)
                if few and len(finished) == FINISHED_SHOWN:
                    break
        if not few:
            finished.sort(key=_newest_first)
        return active + finished, looked

    def _lists(self, operation: Operation) -> bool:
        wanted = None if self.subscription is None else self.subscription.operations
        if isinstance(wanted, OperationFilter):
            return self._may_see(operation) and matches(operation, wanted)
        return self.sees(operation)

    def _may_see(self, operation: Operation) -> bool:
        return self.sight is not None and self.sight.has(operation)

    def _shown(self, operation: Operation, replica: Replica) -> Operation:
        return shown(self.sight, operation, replica.operations.get)

    def _told(self, entry: EncodedEvent, replica: Replica) -> EncodedEvent:
        """The event for this watcher. Most see everything, and share its bytes."""
        operation = entry.event.operation
        if operation is None or operation.parent_id is None:
            return entry
        told = self._shown(operation, replica)
        if told is operation:
            return entry
        return EncodedEvent(msgspec.structs.replace(entry.event, operation=told), entry.about)

    def sees_event(self, event: OperationEvent, about: Operation | None) -> bool:
        """Whether an event is for this watcher. about: its operation, None if that is not known here any more."""
        if about is not None:
            return self.sees(about)
        if self.sight is None or not self.sight.everything:
            # Whose it is nobody knows any more.
            return False
        wanted = None if self.subscription is None else self.subscription.operations
        return wanted in ("active", "all") or (self._ids is not None and event.operation_id in self._ids)

    def sees(self, operation: Operation) -> bool:
        """Whether its events and progress are for this watcher; a filter's states only choose the first list."""
        if self.subscription is None or self.principal is None or not self._may_see(operation):
            return False
        wanted = self.subscription.operations
        if self._ids is not None:
            return operation.operation_id in self._ids
        if isinstance(wanted, OperationFilter):
            timeless = OperationFilter(kinds=wanted.kinds, owner=wanted.owner, labels=wanted.labels, text=wanted.text)
            return matches(operation, timeless)
        return wanted != "mine" or operation.owner == self.principal.user

    # --- sending ----------------------------------------------------------------------------

    def has_something(self, replica: Replica) -> bool:
        """Whether a flush could send anything, or has to look how far the last one came."""
        if self.control or self.look_again:
            return True
        if self.closing is not None or self.is_lost(replica):
            return False
        if self.bulk or self.metrics_due or self.mode == "snapshot":
            return True
        if self.mode != "events":
            return False
        if self.cursor < replica.position or self.slots:
            return True
        return replica.is_live and (not self.announced_live or self.generation != replica.generation)

    def is_lost(self, replica: Replica) -> bool:
        """Whether it was welcomed to a log that is gone: numbers of the new one would mean other events to it."""
        return bool(self.epoch) and self.epoch != replica.epoch

    def say(self, payload: Payload) -> None:
        """Put it on the control lane."""
        self.control.append(payload)
        self.control_bytes += len(payload.data)

    @property
    def is_flooded(self) -> bool:
        """Whether more replies wait than anybody who reads them lets wait."""
        return len(self.control) > CONTROL_LIMIT or self.control_bytes > CONTROL_LIMIT_BYTES

    def pull(self, replica: Replica, room_bytes: int, now_s: float, ts_ms: int, limit_bytes: int) -> list[Payload]:
        """What is sent now: at most about `room_bytes`. Nothing follows a goodbye."""
        out: list[Payload] = []
        left = self._pull_control(out, room_bytes)
        if self.closing is None and not self.is_lost(replica):
            left = self._pull_snapshot(replica, out, left, ts_ms)
            left = self._pull_events(replica, out, left, ts_ms)
            self._pull_state(replica, out, left, now_s, ts_ms, limit_bytes)
            while self.bulk and left > 0:
                payload = self.bulk.popleft()
                left -= len(payload.data)
                out.append(payload)
        if out:
            self.last_sent_s = now_s
        return out

    def _pull_control(self, out: list[Payload], left: int) -> int:
        while self.control and (left > 0 or self.closing is not None):
            payload = self.control.popleft()
            self.control_bytes -= len(payload.data)
            left -= len(payload.data)
            out.append(payload)
        return left

    def _pull_snapshot(self, replica: Replica, out: list[Payload], left: int, ts_ms: int) -> int:
        while self.mode == "snapshot" and left > 0:
            # Encoded one by one: what they need in this encoding decides how many make a page.
            page: list[Any] = []
            room = PAGE_LIMIT_BYTES
            while self._pages and len(page) < PAGE_OPERATIONS and room > 0:
                operation = replica.operations.get(self._pages.popleft())
                if operation is not None:
                    page.append(encode_part(self._shown(operation, replica), self.encoding))
                    room -= len(page[-1])
                    self._sent_at[operation.operation_id] = operation.at_seq
                    # The list says where it stands: that is not said again, of ten thousand at once, after `live`.
                    self.slots.discard(operation.operation_id)
            message = OperationList(operations=page, more=bool(self._pages), first=self._first_page)
            self._first_page = False
            data = encode(message, self.encoding, ts=ts_ms)
            out.append(Payload(data, self.encoding != "json"))
            left -= len(data)
            if not self._pages:
                self.mode = "events"
        return left

    def _pull_events(self, replica: Replica, out: list[Payload], left: int, ts_ms: int) -> int:
        # Without room nothing is begun: a list would be as old as the wait for it.
        if self.mode != "events" or left <= 0:
            return left
        if self.generation != replica.generation or self.cursor < replica.floor:
            if replica.is_live:
                self.begin_snapshot(replica)
                return self._pull_snapshot(replica, out, left, ts_ms)
            return left
        tiles = self.subscription is not None and self.subscription.detail == "tiles"
        binary = self.encoding != "json"
        for entry in replica.after(self.cursor):
            if left <= 0:
                return left
            event = entry.event
            self.cursor = event.seq
            if event.seq <= self._sent_at.get(event.operation_id, 0):
                continue
            if not self.sees_event(event, entry.about):
                continue
            data = self._told(entry, replica).bytes_for(self.encoding, tiles=tiles)
            out.append(Payload(data, binary))
            left -= len(data)
        self._sent_at.clear()
        if not self.announced_live and replica.is_live:
            self.announced_live = True
            data = encode(Live(epoch_for(replica.epoch, self.sight), self.cursor), self.encoding, ts=ts_ms)
            out.append(Payload(data, binary))
            left -= len(data)
        return left

    def _pull_state(
        self, replica: Replica, out: list[Payload], left: int, now_s: float, ts_ms: int, limit_bytes: int
    ) -> None:
        """A flush of progress, or the rest of one: all that was new when it began, as there is room for it.

        What changes meanwhile waits for the next one, so that nothing waits for ever behind what changes often.
        """
        is_due = now_s >= self.next_state_s
        if not self.slots or self.mode != "events" or not (is_due or self._flushing):
            return
        before_hz = self.hz
        if self.unsent_bytes >= limit_bytes or left <= 0:
            if not is_due:
                return
            self.pace, _ = skipped(self.pace, now_s)
            self.next_state_s = now_s + 1.0 / self.hz
        else:
            if not self._flushing:
                self._flushing.extend(sorted(self.slots))
                self.next_state_s = now_s + 1.0 / self.hz
            self._send_state(replica, out, left)
            if self._flushing:
                return
            self.pace, _ = flushed(self.pace, now_s)
        self._tell_pace(before_hz, ts_ms)

    def rest(self, now_s: float, ts_ms: int) -> None:
        """There is no progress to send, and its socket is empty: that is as calm as it gets."""
        if self.pace.step and not self.slots and not self.handed_bytes and self.mode == "events":
            before_hz = self.hz
            self.pace, _ = flushed(self.pace, now_s)
            self._tell_pace(before_hz, ts_ms)

    def _tell_pace(self, before_hz: float, ts_ms: int) -> None:
        # Who asked for less than the pace allows notices nothing of its change.
        if self.hz != before_hz:
            data = encode(Throttled(self.hz, min(STEPS_HZ[0], self.max_hz)), self.encoding, ts=ts_ms)
            self.say(Payload(data, self.encoding != "json"))

    @property
    def hz(self) -> float:
        """Flushes of progress per second it gets now."""
        return min(self.pace.hz, self.max_hz)

    def mark(self, changed: set[str], ended: set[str], replica: Replica) -> None:
        """There is new progress of some operations, and none any more of others."""
        if self.mode not in ("events", "snapshot"):
            return
        self.slots -= ended
        everything = self.sight is not None and self.sight.everything
        if everything and self.subscription is not None and self.subscription.operations in ("active", "all"):
            # Most watchers see everything, and this is done for each of them at each tick.
            self.superseded += len(self.slots & changed)
            self.slots |= changed
            return
        for operation_id in changed:
            operation = replica.operations.get(operation_id)
            if operation is not None and self.sees(operation):
                # What waits in the slot is never sent: the newer one takes its place.
                self.superseded += operation_id in self.slots
                self.slots.add(operation_id)

    def _send_state(self, replica: Replica, out: list[Payload], left: int) -> None:
        tiles = self.subscription is not None and self.subscription.detail == "tiles"
        binary = self.encoding != "json"
        while self._flushing and left > 0:
            operation_id = self._flushing.popleft()
            if operation_id not in self.slots:
                # It has ended meanwhile.
                continue
            progress = replica.progress.get(operation_id)
            if progress is None:
                self.slots.discard(operation_id)
                continue
            if progress.update.at_seq > self.cursor:
                continue
            self.slots.discard(operation_id)
            data = progress.bytes_for(self.encoding, tiles=tiles)
            left -= len(data)
            out.append(Payload(data, binary))


def _newest_first(operation: Operation) -> tuple[int, str]:
    return -operation.created_at_ms, operation.operation_id
