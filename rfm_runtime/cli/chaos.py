"""`rfm-runtime chaos`."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_runtime.cli.common import JsonOption, console, output_file, print_json, print_table
from rfm_runtime.cli.text import Column
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import duration, printable
from rfm_runtime.errors import BadRequestError, InternalError, JournalError, OperationCanceled, SetupError, StartError

if TYPE_CHECKING:
    from rich.status import Status

    from rfm_runtime.testing.chaos.harness import Happened, Harness, Outcome, Sample
    from rfm_runtime.testing.chaos.plan import FaultKind, Planned

__all__ = ["chaos"]

SEEDS = 1_000_000
"""A random seed is short enough to be typed again."""

SHORTEST_S, LONGEST_S = 5.0, 86_400.0

DISK_BYTES, DISK_BYTES_PER_S, DISK_LIMIT_BYTES = 128 * 2**20, 2**20, 2 * 2**30
"""Of the small disk that is filled: room for journal, logs and pictures of so many seconds."""

VIOLATIONS_SHOWN = 20

ABOVE_LIMIT_BYTES = 60
"""Of the name of the folder for temporary files: a socket's whole path has 107 at most."""


def chaos(
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="How long faults happen.")] = 60.0,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=0, help="The same seed plans the same faults; random without.")
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS",
            help="Of kill, freeze, network, starve, memory, descriptors, clock, disk: with commas; all without it.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the timeline of faults and observations.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    show_plan: Annotated[bool, typer.Option("--plan", help="Print the faults of this seed, and do nothing.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep records, journal and logs also if all went well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a runtime of its own, harm it in every way, and check that nothing was lost or doubled.

    Submitters, reporting programs and watchers work meanwhile; an outside checker compares what each of them was told
    with the journal. A runtime that is already running is left alone. Exit code 1 if a promise was broken; records,
    journal and logs are then kept. Ctrl-C ends the faults: what ran so far is checked and written down; a second one
    quits at once.
    """
    chosen = _kinds(faults)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise BadRequestError(f"--seconds is {seconds:g}", hint=f"give seconds, from {SHORTEST_S:g} to {LONGEST_S:g}")
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    target = None if report is None else output_file(report, force=force, option="--report")
    from rfm_runtime.testing.chaos.plan import plan

    if show_plan:
        _print_plan(plan(seed, seconds, chosen), as_json=as_json)
        return
    folder = _folder()
    small_disk = kept = False
    try:
        small_disk = _small_disk(folder, chosen, seconds, wanted=faults is not None)
        planned = plan(seed, seconds, chosen)
        if not as_json:
            _say(f"{counted(len(planned), 'fault')} in {duration(seconds)}, seed {seed}: {', '.join(chosen)}")
        outcome = _run(folder, planned, seed, seconds, small_disk=small_disk, quiet=as_json)
        kept = keep or bool(outcome.verdict.violations)
    except (StartError, JournalError) as error:
        kept = True
        error.kept = f"its logs are in {folder}"
        raise
    finally:
        _leave(folder, small_disk=small_disk, kept=kept)
    if target is not None:
        _write_page(target, outcome, seed, seconds, force=force)
    if as_json:
        print_json(_document(outcome, seed, seconds, chosen, folder if kept else None))
    else:
        _print(outcome, len(planned), folder if kept else None, target)
    _conclude(outcome, seed, seconds, faults)


# --- what is to be done -------------------------------------------------------------------------


def _kinds(faults: str | None) -> tuple[FaultKind, ...]:
    from rfm_runtime.testing.chaos.plan import KINDS

    if faults is None:
        return KINDS
    wanted = {word.strip() for word in faults.split(",")}
    unknown = sorted(wanted - set(KINDS))
    if unknown:
        raise BadRequestError(
            f"--faults: there is no kind {', '.join(repr(printable(word)) for word in unknown)}",
            hint=f"choose from {', '.join(KINDS)}",
        )
    return tuple(kind for kind in KINDS if kind in wanted)


def _folder() -> Path:
    """Of the run, new and empty; sockets in it have names of limited length."""
    above = tempfile.gettempdir()
    if len(os.fsencode(above)) > ABOVE_LIMIT_BYTES:
        raise SetupError(f"{above} is too long a name for sockets in it", hint="choose another: TMPDIR=/tmp")
    return Path(tempfile.mkdtemp(prefix="rfm-chaos-"))


def _small_disk(folder: Path, chosen: tuple[FaultKind, ...], seconds: float, *, wanted: bool) -> bool:
    """Whether the runtime's state has a small disk of its own, which is to be filled; some may not have one."""
    from rfm_runtime.testing.chaos.disk import mount_small_disk

    if "disk" not in chosen:
        return False
    state = folder / "state"
    state.mkdir(mode=0o700)
    try:
        mount_small_disk(state, min(DISK_LIMIT_BYTES, DISK_BYTES + round(seconds * DISK_BYTES_PER_S)))
    except OSError as error:
        if wanted:
            raise SetupError(
                f"there can be no small disk to fill: {error.strerror}",
                hint="leave `disk` out of --faults, or run it as root (in a container with CAP_SYS_ADMIN)",
            ) from None
        # Still planned, so that a seed means the same everywhere.
        _say("no disk will be filled: that needs the right to mount one")
        return False
    return True


def _leave(folder: Path, *, small_disk: bool, kept: bool) -> None:
    """Nothing, or all of it in a folder of the real disk."""
    from rfm_runtime.testing.chaos.disk import unmount_small_disk

    state, rescued = folder / "state", folder / "state-kept"
    if small_disk:
        if kept:
            shutil.copytree(state, rescued, ignore=shutil.ignore_patterns("ballast"))
        unmount_small_disk(state)
        state.rmdir()
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    elif small_disk:
        rescued.rename(state)


def _run(
    folder: Path, planned: Sequence[Planned], seed: int, seconds: float, *, small_disk: bool, quiet: bool
) -> Outcome:
    from rfm_runtime.testing.chaos.harness import Harness

    screen = console(stderr=True)
    live = sys.stderr.isatty() and not screen.is_dumb_terminal and not quiet

    def run(line: _Line | None) -> Outcome:
        # The loop that it belongs to runs within `asyncio.run`, which ends it however that ends.
        async def to_its_end() -> Outcome:
            on_look = None if line is None else line.show
            harness = Harness(folder, planned, seed=seed, seconds=seconds, small_disk=small_disk, on_look=on_look)
            with _ctrl_c(harness, line):
                return await harness.run()

        try:
            return asyncio.run(to_its_end())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    if not live:
        return run(None)
    with screen.status("starting a runtime", spinner="dots") as status:
        return run(_Line(status, seconds))


@contextmanager
def _ctrl_c(harness: Harness, line: _Line | None) -> Iterator[None]:
    """The first one ends the faults, and what ran is checked; a second one, or one before anything ran, ends it all."""
    loop, work = asyncio.get_running_loop(), asyncio.current_task()

    def pressed() -> None:
        if harness.interrupt():
            if line is not None:
                line.interrupted = True
            _say("interrupted: what ran so far settles and is checked; Ctrl-C again quits at once, without a verdict")
        elif work is not None:
            work.cancel()

    loop.add_signal_handler(signal.SIGINT, pressed)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class _Line:
    """One line that says where the run is."""

    def __init__(self, status: Status, seconds: float) -> None:
        self._status = status
        self._seconds = seconds
        self.interrupted = False

    def show(self, sample: Sample, now: Sequence[Happened]) -> None:
        """Every second."""
        calm = "settling" if self.interrupted or sample.at_s > self._seconds else "calm"
        what = ", ".join(f"{one.planned.target} {one.planned.fault}" for one in now) or calm
        self._status.update(
            f"{duration(sample.at_s)} of {duration(self._seconds)}, {sample.accepted} submitted, "
            f"{sample.events} events: {what}"
        )


# --- what was -----------------------------------------------------------------------------------


def _print_plan(planned: Sequence[Planned], *, as_json: bool) -> None:
    if as_json:
        print_json([_planned(one) for one in planned])
        return
    for one in planned:
        typer.echo(one.line())


def _planned(one: Planned) -> dict[str, Any]:
    fields = {"at_s": one.at_s, "kind": one.kind, "target": one.target}
    return {**fields, "fault": str(one.fault), "lasts_s": one.lasts_s}


def _document(outcome: Outcome, seed: int, seconds: float, chosen: Sequence[str], kept: Path | None) -> dict[str, Any]:
    verdict = outcome.verdict
    return {
        "seed": seed,
        "seconds": seconds,
        "faults": list(chosen),
        "took_s": round(outcome.took_s, 3),
        "interrupted_s": outcome.interrupted_s,
        "settled_s": round(outcome.settled_s, 3),
        "operations": verdict.operations,
        "outcomes": dict(verdict.outcomes),
        "submitted": verdict.accepted,
        "reported": verdict.reported,
        "events": dict(verdict.events),
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "violations": [violation.line() for violation in verdict.violations],
        "happened": [
            {**_planned(one.planned), "began_s": one.began_s, "ended_s": one.ended_s, "note": one.note}
            for one in outcome.happened
        ],
        "kept": None if kept is None else str(kept),
    }


def _print(outcome: Outcome, planned: int, kept: Path | None, report: Path | None) -> None:
    verdict = outcome.verdict
    done = sum(not one.note.startswith("not done") for one in outcome.happened)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(verdict.outcomes.items()))
    if outcome.interrupted_s is not None:
        typer.echo(f"interrupted  after {duration(outcome.interrupted_s)}: what follows is of what ran until then")
    typer.echo(f"faults       {done} of {planned} planned, quiet {duration(outcome.settled_s)} after")
    typer.echo(f"operations   {verdict.operations}: {verdict.accepted} submitted, {verdict.reported} reported")
    typer.echo(f"outcomes     {counted}")
    print_table(
        (Column("watcher"), Column("events")),
        [(name, f"{count:,}") for name, count in verdict.events.items()],
    )
    typer.echo(f"lost {verdict.lost}, doubled {verdict.doubled}")
    for violation in verdict.violations[:VIOLATIONS_SHOWN]:
        typer.echo(f"  {printable(violation.line())}")
    if len(verdict.violations) > VIOLATIONS_SHOWN:
        typer.echo(f"  and {len(verdict.violations) - VIOLATIONS_SHOWN} more")
    if kept is not None:
        typer.echo(f"kept         {kept}")
    if report is not None:
        typer.echo(f"report       {report}")


def _write_page(target: Path, outcome: Outcome, seed: int, seconds: float, *, force: bool) -> None:
    from rfm_runtime.cli.pages.chaos import chaos_page
    from rfm_runtime.client.handle import write_file
    from rfm_runtime.core.pages.words import Local

    now_ms = time.time_ns() // 1_000_000
    page = chaos_page(outcome, seed=seed, seconds=seconds, local=Local(), now_ms=now_ms)
    write_file(target, page.markup.encode(), force=force)


def _conclude(outcome: Outcome, seed: int, seconds: float, faults: str | None) -> None:
    verdict = outcome.verdict
    if verdict.violations:
        of = f" --faults {faults}" if faults is not None else ""
        raise InternalError(
            f"promises were broken: {counted(len(verdict.violations), 'violation')}",
            hint=f"the same faults again: rfm-runtime chaos --seconds {seconds:g} --seed {seed}{of}",
        )
    if outcome.interrupted_s is not None:
        raise typer.Exit(OperationCanceled.exit_code)
    if not verdict.operations:
        raise InternalError("nothing was accepted in all that time", hint="give it more --seconds")


def _say(text: str) -> None:
    console(stderr=True).print(text, style="dim", markup=False)
