"""How often one watcher is sent progress: less often while it can't keep up, more often once it can.

The session tells `Pace` about every flush of progress that was made or had to be skipped, and sends what it
answers. A value; one per session.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["STEPS_HZ", "Pace", "flushed", "skipped"]

STEPS_HZ = (20.0, 10.0, 5.0, 1.0)
SKIPS_BEFORE_SLOWER = 2
# Faster only after a calm stretch: right after a stall the socket's buffer is empty and looks
# healthy, and a watcher that flaps between two rates is worse off than a slow one.
CALM_BEFORE_FASTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A watcher's present rate and what speaks for changing it.

    step: index into STEPS_HZ, 0 is the fastest. skips: consecutive flushes that were skipped.
    calm_since_s: monotonic time of the last skip or change of rate.
    """

    step: int = 0
    skips: int = 0
    calm_since_s: float = 0.0

    @property
    def hz(self) -> float:
        """Flushes of progress per second this watcher is sent at most."""
        return STEPS_HZ[self.step]


def skipped(pace: Pace, now_s: float) -> tuple[Pace, float | None]:
    """A flush was due, but more than the write limit was still unsent; the new rate if it changed."""
    pace = replace(pace, skips=pace.skips + 1, calm_since_s=now_s)
    if pace.skips < SKIPS_BEFORE_SLOWER or pace.step == len(STEPS_HZ) - 1:
        return pace, None
    pace = replace(pace, step=pace.step + 1, skips=0)
    return pace, pace.hz


def flushed(pace: Pace, now_s: float) -> tuple[Pace, float | None]:
    """A flush went out; the new rate if it changed."""
    pace = replace(pace, skips=0)
    if pace.step == 0 or now_s - pace.calm_since_s < CALM_BEFORE_FASTER_S:
        return pace, None
    pace = replace(pace, step=pace.step - 1, calm_since_s=now_s)
    return pace, pace.hz
