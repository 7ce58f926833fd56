"""Whose token is valid no more, as a gateway knows it from feed and snapshot. Pure."""

from __future__ import annotations

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.protocol.revocation import Revocations, Revoke

__all__ = ["ById", "Revoked"]


class Revoked:
    """An index of one set: asked for each token that is shown, and for each session when there is another set."""

    def __init__(self, known: Revocations | None = None, epoch: str = "") -> None:
        """epoch: the log that the set is of: versions of one log rise."""
        known = known or Revocations()
        self.version = known.version
        # How far the clock of this host is ahead of the broker's, in whose time revocations are.
        self.ahead_ms = 0
        self._epoch = epoch
        self._tokens = frozenset(entry.token_id for entry in known.entries if entry.token_id)
        self._users = {entry.user: entry.issued_before_ms for entry in known.entries if not entry.token_id}

    def follows(self, other: Revoked) -> bool:
        """Whether it may take the other's place: an answer that comes late must not undo a revocation."""
        return self._epoch != other._epoch or self.version >= other.version

    def only_by_user(self, grant: Grant) -> bool:
        """Whether a token is known to be revoked because it was shown before that, or by what is known here of clocks;
        what it says itself is later."""
        if grant.token_id in self._tokens:
            return False
        return grant.is_ahead or grant.issued_at_ms >= self._users.get(grant.principal.user, 0)

    def has(self, token_id: str) -> bool:
        """Whether the token is revoked by its id."""
        return token_id in self._tokens

    def covers(self, grant: Grant) -> bool:
        """Whether the grant's token is revoked. One without an id cannot be: the runtime's own."""
        if not grant.token_id:
            return False
        issued_at_ms = grant.issued_at_ms - self.ahead_ms
        return grant.token_id in self._tokens or issued_at_ms < self._users.get(grant.principal.user, 0)


class ById:
    """Tokens that have to be revoked by their ids too, until the broker's set has them: an answer may be lost.

    again_s: until it is asked once more.
    """

    def __init__(self, again_s: float) -> None:
        self._wanted: dict[str, Revoke] = {}
        self._again_s = again_s
        self._due_s = 0.0

    def put(self, grant: Grant) -> Revoke:
        """One more, as it is asked for now."""
        revoke = Revoke(token_id=grant.token_id, expires_at=grant.expires_at_ms, reason="with its user's")
        self._wanted[grant.token_id] = revoke
        return revoke

    def again(self, revoked: Revoked, now_s: float, now_ms: int) -> list[Revoke]:
        """What to ask for again now. What has expired needs no revocation any more."""
        if not self._wanted or now_s < self._due_s:
            return []
        first, self._due_s = self._due_s == 0.0, now_s + self._again_s
        for token_id, revoke in list(self._wanted.items()):
            if revoked.has(token_id) or (revoke.expires_at is not None and revoke.expires_at < now_ms):
                del self._wanted[token_id]
        if not self._wanted:
            self._due_s = 0.0
        return [] if first else list(self._wanted.values())
