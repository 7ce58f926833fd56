"""What a rule means, in a sentence: the same wherever it is shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rfm_runtime.core.text import duration, printable, shortened
from rfm_runtime.protocol.notifying import WHENS, Quiet, Rule, When

__all__ = ["DAYS", "SAID", "WAYS", "clock", "labels_text", "listed", "quiet_text", "sentence"]

SAID: Final[Mapping[When, str]] = {
    "accepted": "is submitted",
    "started": "starts",
    "paused": "is paused",
    "stalled": "makes no progress",
    "completed": "completes",
    "failed": "fails",
    "canceled": "is cancelled",
}
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WAYS: Final = ("toast", "tray", "sound", "voice")
TEXT_WIDTH = 32


def listed(words: Iterable[str], last: str = "or") -> str:
    """a, b or c"""
    all_of_them = list(words)
    if len(all_of_them) < 2:
        return "".join(all_of_them)
    return f"{', '.join(all_of_them[:-1])} {last} {all_of_them[-1]}"


def labels_text(labels: Mapping[str, str]) -> str:
    """site=b, run=7"""
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def sentence(rule: Rule) -> str:
    """When what is mine fails, or completes, after 1 m 00 s or more: toast and sound"""
    subject = {"mine": "what is mine", "others": "what is another's", "anybody": "anything"}[rule.whose]
    if rule.kinds:
        subject += f" of kind {listed(rule.kinds)}"
    if rule.text.strip():
        subject += f" with “{shortened(' '.join(rule.text.split()), TEXT_WIDTH)}”"
    if rule.labels:
        subject += f" labelled {labels_text(rule.labels)}"
    if rule.priority is not None:
        subject += f" of priority {rule.priority} or more"
    said = {**SAID, "stalled": f"makes no progress for {duration(rule.stalled_s)}"}
    happens = listed(said[when] for when in WHENS if when in rule.when)
    if rule.at_least_s:
        happens += f" after {duration(rule.at_least_s)} or more"
    ways = listed((way for way in WAYS if getattr(rule, way)), "and")
    urgent = ", also in quiet hours" if rule.urgent else ""
    return printable(f"When {subject} {happens}: {ways or 'nothing'}{urgent}")


def clock(minute: int) -> str:
    """Of a minute of the day: 22:00"""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def quiet_text(quiet: Quiet) -> str:
    """22:00 to 07:00 on Mon and Tue"""
    begin, end = clock(quiet.from_minute), clock(quiet.to_minute)
    hours = "all day" if begin == end == "00:00" else f"{begin} to {end}"
    days = sorted(set(quiet.days))
    if not days or len(days) == len(DAYS):
        return f"{hours}, every day"
    return f"{hours} on {listed((DAYS[day] for day in days), 'and')}"
