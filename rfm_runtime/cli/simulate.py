"""`rfm-runtime simulate`."""

from __future__ import annotations

import dataclasses
import os
import random
import secrets
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, console, print_json, print_table, settings
from rfm_runtime.cli.text import Column
from rfm_runtime.cli.watch import WIDE, Connection
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import duration, printable
from rfm_runtime.errors import BadRequestError, InternalError, OperationCanceled, UnavailableError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Group

    from rfm_runtime.client.simulation import Simulation
    from rfm_runtime.core.simulation.plan import Simulated
    from rfm_runtime.core.simulation.verdict import Verdict

__all__ = ["simulate"]

SEEDS = 1_000_000
"""A random seed is short enough to be typed again."""

LOOK_S = 0.1

SHORTEST_S, LONGEST_S = 0.1, 86_400.0

DIFFERENCES_SHOWN = 10

COLUMNS = tuple(Column(title) for title in ("kind", "started", "completed", "failed", "cancelled", "lost", "doubled"))


def simulate(
    operations: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="How many operations.")] = 20,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=0, help="The same seed does the same; random without it.")
    ] = None,
    typical_s: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", help="Of one operation, typically.")
    ] = 10.0,
    at_once: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="At most so many at the same time; else all.")
    ] = None,
    fail: Annotated[float, typer.Option(metavar="PERCENT", help="Of the operations are to fail.")] = 2.0,
    cancel: Annotated[float, typer.Option(metavar="PERCENT", help="Of the operations are to be cancelled.")] = 3.0,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Report operations of several kinds, and check that the runtime tells of each what it was.

    They take their time, fail, and are cancelled as the seed says, and do no work. Ctrl-C cancels all of them, a second
    one quits at once. Exit code 1 if one is lost, doubled, or ended otherwise.
    """
    planned = _plan(operations, seed := secrets.randbelow(SEEDS) if seed is None else seed, typical_s, fail, cancel)
    from rfm_runtime.client.simulation import Simulation

    connection = Connection()
    _reported_to(runtime_dir)
    with client(runtime_dir, on_state=connection.changed) as connected:
        began_s = time.monotonic()
        try:
            with Simulation(connected, planned, at_once=at_once) as simulation:
                if not as_json:
                    _say(f"{counted(len(planned), 'operation')} of about {duration(typical_s)}, seed {seed}")
                stopped = _follow(simulation, connection, began_s)
                took_s = time.monotonic() - began_s
                verdict = _verdict(simulation, seed)
        finally:
            # That we go ourselves is no news.
            connection.aloud = False
    if as_json:
        print_json(
            {
                "seed": seed,
                "took_s": round(took_s, 3),
                **_document(simulation, verdict, interrupted=stopped is not None),
            }
        )
    else:
        _print(verdict)
    _conclude(simulation, verdict, seed, took_s, stopped=stopped, quiet=as_json)


def _reported_to(runtime_dir: str | None) -> None:
    """Have this program's reporters find the server where its client does: both look where the environment says."""
    if runtime_dir is not None:
        for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE"):
            os.environ.pop(name, None)
        os.environ["RFM_RUNTIME_DIR"] = settings(runtime_dir=runtime_dir).runtime_dir


def _plan(operations: int, seed: int, typical_s: float, fail: float, cancel: float) -> tuple[Simulated, ...]:
    from rfm_runtime.core.simulation.plan import plan

    # Asked in this way, since NaN is neither above nor below anything.
    if not SHORTEST_S <= typical_s <= LONGEST_S:
        raise BadRequestError(
            f"--duration is {typical_s:g}", hint=f"give seconds, from {SHORTEST_S:g} to {LONGEST_S:g}"
        )
    for option, percent in (("--fail", fail), ("--cancel", cancel)):
        if not 0.0 <= percent <= 100.0:
            raise BadRequestError(f"{option} is {percent:g}", hint="give a percentage, from 0 to 100")
    if fail + cancel > 100.0:
        raise BadRequestError(
            f"--fail and --cancel are {fail + cancel:g} % together", hint="let them be at most 100, the rest completes"
        )
    rng = random.Random(seed)
    return plan(rng, operations, duration_s=typical_s, fail_share=fail / 100, cancel_share=cancel / 100)


def _follow(simulation: Simulation, connection: Connection, began_s: float) -> int | None:
    """Show it until all have ended. Ctrl-C cancels, a second one quits; how many were running at the first one."""
    screen = sys.stderr.isatty() and not console(stderr=True).is_dumb_terminal
    connection.aloud = not screen
    try:
        with _screen(simulation, connection, began_s) if screen else nullcontext():
            _await_end(simulation)
        connection.aloud = True
        return None
    except KeyboardInterrupt:
        connection.aloud = True
        stopped = simulation.interrupt()
        _say(f"cancelling {stopped} operations; Ctrl-C again quits at once")
        _await_end(simulation)
        return stopped


def _await_end(simulation: Simulation) -> None:
    while not simulation.wait(LOOK_S):
        pass


def _say(text: str, style: str = "dim") -> None:
    console(stderr=True).print(text, style=style, markup=False)


def _screen(simulation: Simulation, connection: Connection, began_s: float) -> AbstractContextManager[Any]:
    """A table that stays in place, one row a kind, and goes when all have ended."""
    from rich.live import Live

    def shown() -> Group:
        return _picture(simulation, connection.trouble, time.monotonic() - began_s)

    return Live(console=console(stderr=True), refresh_per_second=10, get_renderable=shown, transient=True)


def _picture(simulation: Simulation, trouble: str, elapsed_s: float) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    wide = console(stderr=True).width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=wide)
    table.add_column("kind", no_wrap=True)
    table.add_column("running", no_wrap=True, justify="right")
    table.add_column("over", no_wrap=True, justify="right")
    if wide:
        table.add_column("progress", ratio=1, min_width=5)
    table.add_column("" if wide else "done", no_wrap=True, justify="right")
    rows = simulation.rows()
    for row in rows:
        percent = 100.0 * row.share
        bar = [ProgressBar(total=100.0, completed=percent)] if wide else []
        table.add_row(row.kind, str(row.running), f"{row.ended}/{row.planned}", *bar, f"{percent:.0f} %")
    over, planned = sum(row.ended for row in rows), sum(row.planned for row in rows)
    line = f"{over} of {planned} are over, {sum(row.running for row in rows)} running, {duration(elapsed_s)}"
    return Group(table, Text(printable(trouble), style="yellow") if trouble else Text(line, style="dim"))


def _verdict(simulation: Simulation, seed: int) -> Verdict:
    try:
        return simulation.verdict()
    except UnavailableError as error:
        raise UnavailableError(
            f"the runtime does not say how {simulation.begun} operations ended: {error.message}",
            hint=f"when it is back: `rfm-runtime ps --all`; the same again: --seed {seed}",
        ) from None


def _document(simulation: Simulation, verdict: Verdict, *, interrupted: bool) -> dict[str, Any]:
    return {
        "label": simulation.label,
        "interrupted": interrupted,
        "canceled_by_others": 0 if interrupted else simulation.steered,
        "agrees": not verdict.differences,
        "total": dataclasses.asdict(verdict.total),
        "kinds": {kind: dataclasses.asdict(tally) for kind, tally in verdict.kinds.items()},
        "differences": [dataclasses.asdict(one) for one in verdict.differences],
    }


def _print(verdict: Verdict) -> None:
    rows = []
    for kind, tally in (*verdict.kinds.items(), ("all", verdict.total)):
        counts = zip(COLUMNS[1:], dataclasses.astuple(tally), strict=True)
        rows.append([kind, *(str(count).rjust(len(column.title)) for column, count in counts)])
    print_table(COLUMNS, rows)


def _conclude(
    simulation: Simulation, verdict: Verdict, seed: int, took_s: float, *, stopped: int | None, quiet: bool
) -> None:
    """Say how it went, and end with the exit code for that."""
    for one in verdict.differences[:DIFFERENCES_SHOWN]:
        _say(printable(f"{one.operation_id} {one.kind} {one.name}: expected {one.expected}, {one.found}"), "red")
    if verdict.differences:
        raise InternalError(
            f"{len(verdict.differences)} of {simulation.begun} operations are not told as they were",
            hint=f"see `rfm-runtime logs`; the same again: --seed {seed}",
        )
    if stopped is not None:
        raise OperationCanceled(
            f"cancelled: {stopped} operations stopped, {simulation.left} never began",
            hint=f"the same again: --seed {seed}",
        )
    if not quiet:
        others = simulation.steered
        but = f", but for {others} that somebody else cancelled" if others else ""
        _say(f"all ended as planned{but}; {duration(took_s)}, again with --seed {seed}", "green")
