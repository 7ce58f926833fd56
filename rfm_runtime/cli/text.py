"""Text for people: durations, moments, numbers, short ids, and what still fits. Pure but for the local time zone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rfm_runtime.errors import BadRequestError

__all__ = [
    "GAP",
    "Column",
    "duration",
    "fault",
    "fitting",
    "moment",
    "number",
    "period",
    "printable",
    "seconds_of",
    "short_ids",
    "shortened",
]

ID_CHARACTERS = 8
"""Of an id at least: 40 random bits of the ids we mint."""

GAP = 2
"""Between two columns."""

UNITS_S = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|m|h|d|w)")
DAY_MS = 86_400_000


class Column(NamedTuple):
    """rank: columns of the highest rank go first where there is no room; 0 stays. flexible: may be shortened."""

    title: str
    rank: int = 0
    flexible: bool = False


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


def seconds_of(text: str) -> float:
    """Of a duration as somebody writes it: `30min`, `8h`, `1d12h`. Raises BadRequestError."""
    found = _seconds(text)
    if found is None:
        raise BadRequestError(
            f"{printable(text)!r} is no duration", hint="write it like 15min, 12h, 30d, or 1d12h: s, min or m, h, d, w"
        )
    return found


def moment(text: str, now_ms: int) -> int:
    """What somebody means by `2d`, `1h30min` (so long ago), `2025-05-04` or `2025-05-04T12:30`; ms since 1970.

    Without an offset it is local time. Raises BadRequestError.
    """
    if (ago_s := _seconds(text)) is not None:
        return max(0, now_ms - round(ago_s * 1000))
    try:
        # A date alone is its midnight; so is it for `datetime`, which takes what has no offset for local time.
        return max(0, round(datetime.fromisoformat(text.strip()).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise BadRequestError(
            f"{printable(text)!r} is neither a duration nor a date",
            hint="write it like 30min, 12h, 2d, 2025-05-04 or 2025-05-04T12:30",
        ) from None


def period(since: str | None, until: str | None, now_ms: int, *, default_ms: int = DAY_MS) -> tuple[int, int | None]:
    """`--since` and `--until` in ms since 1970: as `moment`; without an end until now, which is None.

    default_ms: how long it is without a beginning. Raises BadRequestError.
    """
    until_ms = None if until is None else moment(until, now_ms)
    end_ms = now_ms if until_ms is None else until_ms
    since_ms = max(0, end_ms - default_ms) if since is None else moment(since, now_ms)
    if since_ms >= end_ms and since is not None:
        raise BadRequestError(
            f"the period ends before it begins: --since {printable(since)} --until {printable(until or 'now')}",
            hint="durations count back from now, so --since is the longer one: --since 2d --until 1d",
        )
    return since_ms, until_ms


def _seconds(text: str) -> float | None:
    """Of a duration, if it is one: parts in falling units, as `duration` writes them."""
    rest, total, least = text.strip().lower(), 0.0, float("inf")
    while match := PART.match(rest):
        unit_s = UNITS_S[match[2]]
        if unit_s >= least:
            return None
        rest, total, least = rest[match.end() :].lstrip(), total + float(match[1]) * unit_s, unit_s
    return total if not rest and least < float("inf") else None


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


def fitting(columns: Sequence[Column], widths: Sequence[int], room: int, *, least: int = 6) -> list[tuple[int, int]]:
    """The columns to show in `room` characters: (index, width) of each.

    widths: what each needs; flexible ones are content with `least`. Those of the highest rank go first, of equal
    rank the last; rank 0 stays, whatever happens.
    """
    needed = [min(width, least) if column.flexible else width for column, width in zip(columns, widths, strict=True)]
    shown = list(range(len(columns)))
    while (spare := room - sum(needed[i] for i in shown) - GAP * (len(shown) - 1)) < 0:
        last = max(shown, key=lambda i: (columns[i].rank, i))
        if columns[last].rank == 0:
            break
        shown.remove(last)
    fitted = []
    for i in shown:
        more = max(0, min(spare, widths[i] - needed[i]))
        spare -= more
        fitted.append((i, needed[i] + more))
    return fitted
