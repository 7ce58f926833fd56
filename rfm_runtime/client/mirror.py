"""What this client knows of operations: the newest of each, whatever was repeated or came late. Pure."""

from __future__ import annotations

import msgspec

from rfm_runtime.protocol.messages import OperationList, ResumeFrom
from rfm_runtime.protocol.operation import (
    TERMINAL_EVENTS,
    TERMINAL_STATES,
    Operation,
    OperationEvent,
    ProgressUpdate,
    after_event,
)

__all__ = ["Mirror"]

FINISHED_KEPT = 2000


class Mirror:
    """operations by id; epoch and seq: the position to resume from.

    Between the first page of a list and `live` it is none: some is known from behind it, and some may be gone.
    """

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.epoch = ""
        self.seq = 0
        self._is_partial = False
        self._listing: set[str] = set()

    @property
    def resume(self) -> ResumeFrom | None:
        """Where to go on; None before there was a connection."""
        return ResumeFrom(self.epoch, self.seq, self._is_partial) if self.epoch else None

    def event(self, event: OperationEvent) -> bool:
        """Take an event; False if it was known."""
        if event.seq <= self.seq:
            return False
        self.seq = event.seq
        known = self.operations.get(event.operation_id)
        if known is not None and event.seq <= known.at_seq:
            return False
        base = event.operation or known
        if base is None:
            return True
        latest = event.final or (known.latest if known is not None else None) or base.latest
        self.operations[event.operation_id] = after_event(base, event, latest)
        if event.type in TERMINAL_EVENTS:
            self._forget()
        return True

    def progress(self, update: ProgressUpdate) -> bool:
        """Take a measure; False if a newer one, or the outcome, is known."""
        known = self.operations.get(update.operation_id)
        if known is None or known.state in TERMINAL_STATES:
            return False
        if known.latest is not None and update.rev <= known.latest.rev:
            return False
        self.operations[update.operation_id] = msgspec.structs.replace(known, latest=update, stale=update.stale)
        return True

    def page(self, page: OperationList) -> list[str]:
        """Take a page of a snapshot; the operations that are new or changed, or that have left.

        A snapshot has everything that is alive: what is alive here and not in it ended, and is no longer among the
        finished that are shown.
        """
        if page.first:
            self._listing = set()
            self._is_partial = True
        changed = [operation.operation_id for operation in page.operations if self.listed(operation)]
        if page.more:
            return changed
        gone = [
            operation_id
            for operation_id, operation in self.operations.items()
            if operation_id not in self._listing and operation.state not in TERMINAL_STATES
        ]
        for operation_id in gone:
            del self.operations[operation_id]
        return changed + gone

    def listed(self, operation: Operation) -> bool:
        """Take an operation of a snapshot or an answer; False if what is known is as new."""
        self._listing.add(operation.operation_id)
        known = self.operations.get(operation.operation_id)
        if known is not None:
            if known.at_seq > operation.at_seq:
                return False
            if _is_behind(operation, known):
                operation = msgspec.structs.replace(operation, latest=known.latest)
        self.operations[operation.operation_id] = operation
        return known != operation

    def moved(self, epoch: str, seq: int) -> None:
        """The server says where we are; another log has other numbers."""
        if epoch != self.epoch:
            self.epoch, self.seq = epoch, seq
        self.seq = max(self.seq, seq)
        self._is_partial = False

    def forget_log(self, epoch: str, seq: int = 0) -> None:
        """A snapshot of another log, or under other rights, follows: what is known counts no more.

        seq: it is no older than this. Who was shown nothing yet may be told all events instead, and stays before them.
        """
        if epoch != self.epoch:
            self.operations.clear()
            self.epoch, self.seq = epoch, seq if self.seq or self._is_partial else 0
            self._is_partial = self.seq > 0

    def _forget(self) -> None:
        finished = [o for o in self.operations.values() if o.state in TERMINAL_STATES]
        if len(finished) > FINISHED_KEPT:
            finished.sort(key=lambda operation: operation.ended_at_ms or 0)
            for operation in finished[: FINISHED_KEPT // 10]:
                del self.operations[operation.operation_id]


def _is_behind(operation: Operation, known: Operation) -> bool:
    """Whether progress overtook a list, whose operations may be as old as their last event; an outcome has the last."""
    if known.latest is None:
        return False
    if operation.latest is None:
        return True
    return operation.state not in TERMINAL_STATES and operation.latest.rev < known.latest.rev
