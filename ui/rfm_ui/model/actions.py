"""What can be done to operations: to which of them, to which not and why, and what is to be confirmed first. Pure.

Held to tests/data/ui/actions.json, as every face of the runtime is. The server decides in the end: what is told here
is what it would say, before it is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from rfm_runtime.core.counts import counted
from rfm_runtime.core.permissions import Right, reach
from rfm_runtime.core.text import printable
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.limits import PRIORITY_MAX, PRIORITY_MIN
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_ui.model.lines import state_word

__all__ = ["PRIORITY_STEP", "Asker", "Offers", "Plan", "Verb", "Wish", "plan", "priority_after", "why_not"]

T = TypeVar("T")
Verb = Literal["cancel", "pause", "resume", "retry", "prioritise"]

PRIORITY_STEP = 10
"""Of *up* and *down*."""

WORDS: dict[Verb, tuple[str, str]] = {
    "cancel": ("Cancel", "cancel"),
    "pause": ("Pause", "pause"),
    "resume": ("Resume", "resume"),
    "retry": ("Retry", "retry"),
    "prioritise": ("Change the priority of", "change the priority of"),
}

PLURALS = {"has": "have", "is": "are", "belongs": "belong"}

NEEDED: dict[Verb, Right] = {
    "cancel": "change",
    "pause": "change",
    "resume": "change",
    "retry": "submit",
    "prioritise": "change",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done. Of a priority: to a number (−100 to 100), or by so much."""

    verb: Verb
    to: int | None = None
    by: int = 0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wishes, as the server has said. user: "" before it has, when nothing is known of rights.

    kinds: that engines offer him, None before that is known.
    """

    user: str = ""
    roles: tuple[str, ...] = ()
    kinds: frozenset[str] | None = None


def priority_after(wish: Wish, operation: Operation) -> int:
    """The priority that it would have."""
    wanted = operation.priority + wish.by if wish.to is None else wish.to
    return max(PRIORITY_MIN, min(PRIORITY_MAX, wanted))


def why_not(wish: Wish, operation: Operation, asker: Asker) -> str:
    """Why this cannot be done to it, as the end of a sentence that begins with its name; "" if it can."""
    return _state_forbids(wish, operation, asker) or _right_forbids(wish, operation, asker)


def _state_forbids(wish: Wish, operation: Operation, asker: Asker) -> str:
    state = operation.state
    if wish.verb == "retry":
        return _retry_forbidden(operation, asker)
    if state in TERMINAL_STATES:
        return "has ended"
    if wish.verb == "prioritise":
        return _priority_forbidden(wish, operation)
    if state == "cancelling":
        return "is being cancelled"
    if wish.verb == "pause" and state == "paused":
        return "is paused"
    if wish.verb == "resume" and state != "paused":
        return "is not paused"
    return ""


def _retry_forbidden(operation: Operation, asker: Asker) -> str:
    if operation.state == "completed":
        return "has completed"
    if operation.state not in TERMINAL_STATES:
        return "has not ended"
    if asker.kinds is None:
        return "may be of a kind that no engine offers: that is not known yet"
    if operation.kind not in asker.kinds:
        return "is of a kind that no engine offers: only its own program can begin it again"
    return ""


def _priority_forbidden(wish: Wish, operation: Operation) -> str:
    after = priority_after(wish, operation)
    if after != operation.priority:
        return ""
    if wish.to is None:
        return f"has the {'highest' if wish.by > 0 else 'lowest'} priority"
    return f"has the priority {after}"


def _right_forbids(wish: Wish, operation: Operation, asker: Asker) -> str:
    if not asker.user:
        return ""
    far = reach(Principal(asker.user, asker.roles), NEEDED[wish.verb])
    if far is None:
        roles = ", ".join(sorted(asker.roles)) or "no role"
        return (
            f"may not be touched by you ({roles})" if wish.verb != "retry" else f"may not be retried by you ({roles})"
        )
    # What is retried is one's own then, whoever it was of.
    if far == "own" and wish.verb != "retry" and operation.owner != asker.user:
        return f"belongs to {printable(operation.owner)}"
    return ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a wish does to what is chosen. hits: it is done to these. along: parts of those, that stop with them.

    left_out: and why. must_confirm: it is to be shown before it is done.
    """

    wish: Wish
    hits: tuple[Operation, ...]
    along: tuple[Operation, ...]
    left_out: tuple[tuple[Operation, str], ...]
    must_confirm: bool
    user: str = ""

    @property
    def words(self) -> str:
        """What is done, for a button: Cancel 12 operations."""
        return f"{WORDS[self.wish.verb][0]} {self._what}"

    @property
    def asked(self) -> str:
        """What was asked, in a sentence."""
        return f"Asked to {self.verb} {self._what}."

    @property
    def waits(self) -> str:
        """What will be asked as soon as somebody is there to be asked."""
        return f"Waits for the server: {self.verb} {self._what}."

    @property
    def verb(self) -> str:
        """What is done, within a sentence."""
        return WORDS[self.wish.verb][1]

    @property
    def _what(self) -> str:
        if self.wish.to is not None and self.wish.verb == "prioritise":
            return f"{counted(len(self.hits), 'operation')} to {self.wish.to}"
        parts = f" and {counted(len(self.along), 'part')}" if self.along else ""
        return f"{counted(len(self.hits), 'operation')}{parts}"

    @property
    def everything(self) -> tuple[Operation, ...]:
        """All that is changed."""
        return self.hits + self.along

    @property
    def kinds(self) -> list[str]:
        """How many of which state and kind, the most first: 9 running render.escape_time."""
        found = Counter((state_word(one), printable(one.kind)) for one in self.everything)
        return [f"{count:,} {state} {kind}" for (state, kind), count in _most_first(found)]

    @property
    def owners(self) -> list[str]:
        """How many of whom, one's own first: 8 of yours, 4 of ann."""
        found = Counter(one.owner for one in self.everything)
        own = [f"{found.pop(self.user):,} of yours"] if self.user in found else []
        return own + [f"{count:,} of {printable(owner)}" for owner, count in _most_first(found)]

    @property
    def reasons(self) -> list[str]:
        """How many are left out for which reason, the most first: 2: has ended."""
        return _reasons(Counter(reason for _one, reason in self.left_out))

    @property
    def why_nothing(self) -> str:
        """Why it is not offered at all, "" if it is: of one operation, or of all that are chosen."""
        return "" if self.hits else _nothing([one for one, _reason in self.left_out], self.reasons)


class Offers:
    """Which wishes apply to what is chosen, and to how many: quickly, however many are chosen, since rights and states
    are looked at once for all that are alike.
    """

    def __init__(self, chosen: Sequence[Operation], asker: Asker) -> None:
        self._chosen = chosen
        self._asker = asker
        alike = Counter((one.state, one.kind, one.owner, one.priority) for one in chosen)
        of = {(one.state, one.kind, one.owner, one.priority): one for one in chosen}
        self._alike = [(of[key], count) for key, count in alike.items()]

    def hits(self, wish: Wish) -> int:
        """To how many it applies."""
        return sum(count for one, count in self._alike if not why_not(wish, one, self._asker))

    def why_nothing(self, wish: Wish) -> str:
        """Why it is not offered, "" if it is."""
        reasons: Counter[str] = Counter()
        for one, count in self._alike:
            reason = why_not(wish, one, self._asker)
            if not reason:
                return ""
            reasons[reason] += count
        return _nothing(self._chosen, _reasons(reasons))


def plan(
    wish: Wish,
    chosen: Iterable[Operation],
    asker: Asker,
    parts: Callable[[str], Iterable[Operation]] = lambda _operation_id: (),
) -> Plan:
    """What a wish does to what is chosen. parts: of an operation, by its id: a cancel reaches them, and theirs."""
    hits: list[Operation] = []
    left_out: list[tuple[Operation, str]] = []
    for one in chosen:
        reason = why_not(wish, one, asker)
        if reason:
            left_out.append((one, reason))
        else:
            hits.append(one)
    along = _below(hits, parts) if wish.verb == "cancel" else []
    of_others = bool(asker.user) and any(one.owner != asker.user for one in (*hits, *along))
    must_confirm = len(hits) + len(along) > 1 or (wish.verb == "cancel" and of_others)
    return Plan(wish, tuple(hits), tuple(along), tuple(left_out), must_confirm, asker.user)


def _below(hits: list[Operation], parts: Callable[[str], Iterable[Operation]]) -> list[Operation]:
    """All parts that live, whoever's they are, in the order in which they are found; each once."""
    seen = {one.operation_id for one in hits}
    waiting = [one.operation_id for one in hits]
    found = []
    while waiting:
        for part in parts(waiting.pop()):
            if part.operation_id not in seen:
                seen.add(part.operation_id)
                waiting.append(part.operation_id)
                if part.state not in TERMINAL_STATES and part.state != "cancelling":
                    found.append(part)
    return found


def _reasons(found: Counter[str]) -> list[str]:
    return [f"{count:,} {_plural(reason, count)}" for reason, count in _most_first(found)]


def _nothing(chosen: Sequence[Operation], reasons: list[str]) -> str:
    """Why a wish applies to none. reasons: of all of them."""
    if not chosen:
        return "Nothing is chosen."
    if len(chosen) == 1:
        one = chosen[0]
        return f"{printable(one.name or one.kind)} {reasons[0].removeprefix('1 ')}."
    return f"Of {len(chosen):,} chosen, {', '.join(reasons)}."


def _most_first(found: Counter[T]) -> list[tuple[T, int]]:
    return sorted(found.items(), key=lambda item: (-item[1], str(item[0])))


def _plural(reason: str, count: int) -> str:
    if count == 1:
        return reason
    verb, space, rest = reason.partition(" ")
    return f"{PLURALS.get(verb, verb)}{space}{rest}"
