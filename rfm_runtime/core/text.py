"""What people read in every face of the runtime: durations, times left, numbers, ids. Pure but for the time zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

__all__ = ["duration", "fault", "local_time", "number", "printable", "short_ids", "shortened", "time_left"]

ID_CHARACTERS = 8
"""Of an id at least: 40 random bits of the ids we mint."""


def duration(seconds: float) -> str:
    """Short: 0.42 s, 12.3 s, 4 m 05 s, 3 h 12 m, 2 d 03 h."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} m"
    return f"{hours // 24} d {hours % 24:02d} h"


def time_left(p50_s: float, p90_s: float) -> str:
    """A range where the estimate is not sure: 4 m 05 s left, 12.3 s–1 m 02 s left."""
    if p90_s < 1.2 * p50_s + 0.5:
        return f"{duration(p50_s)} left"
    return f"{duration(p50_s)}–{duration(p90_s)} left"


def local_time(at_ms: float) -> str:
    """Of ms since 1970: 2026-11-27 13:45:10, in the time zone of this machine."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: float) -> str:
    """Three digits, with SI prefix: 950, 12.3 k, 4.05 G."""
    for factor, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        # 999.6 would be shown as 1e+03 of the smaller unit.
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"


def fault(severity: str, code: str, message: str) -> str:
    """What went wrong, in the one form that it has everywhere: `error[worker_lost]: its program ended`."""
    return f"{severity}[{printable(code)}]: {message}"


def printable(text: str) -> str:
    """Foreign text on one line, without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shortened(text: str, width: int) -> str:
    """At most `width` characters, with an ellipsis where something is missing."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def short_ids(ids: Sequence[str]) -> Mapping[str, str]:
    """The shortest end of each id that tells all of them apart, of one length, at least `ID_CHARACTERS`."""
    length = ID_CHARACTERS
    longest = max((len(one) for one in ids), default=0)
    while length < longest and len({one[-length:] for one in ids}) < len(set(ids)):
        length += 1
    return {one: one[-length:] for one in ids}
