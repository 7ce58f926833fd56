"""How far this host's wall clock is ahead of the broker's, by what the feed says of the latter. Pure.

Frames may come late, and then the broker's clock seems to be behind: the least late of the last half minute counts.
"""

from __future__ import annotations

__all__ = ["AGREE_MS", "BrokerClock"]

AGREE_MS = 1000
"""Clocks that are no further apart are taken for the same: a frame may be as late as that."""

WINDOW_S = 30.0


class BrokerClock:
    """One a gateway. Times with _s are this process's monotonic clock."""

    def __init__(self) -> None:
        # What the broker's clock was, as far as is known, when the monotonic one was 0: of this window and the last.
        self._zero_ms: float | None = None
        self._before_ms: float | None = None
        self._since_s = 0.0

    def heard(self, ts_ms: int, now_s: float) -> None:
        """A frame of the feed has come, which was made when the broker's clock was `ts_ms` (since 1970)."""
        zero_ms = ts_ms - 1000.0 * now_s
        if self._zero_ms is None or now_s - self._since_s >= WINDOW_S:
            self._before_ms, self._zero_ms, self._since_s = self._zero_ms, zero_ms, now_s
        else:
            self._zero_ms = max(self._zero_ms, zero_ms)

    def ahead_ms(self, now_s: float, now_ms: int) -> int:
        """How far `now_ms`, of this host's clock, is ahead; 0 if they agree, or it is behind, or nothing is known."""
        known = [zero_ms for zero_ms in (self._zero_ms, self._before_ms) if zero_ms is not None]
        if not known:
            return 0
        ahead_ms = round(now_ms - 1000.0 * now_s - max(known))
        return ahead_ms if ahead_ms > AGREE_MS else 0
