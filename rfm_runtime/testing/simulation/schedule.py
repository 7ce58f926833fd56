"""Schedules: what happens in a history, as a list of steps made from a seed. Pure.

A step is a name and two numbers whose meaning depends on the world they meet (*which lane*, *how many messages*), so
that any list of steps is a history: steps can be left out and what remains still runs, which is how a failing one is
made small.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import msgspec

__all__ = ["NAMES", "NUMBER_LIMIT", "Config", "Schedule", "Step", "make"]

NUMBER_LIMIT = 1024
LENGTHS = (20, 120)

WEIGHTS = {
    # What always goes on.
    "deliver": 24,
    "flow": 10,
    "write": 14,
    "tick": 16,
    "work": 12,
    "frame": 3,
    # What people and programs do.
    "submit": 5,
    "submit_again": 2,
    "cancel": 3,
    "pause": 2,
    "prioritise": 1,
    "connect": 4,
    "drop": 3,
    "begin": 3,
    "advance": 6,
    "end": 3,
    "leave": 1,
    # What goes wrong.
    "lose": 4,
    "repeat": 2,
    "swap": 2,
    "crash": 4,
    "start": 4,
    "replace": 1,
    "drain": 1,
    "freeze": 3,
    "thaw": 3,
    "cut": 2,
    "heal": 2,
    "disk": 2,
    "revoke": 1,
    "withdraw": 2,
    "rekey": 1,
    "uncertify": 1,
    "clock": 1,
}
"""How often each happens."""

NAMES = tuple(WEIGHTS)


class Step(NamedTuple):
    """One thing that happens; `a` mostly chooses whom, `b` how."""

    name: str
    a: int
    b: int


class Config(msgspec.Struct, frozen=True):
    """What a history is about: how much the broker remembers of events and of finished operations, and for how long a
    program elsewhere may be silent."""

    history_events: int = 1000
    finished_keep: int = 100
    lease_s: float = 40.0


class Schedule(msgspec.Struct, frozen=True):
    """A whole history. seed: where it comes from, for people."""

    seed: int
    config: Config
    steps: tuple[Step, ...]


def make(seed: int) -> Schedule:
    """The history of a seed. In each only some of what may go wrong does, so that the rest is seen by itself."""
    rng = random.Random(seed)
    faults = [name for name in NAMES[NAMES.index("lose") :] if rng.random() < 0.6]
    usual = NAMES[: NAMES.index("lose")]
    names = [*usual, *faults]
    weights = [WEIGHTS[name] for name in names]
    count = rng.randint(*LENGTHS)
    steps = tuple(
        Step(name, rng.randrange(NUMBER_LIMIT), rng.randrange(NUMBER_LIMIT))
        for name in rng.choices(names, weights, k=count)
    )
    config = Config(
        history_events=rng.choice([12, 40, 1000]),
        finished_keep=rng.choice([3, 100, 100]),
        lease_s=rng.choice([6.0, 40.0]),
    )
    return Schedule(seed, config, steps)
