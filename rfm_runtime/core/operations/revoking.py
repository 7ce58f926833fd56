"""Tokens that are valid no more, as the broker keeps them: journalled first, then told to every gateway. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rfm_runtime.core.operations.record import Asked, Command, Now, Revoked, Send
from rfm_runtime.core.permissions import require
from rfm_runtime.errors import BadRequestError, QuotaExceededError
from rfm_runtime.protocol.internal import DoRevoke, GetRevocations
from rfm_runtime.protocol.revocation import Revocation, Revocations, Revoke, RevokeReply

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["REVOCATIONS_LIMIT", "RevocationList", "on_get_revocations", "on_revoke"]

REVOCATIONS_LIMIT = 10_000
"""A megabyte in every gateway."""

CLOCKS_MS = 30_000
"""Of two machines: a token may be taken so long after it has expired, and a moment may be so far ahead."""


class RevocationList:
    """committed: what is on disk, and all that anybody is told. The rest waits for its batch."""

    def __init__(self, known: Iterable[Revocation]) -> None:
        self._entries = {entry.key: entry for entry in known}
        self._version = max((entry.version for entry in self._entries.values()), default=0)
        self.committed = self._set()
        self._waiting: deque[tuple[int, Revocations]] = deque()

    def _set(self) -> Revocations:
        return Revocations(self._version, tuple(self._entries.values()))

    def put(self, entry: Revocation, now_ms: int) -> tuple[list[str], Revocations]:
        """Take it in; the keys of those that are forgotten, and the set as it is then. Raises QuotaExceededError."""
        # Not the one whose place the entry takes: it would be forgotten together with it.
        old = [
            key
            for key, one in self._entries.items()
            if key != entry.key and _is_over(one, now_ms) and one.version < self._version
        ]
        if len(self._entries) - len(old) >= REVOCATIONS_LIMIT and entry.key not in self._entries:
            raise QuotaExceededError(
                f"{REVOCATIONS_LIMIT} tokens are revoked already",
                hint="revoke all of a user's that were issued before a time, or change the secret: "
                "`rfm-runtime token rotate`",
            )
        for key in old:
            del self._entries[key]
        self._version = entry.version
        self._entries[entry.key] = entry
        return old, self._set()

    def next_version(self) -> int:
        """Of the next entry. The newest one is never forgotten, so that no number is given twice."""
        return self._version + 1

    def has(self, wanted: Revoke, issued_before_ms: int) -> bool:
        """Whether that is revoked already, as far."""
        if wanted.token_id:
            entry = self._entries.get(f"token:{wanted.token_id}")
            return entry is not None and not _lasts_longer(wanted.expires_at, entry.expires_at_ms)
        known = self._entries.get(f"user:{wanted.user}")
        return known is not None and known.issued_before_ms >= issued_before_ms

    def covers(self, user: str, token_id: str, issued_at_ms: int) -> bool:
        """Whether a token is revoked, told or not. One without an id cannot be."""
        if not token_id:
            return False
        of_user = self._entries.get(f"user:{user}")
        return f"token:{token_id}" in self._entries or (of_user is not None and issued_at_ms < of_user.issued_before_ms)

    def wait(self, number: int, after: Revocations) -> None:
        """The set is that once the batch is on disk."""
        self._waiting.append((number, after))

    def journalled(self, number: int) -> None:
        """Batches up to this one are on disk."""
        while self._waiting and self._waiting[0][0] <= number:
            self.committed = self._waiting.popleft()[1]

    def sanity_check(self) -> None:
        """Raise AssertionError if entries and version disagree."""
        versions = [entry.version for entry in self._entries.values()]
        if len(set(versions)) != len(versions) or max(versions, default=0) != self._version:
            raise AssertionError(f"revocations: versions {sorted(versions)} of {self._version}")
        if self.committed.version > self._version or len(self._entries) > REVOCATIONS_LIMIT:
            raise AssertionError("revocations: more is told than is known")


def _is_over(entry: Revocation, now_ms: int) -> bool:
    return entry.expires_at_ms is not None and entry.expires_at_ms + CLOCKS_MS < now_ms


def _lasts_longer(one: int | None, other: int | None) -> bool:
    """Of two moments of expiry; None: never."""
    return other is not None and (one is None or one > other)


def on_revoke(hub: Hub, asked: Asked, message: DoRevoke, now: Now) -> list[Command]:
    """Refuse a token, or a user's, from the commit on. What is kept for outcomes on a full disk may be used."""
    require(message.principal, "revoke")
    wanted = message.request
    before_ms = now.wall_ms if wanted.issued_before is None else wanted.issued_before
    if bool(wanted.token_id) == bool(wanted.user):
        raise BadRequestError("name one token by its id, or a user", hint="give exactly one of token_id and user")
    if before_ms > now.wall_ms + CLOCKS_MS:
        raise BadRequestError(
            "tokens of the future cannot be revoked", hint="give a moment that is not ahead in issued_before"
        )
    if wanted.token_id and wanted.expires_at is not None and wanted.expires_at + CLOCKS_MS < now.wall_ms:
        raise BadRequestError(
            "this token has expired, so there is nothing to revoke",
            hint="nobody takes it any more; if that is not so: expires_at is in milliseconds since 1970",
        )
    hub.writable(outcome=True)
    known = hub.revocations
    if known.has(wanted, before_ms):
        # Whoever asked first may not have been answered yet.
        answer = Send(asked.routing, asked.request_id, RevokeReply(known.next_version() - 1))
        return [hub.log.commit((), (), [answer])]
    entry = Revocation(
        version=known.next_version(),
        token_id=wanted.token_id,
        user=wanted.user,
        issued_before_ms=0 if wanted.token_id else before_ms,
        expires_at_ms=wanted.expires_at if wanted.token_id else None,
        at_ms=now.wall_ms,
        by=message.principal.user,
        reason=wanted.reason,
    )
    forgotten, after = known.put(entry, now.wall_ms)
    # At once: a code must not be taken between this and the commit.
    hub.sign_ins.revoke(entry)
    then: list[Command] = [Revoked(after), Send(asked.routing, asked.request_id, RevokeReply(after.version))]
    journal = hub.log.commit((), (), then, revocations=(entry,), unrevoked=forgotten)
    known.wait(journal.batch.number, after)
    return [journal]


def on_get_revocations(hub: Hub, asked: Asked, _message: GetRevocations, _now: Now) -> list[Command]:
    """The set, for a gateway that has seen another version on the feed."""
    return [Send(asked.routing, asked.request_id, hub.revocations.committed)]


HANDLERS: dict[type[Struct], Any] = {DoRevoke: on_revoke, GetRevocations: on_get_revocations}
