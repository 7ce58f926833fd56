"""What people write into the fields of a rule, and what stands in them: lengths of time, labels, kinds. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, Final

import msgspec

from rfm_runtime.core.notifying.sentences import labels_text, sentence
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import Rule, When
from rfm_runtime.protocol.operation import Operation, OperationState

__all__ = [
    "FIELDS",
    "an_example",
    "fields_of",
    "free_id",
    "headline",
    "labels_of",
    "length_of",
    "length_text",
    "rule_of",
    "words_of",
]

UNITS_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
LENGTH = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:s|min|m|h|d)?\s*)+", re.ASCII)
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?", re.ASCII)
LONGEST_S = 31_536_000.0
EXAMPLE_S = 90.0

FIELDS: Final = ("name", "kinds", "text", "labels", "at_least_s", "stalled_s", "priority")
"""Of a rule that are written as text; the others are chosen."""

NAMES: Final = {
    "name": "the name",
    "kinds": "the kinds",
    "text": "the words",
    "labels": "the labels",
    "at_least_s": "how long it ran",
    "stalled_s": "how long it makes no progress",
    "priority": "the priority",
}

STATES: Final[dict[When, OperationState]] = {
    "accepted": "queued",
    "started": "running",
    "stalled": "running",
    "paused": "paused",
    "completed": "completed",
    "failed": "failed",
    "canceled": "canceled",
}


def length_text(seconds: float) -> str:
    """As `length_of` reads it: 1 m 30 s"""
    parts: list[str] = []
    for unit in ("d", "h", "m"):
        count, seconds = divmod(seconds, UNITS_S[unit])
        if count:
            parts.append(f"{count:.0f} {unit}")
    if seconds or not parts:
        parts.append(f"{seconds:g} s")
    return " ".join(parts)


def length_of(text: str) -> float:
    """Seconds: 90, 90 s, 1 m 30 s, 1.5 h, 2 d; nothing is 0. Raises BadRequestError."""
    written = text.strip().lower()
    if not written:
        return 0.0
    if not LENGTH.fullmatch(written):
        raise BadRequestError(f"{text.strip()!r} is no length of time", hint="write it as 90 s, 5 m, 1 h 30 m or 2 d")
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in PART.findall(written))
    if seconds > LONGEST_S:
        raise BadRequestError(f"{text.strip()!r} is more than a year", hint="write a year, 365 d, or less")
    return seconds


def labels_of(text: str) -> dict[str, str]:
    """site=b, run=7. Raises BadRequestError."""
    labels: dict[str, str] = {}
    for part in text.split(","):
        if part.strip():
            key, equals, value = part.partition("=")
            if not equals or not key.strip():
                raise BadRequestError(f"{part.strip()!r} is no label", hint="write labels as site=b, run=7")
            labels[key.strip()] = value.strip()
    return labels


def words_of(text: str) -> tuple[str, ...]:
    """Of a list with commas or blanks between: render.*, copy"""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def free_id(rules: Iterable[Rule]) -> str:
    """For a new rule beside these."""
    taken = {rule.rule_id for rule in rules}
    number = 1
    while f"rule-{number}" in taken:
        number += 1
    return f"rule-{number}"


def an_example(rule: Rule, user: str, now_ms: int) -> tuple[When, Operation]:
    """What the rule would tell of, and an operation that has come to it: to show what the rule does."""
    when = rule.when[0]
    ran_ms = ceil(1000 * max(rule.at_least_s, EXAMPLE_S))
    operation = Operation(
        operation_id="example",
        kind=rule.kinds[0].replace("*", "example") if rule.kinds else "copy",
        name=rule.text.strip() or "an example",
        owner="somebody" if rule.whose == "others" else user,
        state=STATES[when],
        at_seq=1,
        created_at_ms=now_ms - ran_ms,
        priority=rule.priority or 0,
        labels=rule.labels,
        started_at_ms=None if when == "accepted" else now_ms - ran_ms,
        ended_at_ms=now_ms if when in ("completed", "failed", "canceled") else None,
    )
    return when, operation


def headline(rule: Rule) -> str:
    """What a list of rules has of one."""
    return printable(rule.name.strip()) or sentence(rule)


def fields_of(rule: Rule) -> dict[str, str]:
    """What stands in the fields of text, by the names of `FIELDS`."""
    return {
        "name": rule.name,
        "kinds": ", ".join(rule.kinds),
        "text": rule.text,
        "labels": labels_text(rule.labels),
        "at_least_s": length_text(rule.at_least_s) if rule.at_least_s else "",
        "stalled_s": length_text(rule.stalled_s),
        "priority": "" if rule.priority is None else str(rule.priority),
    }


def rule_of(rule: Rule, written: Mapping[str, str], chosen: Mapping[str, Any]) -> Rule:
    """The rule with what was written and chosen by now. Raises BadRequestError."""
    if not chosen.get("when", rule.when):
        raise BadRequestError("it says not when", hint="choose at least one thing that an operation comes to")
    priority = written["priority"].strip()
    if priority and not re.fullmatch(r"[-+]?\d{1,3}", priority, re.ASCII):
        raise BadRequestError(f"{priority!r} is no priority", hint="write a whole number from -100 to 100, or nothing")
    values = {
        **msgspec.structs.asdict(rule),
        **chosen,
        "name": written["name"].strip(),
        "kinds": words_of(written["kinds"]),
        "text": written["text"].strip(),
        "labels": labels_of(written["labels"]),
        "at_least_s": length_of(written["at_least_s"]),
        "stalled_s": length_of(written["stalled_s"]) or rule.stalled_s,
        "priority": int(priority) if priority else None,
    }
    try:
        return msgspec.convert(values, Rule)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`").partition("[")[0]
        raise BadRequestError(
            f"{NAMES.get(name, name)}: {said[:1].lower()}{said[1:]}", hint="make it shorter, or give it another value"
        ) from None
