"""`python -m rfm_runtime.testing.simulation`: tens of thousands of histories, and a failing one made small."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer

from rfm_runtime.testing.simulation.mutants import MUTANTS, broken
from rfm_runtime.testing.simulation.runner import Violation, load, narrated, run, run_seeds, save, shrink
from rfm_runtime.testing.simulation.schedule import Schedule, make

CHUNK = 100
"""Schedules of one task of a process: a second or two."""

SHOWN = 5
"""Failing schedules that are made small and shown; a broken rule fails in hundreds, all alike."""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None
)


@app.command("run")
def run_many(
    seeds: Annotated[int, typer.Option(min=1, help="How many histories.")] = 50_000,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core.")] = 0,
    out: Annotated[Path, typer.Option(help="Where failing histories are written, made small.")] = Path(
        "out/simulation"
    ),
    mutant: Annotated[str | None, typer.Option(help="Run with this rule broken on purpose.")] = None,
) -> None:
    """Run histories; exit code 1 if an invariant did not hold in one."""
    if mutant is not None and mutant not in MUTANTS:
        sys.exit(f"there is no mutant {mutant!r}; there are: {', '.join(MUTANTS)}")
    began_s = time.monotonic()
    steps, violations = 0, []
    for done, more, found in _everywhere(range(first, first + seeds), jobs or len(os.sched_getaffinity(0)), mutant):
        steps += more
        violations += found
        if sys.stderr.isatty():
            rate = done / (time.monotonic() - began_s)
            print(f"\r{done:,} of {seeds:,}, {rate:,.0f}/s, {len(violations)} violations", end="", file=sys.stderr)
    took_s = time.monotonic() - began_s
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    print(
        f"{seeds:,} schedules (seeds {first:,} to {first + seeds - 1:,}), {steps:,} steps, {took_s:.0f} s, "
        f"{seeds / took_s:,.0f} schedules/s: {len(violations)} violations"
    )
    for seed in sorted(violation.schedule.seed for violation in violations)[:SHOWN]:
        _show(next(v for v in violations if v.schedule.seed == seed), out, mutant)
    if violations:
        raise typer.Exit(1)


def _everywhere(seeds: range, jobs: int, mutant: str | None) -> Iterator[tuple[int, int, list[Violation]]]:
    """(schedules done, steps of some more, what they violated), as it comes."""
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    done = 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
        for future in as_completed([pool.submit(run_seeds, chunk, mutant) for chunk in chunks]):
            count, steps, found = future.result()
            done += count
            yield done, steps, found


def _show(violation: Violation, out: Path, mutant: str | None) -> None:
    with broken(mutant):
        smallest = shrink(violation)
        print(f"\n{violation.rule}: {len(violation.schedule.steps)} steps, {len(smallest.schedule.steps)} are enough")
        for line in narrated(smallest.schedule):
            print(line)
    print(f"again: python -m rfm_runtime.testing.simulation replay {save(out, smallest)}")


@app.command()
def replay(
    what: Annotated[str, typer.Argument(metavar="SEED|FILE", help="A seed, or a file that `run` has written.")],
    mutant: Annotated[str | None, typer.Option(help="With this rule broken on purpose.")] = None,
) -> None:
    """Tell a history step by step; exit code 1 if an invariant does not hold in it."""
    schedule: Schedule = make(int(what)) if what.isdecimal() else load(Path(what))
    with broken(mutant):
        for line in narrated(schedule):
            print(line)
        if run(schedule) is not None:
            raise typer.Exit(1)


@app.command()
def mutants(
    schedules: Annotated[int, typer.Option(min=1, help="At most so many for each.")] = 1000,
) -> None:
    """Break each rule on purpose; exit code 1 if one is not found."""
    missed = False
    for name in MUTANTS:
        with broken(name):
            found = next((v for seed in range(schedules) if (v := run(make(seed))) is not None), None)
        missed |= found is None
        said = "NOT FOUND" if found is None else f"found by schedule {found.schedule.seed + 1}: {found.rule}"
        print(f"{name:<36} {said}")
    if missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
