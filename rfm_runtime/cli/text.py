"""What people write on a command line, durations and moments, and what still fits. Pure but for the time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError

__all__ = [
    "GAP",
    "Column",
    "fitting",
    "moment",
    "period",
    "seconds_of",
]

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
