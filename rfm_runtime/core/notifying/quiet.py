"""When nobody is to be disturbed: hours of the user's day. Pure; the time zone is what the caller says."""

from __future__ import annotations

from collections.abc import Iterable

from rfm_runtime.protocol.notifying import Quiet

__all__ = ["is_quiet", "local_minute"]

DAY_MINUTES = 1440
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday."""


def local_minute(wall_ms: int, offset_s: int) -> tuple[int, int]:
    """(weekday, minute of the day). offset_s: what local time is ahead of UTC by, as it is at that moment."""
    days, minute = divmod((wall_ms // 1000 + offset_s) // 60, DAY_MINUTES)
    return (days + EPOCH_WEEKDAY) % 7, minute


def is_quiet(hours: Iterable[Quiet], wall_ms: int, offset_s: int) -> bool:
    """Whether any of these hours is now."""
    weekday, minute = local_minute(wall_ms, offset_s)
    return any(_has(one, weekday, minute) for one in hours)


def _has(quiet: Quiet, weekday: int, minute: int) -> bool:
    days = quiet.days or range(7)
    if quiet.from_minute < quiet.to_minute:
        return weekday in days and quiet.from_minute <= minute < quiet.to_minute
    # Over midnight, and where both are the same all round the clock: it belongs to the day on which it began.
    if minute >= quiet.from_minute:
        return weekday in days
    return minute < quiet.to_minute and (weekday - 1) % 7 in days
