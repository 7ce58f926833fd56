"""Run schedules, make failing ones small, write them down, replay them. Pure but for the files."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from rfm_runtime.testing.simulation.mutants import broken
from rfm_runtime.testing.simulation.rest import come_to_rest
from rfm_runtime.testing.simulation.schedule import Config, Schedule, Step, make
from rfm_runtime.testing.simulation.steps import carry_out
from rfm_runtime.testing.simulation.world import World

__all__ = ["Violation", "load", "narrated", "plain", "run", "run_seeds", "save", "shrink"]

SHRINK_RUNS = 3000
"""Histories that making one small may take: some ten seconds a hundred."""


class Violation(msgspec.Struct, frozen=True):
    """What does not hold. step: the number of the step after which, the number of steps for the end. rule: which."""

    schedule: Schedule
    step: int
    rule: str
    detail: str


def run(schedule: Schedule) -> Violation | None:
    """Carry out a history; what did not hold. Whatever a core raises is a violation as well."""
    done = 0
    try:
        world = World(schedule.config)
        for step in schedule.steps:
            carry_out(world, step)
            done += 1
        come_to_rest(world)
    except Exception as error:  # noqa: BLE001 - whatever a core raises is what is looked for
        return Violation(schedule, done, _rule(error), _detail(error))
    return None


def run_seeds(seeds: range, mutant: str | None = None) -> tuple[int, int, list[Violation]]:
    """(how many schedules, how many steps, what they violated), with a rule broken on purpose if one is named."""
    steps, found = 0, []
    with broken(mutant):
        for seed in seeds:
            schedule = make(seed)
            steps += len(schedule.steps)
            violation = run(schedule)
            if violation is not None:
                found.append(violation)
    return len(seeds), steps, found


def _rule(error: Exception) -> str:
    """What makes two failures the same: the first words, without what is different in each history."""
    return f"{type(error).__name__}: {str(error).partition(':')[0]}"


def _detail(error: Exception) -> str:
    places = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return f"{error}\n  at {' ← '.join(reversed(places[-4:]))}"


def shrink(violation: Violation, runs: int = SHRINK_RUNS) -> Violation:
    """The same violation by fewer steps: halves, quarters … single steps are left out while it stays."""
    smallest = [violation]
    for _, candidate in zip(range(runs), _smaller(lambda: smallest[-1]), strict=False):
        found = run(candidate)
        if found is not None and found.rule == violation.rule:
            smallest.append(found)
    return smallest[-1]


def _smaller(current: Callable[[], Violation]) -> Iterator[Schedule]:
    """Candidates, in an order that depends on what has become of the ones before."""
    first = current().schedule
    steps = first.steps[: current().step + 1]
    yield msgspec.structs.replace(first, steps=steps)
    size = max(1, len(steps) // 2)
    while True:
        position, before = 0, len(current().schedule.steps)
        while position < len(current().schedule.steps):
            known = current()
            kept = known.schedule.steps
            yield msgspec.structs.replace(known.schedule, steps=kept[:position] + kept[position + size :])
            if current() is known:
                position += size
        if size > 1:
            size //= 2
        elif len(current().schedule.steps) == before:
            break
    # Small numbers are easier to read: the first lane, one message.
    for position in range(len(current().schedule.steps)):
        for first_number in (True, False):
            known = current()
            kept = known.schedule.steps
            easier = kept[position]._replace(a=0) if first_number else kept[position]._replace(b=0)
            if easier != kept[position]:
                yield msgspec.structs.replace(known.schedule, steps=(*kept[:position], easier, *kept[position + 1 :]))


def narrated(schedule: Schedule) -> Iterator[str]:
    """A line a step, and how it ends."""
    yield f"seed {schedule.seed}, {len(schedule.steps)} steps, {schedule.config}"
    try:
        world = World(schedule.config, narrate=True)
        for number, step in enumerate(schedule.steps):
            yield f"{number + 1:4d}  {step.name:<12} {carry_out(world, step)}"
        yield "      everything is repaired, everybody cooperates"
        come_to_rest(world)
    except Exception as error:  # noqa: BLE001 - as in `run`
        yield f"      {type(error).__name__}: {_detail(error)}"
        return
    yield "      all invariants hold"


def save(folder: Path, violation: Violation) -> Path:
    """Write a schedule that fails down; `load` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed-{violation.schedule.seed}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(violation), indent=1))
    return path


def load(path: Path) -> Schedule:
    """The schedule in a file of `save`. Raises msgspec.DecodeError, OSError."""
    return msgspec.json.decode(path.read_bytes(), type=Violation).schedule


def plain(steps: Iterable[tuple[str, int, int]], config: Config | None = None) -> Schedule:
    """A schedule of these steps, from nobody's seed."""
    return Schedule(-1, config or Config(), tuple(Step(*step) for step in steps))
