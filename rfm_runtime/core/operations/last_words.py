"""What programs said before they ended and the broker did not hear: their outcomes, read from what they left.

An outcome of the claim's own generation counts, like one that is told in time; the first outcome wins, as always.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from rfm_runtime.core.operations.announcing import begin_reported, below_its_parent
from rfm_runtime.core.operations.claims import same_process
from rfm_runtime.core.operations.ownership import end
from rfm_runtime.core.operations.record import Command, Forget, Heard, Now, Record
from rfm_runtime.core.permissions import require_kind
from rfm_runtime.errors import ForbiddenError
from rfm_runtime.protocol.internal import LastWord, Source
from rfm_runtime.protocol.operation import OperationEvent

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["heard"]


def heard(hub: Hub, message: Heard, now: Now) -> list[Command]:
    """Take the outcomes in; when they are on disk, what the program left is not needed any more.

    While the journal cannot be written they wait in memory with all else, and the file stays.
    """
    events: list[OperationEvent] = []
    changed: dict[str, Record] = {}
    for word in message.words:
        for record, event in _take(hub, message.source, word, now):
            changed[record.operation.operation_id] = record
            events.append(event)
    then: Iterable[Command] = (Forget(message.source.name),) if message.whole else ()
    commands: list[Command] = [hub.log.commit((record.row for record in changed.values()), events, then)]
    return [*commands, hub.control(now)] if changed and hub.cancel_set else commands


def _take(hub: Hub, source: Source, word: LastWord, now: Now) -> list[tuple[Record, OperationEvent]]:
    """The record and the events of one outcome; nothing if it does not count."""
    outcome = word.outcome
    if word.announce.operation_id != outcome.operation_id:
        # No program writes that: it would end one operation under the name of another.
        return []
    record = hub.records.get(outcome.operation_id)
    if record is None:
        return _unheard_of(hub, source, word, now)
    claim = record.row.claim
    if record.terminal or claim is None or not same_process(claim, source):
        return []
    if record.operation.generation != outcome.generation:
        return []
    return [(record, event) for event in end(hub, record, outcome, now, ended_at_ms=_ended_at_ms(record, word, now))]


def _ended_at_ms(record: Record, word: LastWord, now: Now) -> int:
    """When it was written, which is when it ended, or a second later. Clocks are set: not before it began, nor later
    than now."""
    return min(now.wall_ms, max(word.kept_at_ms, record.operation.started_at_ms or 0))


def _unheard_of(hub: Hub, source: Source, word: LastWord, now: Now) -> list[tuple[Record, OperationEvent]]:
    """It began and ended while nobody listened: announced and ended in one. The caller has asked the journal for it."""
    announce = word.announce
    try:
        require_kind(announce.principal, "operation_started", announce.kind)
    except ForbiddenError:
        return []
    announce = below_its_parent(hub, announce, refuse=False)
    age_ms = announce.age_ms + max(0, now.wall_ms - word.kept_at_ms)
    announce = msgspec.structs.replace(announce, age_ms=age_ms)
    record, events = begin_reported(hub, source, announce, now, local=True)
    ended = end(hub, record, word.outcome, now, ended_at_ms=_ended_at_ms(record, word, now))
    return [(record, event) for event in (*events, *ended)]
