"""Whether a server tells of a simulation what it was: every operation there, with its outcome, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rfm_runtime.core.simulation.plan import Outcome
from rfm_runtime.protocol.operation import TERMINAL_STATES, OperationState

__all__ = ["Difference", "Performed", "Tally", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Performed:
    """An operation that was begun. expected: as planned, or cancelled if somebody else wanted that."""

    operation_id: str
    kind: str
    name: str
    expected: Outcome


@dataclass(frozen=True, slots=True)
class Tally:
    """How operations ended. lost: the server does not know how, or its watcher was not told. doubled: told twice."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    lost: int = 0
    doubled: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.started + other.started,
            self.completed + other.completed,
            self.failed + other.failed,
            self.canceled + other.canceled,
            self.lost + other.lost,
            self.doubled + other.doubled,
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """One that is not as it should be. found: in words."""

    operation_id: str
    kind: str
    name: str
    expected: Outcome
    found: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """kinds: by name, in alphabetical order."""

    kinds: dict[str, Tally]
    differences: tuple[Difference, ...]

    @property
    def total(self) -> Tally:
        """Of all kinds."""
        return sum(self.kinds.values(), Tally())


def judge(
    performed: Sequence[Performed],
    listed: Sequence[tuple[str, OperationState]],
    told: Mapping[str, int],
    *,
    unbroken: bool,
) -> Verdict:
    """listed: the server's answer, (operation id, state). told: how many outcomes of each a watcher saw.

    unbroken: whether that watcher was there all the time; otherwise what it was not told proves nothing.
    """
    states: dict[str, list[OperationState]] = {}
    for operation_id, state in listed:
        states.setdefault(operation_id, []).append(state)
    kinds: dict[str, Tally] = {kind: Tally() for kind in sorted({one.kind for one in performed})}
    differences = []
    for one in performed:
        found = states.get(one.operation_id, [])
        times = told.get(one.operation_id, 0)
        kinds[one.kind] += _tally(found, times, unbroken=unbroken)
        wrong = _wrong(one.expected, found, times, unbroken=unbroken)
        if wrong:
            differences.append(Difference(one.operation_id, one.kind, one.name, one.expected, wrong))
    return Verdict(kinds, tuple(differences))


def _tally(found: Sequence[OperationState], times: int, *, unbroken: bool) -> Tally:
    ends = Counter(state for state in found if state in TERMINAL_STATES)
    return Tally(
        started=1,
        completed=ends["completed"],
        failed=ends["failed"],
        canceled=ends["canceled"],
        lost=int(not ends or (unbroken and times == 0)),
        doubled=int(ends.total() > 1 or times > 1),
    )


def _wrong(expected: Outcome, found: Sequence[OperationState], times: int, *, unbroken: bool) -> str:
    """What is wrong, "" if nothing is."""
    if not found:
        return "is not there"
    if len(found) > 1:
        return f"is there {len(found)} times: {', '.join(found)}"
    if found[0] != expected:
        return f"is {found[0]}"
    if times > 1:
        return f"was told to be over {times} times"
    return "was never told to be over" if unbroken and times == 0 else ""
