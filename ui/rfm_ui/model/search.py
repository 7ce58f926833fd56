"""What is typed into the search field, as what operations have to be: words, and terms such as `state:failed`. Pure.

Held to tests/data/ui/search.json, as every face of the runtime is. Terms are joined by *and*; the values of one, with
commas between, by *or*; a minus before a word or term turns it round; what is between quotes is one word, and is only
looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationState

__all__ = ["EMPTY", "FIELDS", "Query", "Term", "known_text", "parsed", "terms_of", "toggled"]

ALIVE: Final[tuple[OperationState, ...]] = ("pending", "queued", "running", "paused", "cancelling")
STATES: Final[Mapping[str, tuple[OperationState, ...]]] = {
    **{state: (state,) for state in ALIVE},
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("canceled",),
    "canceled": ("canceled",),
    "alive": ALIVE,
    "ended": tuple(sorted(TERMINAL_STATES)),
}

FIELDS: Final[Mapping[str, str]] = {
    "state": "state:failed, state:running,paused, state:alive, state:ended, state:silent",
    "kind": "kind:render, the beginning of a kind",
    "owner": "owner:ann, owner:me",
    "label": "label:site=b, label:site",
    "priority": "priority:5, priority:>0, priority:<=-10",
    "name": 'name:photos, name:"two words"',
    "id": "id:01H, the beginning or the end of an id",
    "parent": "parent:ID, the parts of an operation",
}
"""What can be asked for, with an example of each."""

WORD = re.compile(r'(-?)(?:([A-Za-z_]+):)?((?:"[^"]*"|[^\s"])*)')
COMPARED = re.compile(r"(>=|<=|>|<|=)?\s*([+\-−]?\d{1,4})\Z")
COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "": lambda one, other: one == other,
    "=": lambda one, other: one == other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
}


@dataclass(frozen=True, slots=True)
class Term:
    """field: one of FIELDS, "" for a word that is looked for everywhere. values: of which one is enough."""

    field: str
    values: tuple[str, ...]
    is_not: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """terms: all of which have to hold. problem: a sentence that says what is not understood, and what would be; ""
    where all is. Terms that are not understood are none.
    """

    terms: tuple[Term, ...] = ()
    problem: str = ""

    def passes(self, operation: Operation, text: str, me: str) -> bool:
        """Whether an operation is what is looked for. text: its `known_text`. me: who looks."""
        return all(_holds(term, operation, text, me) != term.is_not for term in self.terms)


EMPTY = Query()


def known_text(operation: Operation) -> str:
    """What words are looked for in, whatever their case. Nothing of it changes while an operation lives."""
    labels = " ".join(f"{key}={value}" for key, value in operation.labels.items())
    return f"{operation.name} {operation.kind} {operation.owner} {operation.operation_id} {labels}".casefold()


@lru_cache(maxsize=64)
def parsed(text: str) -> Query:
    """What is meant. A term whose value is still to be typed says what it takes."""
    terms, problem = [], ""
    if text.count('"') % 2:
        # Still to be closed.
        text += '"'
    for minus, field, value in _words(text):
        term, wrong = _term(minus, field, value)
        if term is not None:
            terms.append(term)
        problem = problem or wrong
    return Query(tuple(terms), problem)


def _words(text: str) -> list[tuple[str, str | None, str]]:
    """(minus, field, value) of each; the field is None of what has none."""
    return [(found[1], found[2], found[3]) for found in WORD.finditer(text) if found[0]]


def _term(minus: str, field: str | None, value: str) -> tuple[Term | None, str]:
    is_not, bare = bool(minus), value.replace('"', "")
    if field is None:
        if not bare:
            # A minus alone is looked for.
            return (Term("", (minus,)), "") if minus and not value else (None, "")
        return Term("", (bare.casefold(),), is_not), ""
    name = field.casefold()
    if name not in FIELDS:
        there = _and([f"{one}:" for one in FIELDS])
        return None, f'There is no "{field}:". There are {there}; put it in quotes to look for it.'
    values = tuple(one for one in (part.strip() for part in _split(value)) if one)
    if not values:
        return None, f"{name}: takes a value: {FIELDS[name]}."
    wrong = _wrong(name, values)
    if wrong:
        return None, wrong
    if name == "id":
        return Term(name, tuple(one.casefold() for one in values), is_not), ""
    if name in ("state", "kind", "name"):
        values = tuple(one.casefold() for one in values)
    return Term(name, values, is_not), ""


def _split(value: str) -> list[str]:
    """At commas that are not between quotes."""
    return [part.replace('"', "") for part in re.findall(r'(?:"[^"]*"|[^,"])+', value)]


def _wrong(field: str, values: tuple[str, ...]) -> str:
    for value in values:
        if field == "state" and value.casefold() not in STATES and value.casefold() != "silent":
            there = _and([*(one for one in STATES if one != "canceled"), "silent"])
            return f"No state is called {value}. There are {there}."
        if field == "priority" and COMPARED.match(value) is None:
            return f"{value} is no priority: {FIELDS['priority']}."
    return ""


def _holds(term: Term, operation: Operation, text: str, me: str) -> bool:
    match term.field:
        case "":
            return term.values[0] in text
        case "state":
            return any(_state_is(value, operation) for value in term.values)
        case "kind":
            return operation.kind.casefold().startswith(term.values)
        case "owner":
            return operation.owner in term.values or ("me" in term.values and operation.owner == me != "")
        case "label":
            return any(_label_is(value, operation.labels) for value in term.values)
        case "priority":
            return any(_priority_is(value, operation.priority) for value in term.values)
        case "name":
            name = operation.name.casefold()
            return any(value in name for value in term.values)
        case "id":
            known = operation.operation_id.casefold()
            return known.startswith(term.values) or known.endswith(term.values)
        case _:
            return operation.parent_id in term.values


def _state_is(value: str, operation: Operation) -> bool:
    if value == "silent":
        return operation.stale and operation.state not in TERMINAL_STATES
    return operation.state in STATES[value]


def _label_is(value: str, labels: Mapping[str, str]) -> bool:
    key, equals, wanted = value.partition("=")
    return key in labels and (not equals or labels[key] == wanted)


def _priority_is(value: str, priority: int) -> bool:
    found = COMPARED.match(value)
    return found is not None and COMPARISONS[found[1] or ""](priority, int(found[2].replace("−", "-")))


def _and(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


# --- changing what is typed -----------------------------------------------------------------


def terms_of(text: str, field: str) -> tuple[str, ...]:
    """The values that a text asks of a field."""
    return tuple(
        value for term in parsed(text).terms if term.field == field and not term.is_not for value in term.values
    )


def toggled(text: str, field: str, value: str) -> str:
    """The text with a value of a field more; or without it, if it asks for that already."""
    kept: list[str] = []
    there: int | None = None
    was_there = False
    for minus, name, given in _words(text):
        if minus or name is None or name.casefold() != field:
            kept.append(f"{minus}{name}:{given}" if name is not None else f"{minus}{given}")
            continue
        values = [one for one in _split(given) if one]
        folded = [one.casefold() for one in values]
        if value.casefold() in folded:
            was_there = True
            values = [one for one in values if one.casefold() != value.casefold()]
        if values:
            there = len(kept)
            kept.append(_written(field, values))
    if not was_there:
        if there is None:
            kept.append(_written(field, [value]))
        else:
            kept[there] = _written(field, [*_split(kept[there].partition(":")[2]), value])
    return " ".join(kept)


def _written(field: str, values: list[str]) -> str:
    return f"{field}:{','.join(_quoted(value) for value in values)}"


def _quoted(value: str) -> str:
    bare = value.replace('"', "")
    return f'"{bare}"' if re.search(r"[\s,]", bare) else bare
