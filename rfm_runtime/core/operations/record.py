"""One operation as the broker keeps it; what the shell tells the core and is asked to do."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.operations.progress import Merge
from rfm_runtime.core.operations.schedule import Candidate
from rfm_runtime.core.operations.series import Series
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.internal import Cancellation, ControlFrame, LastWord, Source
from rfm_runtime.protocol.notifying import UserRules
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationEvent
from rfm_runtime.protocol.revocation import Revocation, Revocations

__all__ = [
    "Asked",
    "Batch",
    "Command",
    "Control",
    "Died",
    "Drain",
    "Forget",
    "Heard",
    "Journal",
    "JournalFailed",
    "Journalled",
    "Kill",
    "Loaded",
    "Now",
    "Publish",
    "Push",
    "Record",
    "Revoked",
    "Ruled",
    "Send",
    "StoredOperation",
    "Tick",
    "Told",
    "Watch",
]


class Now(Struct, frozen=True):
    """The shell's clocks: `mono_s` for durations, `wall_ms` for people."""

    mono_s: float
    wall_ms: int


class StoredOperation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The row of the journal. claim: who has it in hand, as generation `operation.generation`.

    claim_local, claim_resumable: whether its death is proven on this host, and whether a successor can go on; a
    broker that restarts has to know before it hears of the owner. losses: owners that died with it.
    cpu_before_s: CPU time of earlier claims.
    ended_by: the claim that reported the outcome, so that its repetition is recognised.
    reported: a program of its own works on it, which can only be asked. pausable: its owner can pause it.
    """

    operation: Operation
    params: dict[str, Any]
    request_key: str
    body_digest: bytes
    claim: Source | None = None
    claim_local: bool = True
    claim_resumable: bool = True
    started: bool = False
    losses: int = 0
    cpu_before_s: float = 0.0
    pause_wanted: bool = False
    cancellation: Cancellation | None = None
    ended_by: tuple[str, int] | None = None
    reported: bool = False
    pausable: bool = True


class Record:
    """One operation: its row and what need not survive a restart. kept_s: when its series was last written.

    merge, series: of what lives, and made when they are asked for: of ten thousand that have ended nobody asks.
    """

    __slots__ = (
        *("_before", "_merge", "_series", "assigned_s", "handle", "kept_s"),
        *("queued_s", "row", "started_s", "stop_sent_s"),
    )

    def __init__(self, row: StoredOperation, queued_s: float, before: Performance | None = None) -> None:
        self.row = row
        self.queued_s = queued_s
        self.handle: int | None = None
        self.assigned_s: float | None = None
        self.stop_sent_s: float | None = None
        self._before = before
        self._merge: Merge | None = None
        self._series: Series | None = None
        self.kept_s = queued_s
        # On the clock that nobody sets; of what an earlier broker has seen begin, by the other one.
        self.started_s: float | None = None

    @property
    def merge(self) -> Merge:
        """Its progress from all sources."""
        if self._merge is None:
            self._merge = Merge(self.row.operation.latest, self.row.cpu_before_s)
            self._merge.has_tiles = not self.row.reported
        return self._merge

    @property
    def series(self) -> Series:
        """How it went over its time."""
        if self._series is None:
            self._series = Series(self._before)
        return self._series

    @property
    def operation(self) -> Operation:
        """The operation as of the newest decision, committed or not."""
        return self.row.operation

    @property
    def terminal(self) -> bool:
        """Whether it has its outcome."""
        return self.row.operation.state in TERMINAL_STATES

    @property
    def unconfirmed(self) -> bool:
        """Whether its owner has not answered yet what it was told: to begin, to pause or to go on."""
        row, state = self.row, self.row.operation.state
        if row.claim is None:
            return False
        return not row.started or (state in ("running", "paused") and row.pause_wanted != (state == "paused"))

    def change(self, **fields: Any) -> None:
        """Replace fields of the row."""
        self.row = msgspec.structs.replace(self.row, **fields)

    def change_operation(self, **fields: Any) -> None:
        """Replace fields of the operation in the row."""
        self.change(operation=msgspec.structs.replace(self.row.operation, **fields))

    def sampled(self, now: Now) -> None:
        """A point of its series: where it stands."""
        merge = self.merge
        if merge.owner is not None:
            self.series.owner(merge.owner)
        self.series.measured(self.age_ms(now), merge.shown, merge.total_cpu_s, merge.total_iterations)

    def age_ms(self, now: Now) -> int:
        """Since it has begun."""
        if self.operation.started_at_ms is None:
            return 0
        if self.started_s is None:
            self.started_s = now.mono_s - max(0, now.wall_ms - self.operation.started_at_ms) / 1000
        return max(0, round(1000 * (now.mono_s - self.started_s)))

    def performance(self, now: Now) -> Performance:
        """How it has gone so far."""
        latest = self.operation.latest if self.merge.latest is None else self.merge.latest
        total, unit = (None, "") if latest is None else (latest.total, latest.unit)
        return self.series.performance(total, unit, self.row.losses, self.age_ms(now))

    def candidate(self) -> Candidate:
        """As the scheduler sees it."""
        operation = self.row.operation
        return Candidate(operation.operation_id, operation.owner, operation.priority, self.queued_s)


# --- what the shell tells the core --------------------------------------------------------------


class Asked(Struct, frozen=True):
    """A peer's request; exactly one `Send` with this routing and id answers it."""

    routing: bytes
    request_id: int
    message: Struct


class Told(Struct, frozen=True):
    """A peer's one-way message."""

    routing: bytes
    message: Struct


class Journalled(Struct, frozen=True):
    """Every batch up to `number` is on disk."""

    number: int


class JournalFailed(Struct, frozen=True):
    """The journal cannot be written now; the shell keeps trying. reason None: it can again.

    outcomes: there is room for the outcomes of what runs, and for nothing else. hint: what people can do.
    """

    reason: str | None
    outcomes: bool = False
    hint: str = "make room or repair the disk, then repeat the request"


class Died(Struct, frozen=True):
    """The local process of this source is gone, proven by its pidfd or its absence."""

    source: Source


class Heard(Struct, frozen=True):
    """A program has ended and left these outcomes, which it could not tell. To be told before its `Died`.

    What is not in memory was looked for in the journal and recalled. whole: these are all, so that they can be
    removed once they are on disk.
    """

    source: Source
    words: tuple[LastWord, ...]
    whole: bool = True


class Drain(Struct, frozen=True):
    """Take nothing new, assign nothing."""


class Tick(Struct, frozen=True):
    """Look at deadlines; every settings.tick_s, after the sockets were drained."""


# --- what the core asks of the shell ------------------------------------------------------------


class Batch(Struct, frozen=True):
    """Rows that changed and events that happened together. performance: of some, by id, as it is now.

    revocations: of tokens, new or changed; unrevoked: keys of those that are forgotten. rules: of users;
    None of one: no more.
    """

    number: int
    rows: tuple[StoredOperation, ...]
    events: tuple[OperationEvent, ...]
    performance: tuple[tuple[str, Performance], ...] = ()
    revocations: tuple[Revocation, ...] = ()
    unrevoked: tuple[str, ...] = ()
    rules: tuple[UserRules, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        said = self.revocations or self.unrevoked or self.rules
        return not (self.rows or self.events or self.performance or said)


class Journal(Struct, frozen=True):
    """Write the batch; then tell `Journalled`."""

    batch: Batch


class Send(Struct, frozen=True):
    """Answer a request: a message, or ErrorInfo."""

    routing: bytes
    request_id: int
    answer: Struct


class Push(Struct, frozen=True):
    """A one-way message to an owner."""

    routing: bytes
    message: Struct


class Publish(Struct, frozen=True):
    """Events for the feed, in order, now."""

    events: tuple[OperationEvent, ...]


class Revoked(Struct, frozen=True):
    """Tell every gateway which tokens are valid no more, now."""

    revocations: Revocations


class Ruled(Struct, frozen=True):
    """Tell every gateway whose rules of notifications are others now, now."""

    user: str
    version: int


class Control(Struct, frozen=True):
    """Publish the cancel set on `control`, now."""

    frame: ControlFrame


class Watch(Struct, frozen=True):
    """Tell `Died` when this local process is gone (at once if it is)."""

    source: Source


class Kill(Struct, frozen=True):
    """SIGKILL a local process that a newer one of the same name replaces."""

    source: Source


class Forget(Struct, frozen=True):
    """Remove what the ended program of that name has left: its outcomes are on disk."""

    name: str


Command = Journal | Send | Push | Publish | Revoked | Ruled | Control | Watch | Kill | Forget


class Loaded(Struct, frozen=True, kw_only=True):
    """What the journal knows at start. performance: of live operations, by id.

    past: kind, name and course of the last operations that were completed, oldest first.
    """

    epoch: str
    incarnation: int
    durable: bool
    head: int
    floor: int
    rows: tuple[StoredOperation, ...]
    events: tuple[OperationEvent, ...]
    performance: dict[str, Performance] = {}
    past: tuple[tuple[str, str, Performance], ...] = ()
    revocations: tuple[Revocation, ...] = ()
    rules: tuple[UserRules, ...] = ()
