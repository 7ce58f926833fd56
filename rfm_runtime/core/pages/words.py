"""Figures, moments and shares as a report writes them. Pure but for the local time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import isfinite

from rfm_runtime.core.pages.elements import Html, tag
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.core.text import duration, number
from rfm_runtime.protocol.figures import Tally

__all__ = [
    "NOTHING",
    "Local",
    "amount",
    "count",
    "length",
    "outcomes",
    "percent",
    "size_or_nothing",
    "span",
    "state_word",
]

NOTHING = "–"

_YEAR_10000_MS = 253_402_300_800_000


def count(value: int) -> str:
    """1,234."""
    return f"{value:,}"


def amount(value: float | None, unit: str = "") -> str:
    """Three digits and a unit: 12.3 k tiles/s."""
    if value is None or not isfinite(value):
        return NOTHING
    short = number(value)
    # A prefix belongs to the unit that follows it.
    return _whole(f"{short}{'' if short[-1].isalpha() else ' '}{unit}") if unit else _whole(short)


def percent(share: float | None) -> str:
    """One digit after the point; 100 % only if it is all."""
    if share is None or not isfinite(share):
        return NOTHING
    rounded = f"{100 * share:.1f}"
    if rounded == "100.0":
        return _whole("100 %" if share >= 1 else "99.9 %")
    return _whole(f"{rounded} %")


def span(value_ms: float | None) -> str:
    """42 ms, 3.10 s, 4 m 05 s."""
    if value_ms is None:
        return NOTHING
    return _whole(f"{value_ms:.0f} ms" if value_ms < 99.5 else duration(value_ms / 1000))


def length(value_ms: int) -> str:
    """Of a period or a bin: 24 h, 30 min, 7 d; as a duration if it is nothing whole."""
    for unit_ms, unit, most in ((1000, "s", 60), (60_000, "min", 60), (3_600_000, "h", 49), (86_400_000, "d", 10**9)):
        if value_ms % unit_ms == 0 and 0 < value_ms < most * unit_ms:
            return _whole(f"{value_ms // unit_ms} {unit}")
    return span(value_ms)


def size_or_nothing(value_bytes: int) -> str:
    """1.8 GiB; a dash where nobody measured."""
    return size(value_bytes) if value_bytes else NOTHING


def state_word(state: str) -> str:
    """As people write it."""
    return "cancelled" if state == "canceled" else state


def outcomes(tally: Tally) -> str:
    """290 completed, 12 failed, 10 cancelled, 2 unfinished."""
    parts = (
        (tally.completed, "completed"),
        (tally.failed, "failed"),
        (tally.canceled, "cancelled"),
        (tally.unfinished, "unfinished"),
    )
    return ", ".join(f"{count(many)} {word}" for many, word in parts if many or word == "completed")


def _whole(text: str) -> str:
    """No line ends between a figure and its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


@dataclass(frozen=True, slots=True)
class Local:
    """Moments as the clocks on the wall show them. zone: None for the system's."""

    zone: tzinfo | None = None

    def at(self, at_ms: int) -> datetime:
        """The moment; one that no calendar has is the nearest that it does have."""
        since_1970 = timedelta(milliseconds=min(max(at_ms, 0), _YEAR_10000_MS - 2 * 86_400_000))
        return (datetime(1970, 1, 1, tzinfo=UTC) + since_1970).astimezone(self.zone)

    def offset_ms(self, at_ms: int) -> int:
        """Local time less UTC."""
        offset = self.at(at_ms).utcoffset()
        return round((offset or timedelta()).total_seconds() * 1000)

    def offset(self, at_ms: int) -> str:
        """UTC+02:00."""
        text = self.at(at_ms).strftime("%z")
        return f"UTC{text[:3]}:{text[3:5]}"

    def clock(self, at_ms: int) -> str:
        """09:30."""
        return self.at(at_ms).strftime("%H:%M")

    def date(self, at_ms: int) -> str:
        """4 May."""
        return f"{self.at(at_ms).day} {self.at(at_ms):%b}"

    def short(self, at_ms: int) -> str:
        """09:30, 4 May."""
        return _whole(f"{self.clock(at_ms)}, {self.date(at_ms)}")

    def day(self, at_ms: int) -> str:
        """Sunday, 4 May 2025, 09:30."""
        return f"{self.at(at_ms):%A}, {self.at(at_ms).day} {self.at(at_ms):%B %Y, %H:%M}"

    def second(self, at_ms: int) -> str:
        """2025-05-04 09:30:12."""
        return self.at(at_ms).strftime("%Y-%m-%d %H:%M:%S")

    def stamp(self, at_ms: int | None) -> Html | str:
        """The second, machine-readable as well."""
        if at_ms is None:
            return NOTHING
        return tag("time", self.second(at_ms), datetime=self.at(at_ms).isoformat(timespec="milliseconds"))
