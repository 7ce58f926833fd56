"""Whether what is shown is still so, and as of when it was. Pure: held to tests/data/ui/freshness.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from rfm_ui.model.link import LinkNews

__all__ = ["MOMENT_S", "Freshness", "as_of"]

MOMENT_S = 1.5
"""A connection that is made again within this is not worth a word: it would only flicker."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """since_s: monotonic, since when nothing new was heard; None while it is heard, or nothing is shown."""

    has_lived: bool = False
    since_s: float | None = None

    def told(self, news: LinkNews) -> Freshness:
        """After a change of the connection."""
        if news.state == "live":
            return Freshness(has_lived=True)
        if not self.has_lived or self.since_s is not None:
            return self
        # A server that is silent was heard of before that was noticed.
        return replace(self, since_s=news.at_s - news.silent_s)

    def another_server(self) -> Freshness:
        """Nothing of it is shown yet."""
        return Freshness()

    def old_s(self, now_s: float) -> float | None:
        """How old what is shown is, s; None: it is fresh, or away for a moment only."""
        if self.since_s is None or now_s - self.since_s < MOMENT_S:
            return None
        return now_s - self.since_s

    def left_s(self, now_s: float) -> float | None:
        """Until `old_s` says something else than None, s; None: that is not in sight."""
        return None if self.since_s is None else max(0.0, self.since_s + MOMENT_S - now_s)


def as_of(then: datetime, now: datetime) -> str:
    """A moment as people read it, with the day if that is another. Both in the time zone of whoever reads it."""
    clock = f"{then:%H:%M:%S}"
    if then.date() == now.date():
        return f"as of {clock}"
    return f"as of {then:%Y-%m-%d} {clock}"
