"""Rules broken on purpose: a simulation that does not find these within a thousand schedules proves nothing.

Each is a context in which the product's own code lacks one rule. Nothing outside a test enters one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import msgspec

from rfm_runtime.core.operations import ownership
from rfm_runtime.core.operations.hub import Hub
from rfm_runtime.core.operations.record import Asked, Command, Control, Journal, Journalled, Now, Record
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.hub import GatewayCore
from rfm_runtime.core.sessions.replica import Ask, Replica
from rfm_runtime.errors import ConflictError
from rfm_runtime.protocol.internal import FeedFrame
from rfm_runtime.protocol.operation import ProgressUpdate
from rfm_runtime.testing.sessions import TOKENS
from rfm_runtime.testing.simulation.broker import Broker

__all__ = ["MUTANTS", "Mutant", "broken"]

Mutant = Callable[[], AbstractContextManager[None]]


@contextmanager
def publish_before_journal() -> Iterator[None]:
    """What follows from a commit leaves at once, before it is on disk."""
    carry_out = Broker._carry_out

    def hasty(self: Broker, commands: list[Command]) -> None:
        carry_out(self, commands)
        for command in commands:
            if isinstance(command, Journal):
                self.handle(Journalled(command.batch.number))

    with patch.object(Broker, "_carry_out", hasty):
        yield


@contextmanager
def no_generation_fence() -> Iterator[None]:
    """Whoever speaks of an operation is believed, whatever its claim is by now."""

    def anybody(hub: Hub, _asked: Asked, operation_id: str, _generation: int) -> Record:
        record = hub.records.get(operation_id)
        if record is None or record.terminal:
            raise ConflictError("no such operation, or it has ended")
        return record

    with patch.object(ownership, "_own", anybody):
        yield


@contextmanager
def no_rebroadcast_of_cancels() -> Iterator[None]:
    """The cancel set is published when it changes, and never again."""
    tick = Hub._tick

    def once(self: Hub, now: Now) -> list[Command]:
        return [command for command in tick(self, now) if not isinstance(command, Control)]

    with patch.object(Hub, "_tick", once):
        yield


@contextmanager
def frozen_counts_as_dead() -> Iterator[None]:
    """Who is silent is taken for dead."""
    look = ownership.look_at_deadlines

    def impatient(hub: Hub, now: Now) -> list[Command]:
        commands = look(hub, now)
        for owner in hub.owners:
            if now.mono_s - owner.heard_s > hub.settings.stale_after_s:
                commands += ownership._gone(hub, owner, now)
        return commands

    with patch.object(ownership, "look_at_deadlines", impatient):
        yield


@contextmanager
def feed_gap_ignored() -> Iterator[None]:
    """A frame is applied whatever was missed before it."""
    frame = Replica.frame

    def trusting(self: Replica, received: FeedFrame) -> list[Ask]:
        return frame(self, msgspec.structs.replace(received, prev_seq=min(received.prev_seq, self.position)))

    with patch.object(Replica, "frame", trusting):
        yield


@contextmanager
def progress_after_the_outcome() -> Iterator[None]:
    """Measures that came before the outcome are shown after it."""

    progress = Hub.progress

    def tireless(self: Hub, now: Now) -> tuple[ProgressUpdate, ...]:
        ended = (record for oid, record in self.records.items() if record.terminal and oid in self.log.committed)
        late = [record for record in ended if record.merge.dirty]
        for record in late:
            record.merge.take_dirty()
        return (*progress(self, now), *(self._update(record, now) for record in late))

    with patch.object(Hub, "progress", tireless):
        yield


@contextmanager
def request_keys_in_memory_only() -> Iterator[None]:
    """A broker that starts knows the operations, and not by which keys they were submitted."""
    boot = Broker.boot

    def forgetful(self: Broker) -> None:
        for operation_id, row in self.rows.items():
            self.rows[operation_id] = msgspec.structs.replace(row, request_key=f"unknown:{operation_id}")
        boot(self)

    with patch.object(Broker, "boot", forgetful):
        yield


@contextmanager
def permissions_not_checked_at_resume() -> Iterator[None]:
    """Who resumes is let in by what the token was once good for."""
    hello = GatewayCore._hello

    def trusting(self: GatewayCore, session: Any, envelope: Any, request: Any, *now: Any) -> list[Any]:
        authenticate = self._authenticate
        if request.resume is not None:
            self._authenticate = lambda token: Grant(TOKENS[token.partition(".")[0]])
        try:
            return list(hello(self, session, envelope, request, *now))
        finally:
            self._authenticate = authenticate

    with patch.object(GatewayCore, "_hello", trusting):
        yield


@contextmanager
def revoked_sessions_stay() -> Iterator[None]:
    """A revoked token is refused to whoever shows it, and ends no session."""
    with patch.object(GatewayCore, "_close_revoked", lambda _self, _now_ms: []):
        yield


@contextmanager
def sessions_outlive_their_key() -> Iterator[None]:
    """Other keys are for those who come."""
    with patch.object(GatewayCore, "keys_changed", lambda _self, _keys, _now_ms: []):
        yield


@contextmanager
def connections_outlive_their_certificate() -> Iterator[None]:
    """Certificates are looked at in a handshake."""
    with patch.object(GatewayCore, "certified", lambda _self, *_arguments: []):
        yield


MUTANTS: dict[str, Mutant] = {
    mutant.__name__.replace("_", " "): mutant
    for mutant in (
        publish_before_journal,
        no_generation_fence,
        no_rebroadcast_of_cancels,
        frozen_counts_as_dead,
        feed_gap_ignored,
        progress_after_the_outcome,
        request_keys_in_memory_only,
        permissions_not_checked_at_resume,
        revoked_sessions_stay,
        sessions_outlive_their_key,
        connections_outlive_their_certificate,
    )
}
"""By name."""


def broken(name: str | None) -> AbstractContextManager[None]:
    """The product without that rule; as it is for None. Raises KeyError for a name that is none."""
    return nullcontext() if name is None else MUTANTS[name]()
