"""When sessions end with their tokens and certificates: a heap of moments, of which a tick looks at those due. Pure."""

from __future__ import annotations

import heapq

from rfm_runtime.core.sessions.access import EXPIRING_MS, GRACE_MS
from rfm_runtime.core.sessions.session import Session

__all__ = ["Expiries"]

UNGREETED_MS = 1000
"""Until it is looked again at a session that has not said hello, and so cannot be told."""


class Expiries:
    """Moments (ms since 1970) at which to look at a session. One that was renewed is found not to be due."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._due)

    def put(self, session: Session) -> None:
        """It has another grant. Where it will be looked at in time anyway, nothing is added."""
        ends_ms = session.ends_ms
        if ends_ms is not None:
            self._at(session, ends_ms - EXPIRING_MS)

    def _at(self, session: Session, due_ms: int) -> None:
        if session.expiry_due_ms is None or due_ms < session.expiry_due_ms:
            session.expiry_due_ms = due_ms
            heapq.heappush(self._due, (due_ms, session.number))

    def due(self, sessions: dict[int, Session], now_ms: int) -> tuple[list[Session], list[Session]]:
        """(those to be told that their token or certificate expires, those to be closed since it has)."""
        told, closed = [], []
        while self._due and self._due[0][0] < now_ms:
            due_ms, number = heapq.heappop(self._due)
            session = sessions.get(number)
            if session is None or session.closing is not None or session.expiry_due_ms != due_ms:
                continue
            session.expiry_due_ms = None
            ends_ms = session.ends_ms
            if ends_ms is None:
                continue
            if now_ms > ends_ms + GRACE_MS:
                closed.append(session)
            elif now_ms <= ends_ms - EXPIRING_MS:
                self.put(session)
            elif not session.warned and session.max_hz:
                told.append(session)
                self._at(session, ends_ms + GRACE_MS)
            else:
                close_ms = ends_ms + GRACE_MS
                self._at(session, close_ms if session.warned else min(close_ms, now_ms + UNGREETED_MS))
        return told, closed
