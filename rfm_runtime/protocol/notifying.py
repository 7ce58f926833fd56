"""Of what a user wants to be told, and how: his rules, which the runtime keeps for him wherever he looks from.

A part of `rfm.v1`; what follows from the rules is decided in `core.notifying`, by every face alike.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from rfm_runtime.protocol.operation import Labels, Name, Priority

__all__ = [
    "QUIET_LIMIT",
    "RULES_LIMIT",
    "RULES_LIMIT_BYTES",
    "WHENS",
    "GetRules",
    "Quiet",
    "Rule",
    "Rules",
    "RulesChanged",
    "RulesReply",
    "SetRules",
    "UserRules",
    "When",
    "Whose",
]

RULES_LIMIT = 32
QUIET_LIMIT = 8
RULES_LIMIT_BYTES = 32_768
"""Of one user's rules as they are kept."""

When = Literal["accepted", "started", "paused", "stalled", "completed", "failed", "canceled"]
"""What an operation comes to. stalled: it runs, and nothing more gets done."""
WHENS: tuple[When, ...] = get_args(When)

Whose = Literal["mine", "others", "anybody"]
Minute = Annotated[int, Meta(ge=0, le=1439)]
Word = Annotated[str, Meta(min_length=1, max_length=128)]


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whoever meets all of it is told of. rule_id: no other rule of the user has it.

    kinds: "*" in one stands for anything; empty: all. text: words that are all in name or labels, whatever the case.
    labels: it has all of them. at_least_s: it has run so long before it ended, paused or stalled. stalled_s: how long
    nothing gets done before it has stalled. priority: at least. urgent: also in quiet hours.
    """

    rule_id: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Name = ""
    is_on: bool = True
    when: Annotated[tuple[When, ...], Meta(min_length=1, max_length=len(WHENS))]
    kinds: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()
    text: Annotated[str, Meta(max_length=256)] = ""
    labels: Labels = {}
    whose: Whose = "mine"
    at_least_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    stalled_s: Annotated[float, Meta(ge=1, le=31_536_000)] = 300.0
    priority: Priority | None = None
    toast: bool = True
    tray: bool = False
    sound: bool = False
    voice: bool = False
    urgent: bool = False


class Quiet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hours in which nothing is told but what is urgent, in the user's local time; what was not is summed up after.

    from_minute, to_minute: of the day, 0 to 1439; where they are the same it is the whole day, and where the end is
    before the begin it is the next day's. days: on which it begins, 0 is Monday; empty: on all.
    """

    from_minute: Minute
    to_minute: Minute
    days: Annotated[tuple[Annotated[int, Meta(ge=0, le=6)], ...], Meta(max_length=7)] = ()


class Rules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of one user."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_LIMIT)] = ()
    quiet: Annotated[tuple[Quiet, ...], Meta(max_length=QUIET_LIMIT)] = ()


class GetRules(Struct, frozen=True):
    """One's own. → `RulesReply`"""


class SetRules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Have one's own kept. rules: None: those that everybody has at first. → `RulesReply`

    version: of those that they are made from, so that what another window has changed meanwhile is not lost unseen:
    then it is a `conflict`.
    """

    version: Annotated[int, Meta(ge=0, le=2**53)]
    rules: Rules | None = None


class RulesReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """They are on disk. version: 0: nobody has changed them, and they are those that everybody has at first."""

    version: int
    rules: Rules


class RulesChanged(Struct, frozen=True):
    """`rules_changed`: another connection of the user has changed them. version: what they have now."""

    version: int


class UserRules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As they are kept. rules: None: they are forgotten."""

    user: str
    version: int
    rules: Rules | None = None
