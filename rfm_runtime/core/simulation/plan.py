"""What a simulation does: each operation with its beginning, its course and its outcome. Follows from the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import nextafter
from typing import Any, Literal, TypeVar

from rfm_runtime.core.simulation.course import Course, Random, along, shuffled, stretch
from rfm_runtime.core.simulation.kinds import KINDS, Fault, Kind, Leaf, leaves

__all__ = ["Outcome", "Position", "Simulated", "plan", "position"]

T = TypeVar("T")
Outcome = Literal["completed", "failed", "canceled"]

BEGIN_SHARE = 0.5
"""All begin within this share of the typical duration, the first at once, so that most run at the same time."""

BELOW_ONE = nextafter(1.0, 0.0)


@dataclass(frozen=True)
class Simulated:
    """One operation. amount: its units. begins_s: after the beginning of the simulation.

    duration_s: of the whole work; ends_s: after its own beginning, when it completes, fails, or is to be cancelled.
    every_s: between two reports.
    """

    kind: Kind
    name: str
    amount: int
    course: Course
    begins_s: float
    duration_s: float
    ends_s: float
    every_s: float
    outcome: Outcome
    fault: Fault | None

    @cached_property
    def leaves(self) -> list[Leaf]:
        """What it does, one after the other."""
        return leaves(self.kind.parts(self.amount))


@dataclass(frozen=True, slots=True)
class Position:
    """Where an operation stands. share: 0–1 of the whole; leaf: which one, and within: 0–1 of it. done: units."""

    share: float
    leaf: int
    within: float
    done: int
    message: str
    details: dict[str, Any]


def plan(
    rng: Random, operations: int, *, duration_s: float, fail_share: float, cancel_share: float
) -> tuple[Simulated, ...]:
    """So many operations, by their beginnings. duration_s: typical of one. fail_share, cancel_share: of them, 0–1.

    Kinds are as frequent as each other, and shares are kept, up to one operation: twenty are not left to chance.
    """
    kinds, outcomes = shuffled(rng, operations), shuffled(rng, operations)
    # One for all: places at equal distances, so that each share gets its number, rounded up or down.
    offset = rng.random()
    made = [
        _simulated(
            rng,
            i + 1,
            kind=KINDS[kinds[i] % len(KINDS)],
            outcome=_outcome((outcomes[i] + offset) / operations, fail_share, cancel_share),
            duration_s=duration_s,
        )
        for i in range(operations)
    ]
    first_s = min((one.begins_s for one in made), default=0.0)
    made = [replace(one, begins_s=one.begins_s - first_s) for one in made]
    return tuple(sorted(made, key=lambda one: one.begins_s))


def _outcome(place: float, fail_share: float, cancel_share: float) -> Outcome:
    """place: 0–1; the failing come first, then those to be cancelled."""
    # Rounded up to 1 it would be behind even those that all fail.
    place = min(place, BELOW_ONE)
    if place < fail_share:
        return "failed"
    return "canceled" if place < fail_share + cancel_share else "completed"


def _simulated(rng: Random, number: int, *, kind: Kind, outcome: Outcome, duration_s: float) -> Simulated:
    least, most = kind.amount
    takes_s = duration_s * stretch(rng)
    # Drawn for all of them: how one ends does not change the others.
    ends_share, fault = 0.15 + 0.7 * rng.random(), _one_of(rng, kind.faults)
    return Simulated(
        kind=kind,
        name=f"{_one_of(rng, kind.titles)} #{number}",
        amount=least + int(rng.random() * (most - least + 1)),
        course=_one_of(rng, kind.courses)(rng),
        begins_s=BEGIN_SHARE * duration_s * rng.random(),
        duration_s=takes_s,
        ends_s=takes_s if outcome == "completed" else takes_s * ends_share,
        every_s=0.05 + 0.2 * rng.random(),
        outcome=outcome,
        fault=fault if outcome == "failed" else None,
    )


def _one_of(rng: Random, choices: tuple[T, ...]) -> T:
    return choices[int(rng.random() * len(choices))]


def position(one: Simulated, elapsed_s: float) -> Position:
    """Where it stands so long after its beginning. What is to be cancelled works on until it hears of it."""
    until_s = one.ends_s if one.outcome == "failed" else one.duration_s
    share = along(one.course, min(elapsed_s, until_s) / one.duration_s)
    leaf = next((i for i, part in enumerate(one.leaves) if share < part.end), len(one.leaves) - 1)
    part = one.leaves[leaf]
    within = min(1.0, max(0.0, (share - part.begin) / (part.end - part.begin)))
    done = int(share * one.amount)
    return Position(share, leaf, within, done, one.kind.message(done, one.amount), one.kind.details(done, one.amount))
