"""When a process that ended by itself is started again. Pure; one `Restarts` a process."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Restarts", "ended", "recent"]

DELAYS_S = (0.0, 0.2, 1.0, 3.0, 10.0)
"""Wait before the first, second, … restart within the window; the last one repeats. The first is
immediate, since a single crash is best answered by being back before anybody notices; a crash loop must
not burn a core."""

WINDOW_S = 60.0
"""A process that lived this long since its last crash starts with a clean slate."""


LOOP_ENDS = 3
"""So many ends within the window are a loop: what it was is not over by itself."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """recent_s: monotonic times of the unexpected ends within the window."""

    recent_s: tuple[float, ...] = ()


def ended(restarts: Restarts, now_s: float) -> tuple[Restarts, float]:
    """The history after an unexpected end at `now_s`, and the seconds to wait before the next start."""
    recent_s = (*(at_s for at_s in restarts.recent_s if now_s - at_s < WINDOW_S), now_s)
    delay_s = DELAYS_S[min(len(recent_s), len(DELAYS_S)) - 1]
    return replace(restarts, recent_s=recent_s[-len(DELAYS_S) :]), delay_s


def recent(restarts: Restarts, now_s: float) -> tuple[int, bool]:
    """(unexpected ends within the window, whether that is a loop)."""
    ends = sum(now_s - at_s < WINDOW_S for at_s in restarts.recent_s)
    return ends, ends >= LOOP_ENDS
