"""Whose token is valid no more, as a gateway knows it from feed and snapshot. Pure."""

from __future__ import annotations

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.protocol.revocation import Revocations

__all__ = ["Revoked"]


class Revoked:
    """An index of one set: asked for each token that is shown, and for each session when there is another set."""

    def __init__(self, known: Revocations | None = None, epoch: str = "") -> None:
        """epoch: the log that the set is of: versions of one log rise."""
        known = known or Revocations()
        self.version = known.version
        self._epoch = epoch
        self._tokens = frozenset(entry.token_id for entry in known.entries if entry.token_id)
        self._users = {entry.user: entry.issued_before_ms for entry in known.entries if not entry.token_id}

    def follows(self, other: Revoked) -> bool:
        """Whether it may take the other's place: an answer that comes late must not undo a revocation."""
        return self._epoch != other._epoch or self.version >= other.version

    def only_by_user(self, grant: Grant) -> bool:
        """Whether a token is known to be revoked because it was shown before that; what it says itself is later."""
        return grant.is_ahead and grant.token_id not in self._tokens

    def covers(self, grant: Grant) -> bool:
        """Whether the grant's token is revoked. One without an id cannot be: the runtime's own."""
        if not grant.token_id:
            return False
        return grant.token_id in self._tokens or grant.issued_at_ms < self._users.get(grant.principal.user, 0)
