"""Whom a rule means, which rules everybody has at first, and which cannot be kept. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import Rule, Rules, When
from rfm_runtime.protocol.operation import Operation

__all__ = ["DEFAULTS", "NO_WAYS", "Ways", "checked", "lasted_s", "means", "meant", "ways_of"]

DEFAULTS: Final = Rules(
    rules=(
        Rule(
            rule_id="mine-failed",
            name="What is mine has failed",
            when=("failed",),
            tray=True,
            sound=True,
        ),
        Rule(
            rule_id="mine-completed",
            name="What is mine and took more than a minute is done",
            when=("completed",),
            at_least_s=60.0,
            tray=True,
        ),
        Rule(
            rule_id="mine-stalled",
            name="What is mine makes no progress",
            when=("stalled",),
            stalled_s=600.0,
        ),
    )
)
"""Of whoever has none: what one would come back to look for."""

PLAIN = str.maketrans({"[": "[[]", "?": "[?]"})
"""In a kind only the star means more than itself."""


class Ways(Struct, frozen=True):
    """How somebody is told."""

    toast: bool = False
    tray: bool = False
    sound: bool = False
    voice: bool = False

    def __or__(self, other: Ways) -> Ways:
        return Ways(
            self.toast or other.toast,
            self.tray or other.tray,
            self.sound or other.sound,
            self.voice or other.voice,
        )


NO_WAYS: Final = Ways()


def ways_of(rule: Rule) -> Ways:
    """How a rule wants one to be told."""
    return Ways(rule.toast, rule.tray, rule.sound, rule.voice)


def lasted_s(operation: Operation) -> float:
    """How long it has run, as far as is known: to its end, or to its last measure."""
    begin_ms = operation.started_at_ms
    if begin_ms is None:
        return 0.0
    until_ms = operation.ended_at_ms
    if until_ms is None:
        until_ms = begin_ms if operation.latest is None else operation.latest.measured_at_ms
    return max(0, until_ms - begin_ms) / 1000


def means(rule: Rule, when: When, operation: Operation, user: str, *, still_s: float = 0.0) -> bool:
    """Whether the rule wants this operation told that has come to that. user: whose rule it is.

    still_s: of one that stalls, how long nothing more got done.
    """
    if not rule.is_on or when not in rule.when:
        return False
    if rule.whose != "anybody" and (operation.owner == user) != (rule.whose == "mine"):
        return False
    if rule.priority is not None and operation.priority < rule.priority:
        return False
    if when == "stalled" and still_s < rule.stalled_s:
        return False
    if when not in ("accepted", "started") and lasted_s(operation) < rule.at_least_s:
        return False
    if rule.kinds and not any(fnmatchcase(operation.kind, kind.translate(PLAIN)) for kind in rule.kinds):
        return False
    if any(operation.labels.get(key) != value for key, value in rule.labels.items()):
        return False
    words = rule.text.casefold().split()
    if not words:
        return True
    labels = " ".join(f"{key}={value}" for key, value in operation.labels.items())
    known = f"{operation.name} {labels}".casefold()
    return all(word in known for word in words)


def meant(
    rules: Iterable[Rule],
    when: When,
    operation: Operation,
    user: str,
    told: Collection[tuple[str, When]] = (),
    *,
    still_s: float = 0.0,
) -> list[Rule]:
    """The rules by which somebody is to be told now. told: by which he was, and of what."""
    return [
        rule
        for rule in rules
        if (rule.rule_id, when) not in told and means(rule, when, operation, user, still_s=still_s)
    ]


def checked(rules: Rules) -> Rules:
    """The rules, if they can be kept. Raises BadRequestError."""
    ids = [rule.rule_id for rule in rules.rules]
    twice = next((rule_id for rule_id in ids if ids.count(rule_id) > 1), None)
    if twice is not None:
        raise BadRequestError(f"two rules have the id {twice!r}", hint="give each rule_id to one rule")
    return rules
