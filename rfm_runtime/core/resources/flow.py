"""What goes through a process: counts that grow become rates, and what took how long becomes quantiles. Pure."""

from __future__ import annotations

from collections import deque
from math import ceil

from rfm_runtime.protocol.resources import Flow

__all__ = ["FlowMeter"]

KEPT = 1024
"""Durations of one interval: the newest, of which the 99 % quantile is the tenth largest."""


class FlowMeter:
    """Owned by a shell, which tells it of what took a while, and asks every few seconds."""

    def __init__(self, now_s: float) -> None:
        self._at_s = now_s
        self._counts = (0, 0, 0)
        self._took_s: deque[float] = deque(maxlen=KEPT)

    def took(self, seconds: float) -> None:
        """Something was answered, or written."""
        self._took_s.append(seconds)

    def flow(self, now_s: float, *, messages: int, coalesced: int, connections: int, waiting: int) -> Flow:
        """Since the last time. messages, coalesced, connections: so far, in all; waiting: now."""
        elapsed_s = now_s - self._at_s
        counts = messages, coalesced, connections
        # A count may be smaller than it was: of sessions that have ended.
        grown = [max(0, now - before) for now, before in zip(counts, self._counts, strict=True)]
        rates = [round(more / elapsed_s, 2) if elapsed_s > 0.0 else 0.0 for more in grown]
        ordered = sorted(self._took_s)
        self._at_s, self._counts = now_s, counts
        self._took_s.clear()
        return Flow(
            messages_per_s=rates[0],
            coalesced_per_s=rates[1],
            connections_per_s=rates[2],
            waiting=waiting,
            latency_p50_ms=_quantile_ms(ordered, 0.5),
            latency_p99_ms=_quantile_ms(ordered, 0.99),
        )


def _quantile_ms(ordered: list[float], share: float) -> float | None:
    """By nearest rank: one that occurred."""
    return round(1000.0 * ordered[max(0, ceil(share * len(ordered)) - 1)], 3) if ordered else None
