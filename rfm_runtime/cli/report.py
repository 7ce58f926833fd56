"""`rfm-runtime report`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from rfm_runtime.cli import completion
from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, find, output_file, print_json
from rfm_runtime.cli.text import period
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError, SetupError
from rfm_runtime.protocol.history import PerformanceReply
from rfm_runtime.protocol.operation import Operation, OperationFilter

if TYPE_CHECKING:
    from rfm_runtime.core.pages.formats import Format
    from rfm_runtime.protocol.figures import Report

__all__ = ["Past", "about", "format_of", "report", "report_of_period"]

STDOUT = Path("-")


class Past(Protocol):
    """What a client can be asked of operations that were."""

    def history(
        self, *, since_ms: int, until_ms: int | None, kinds: Sequence[str] | None, owner: str | None
    ) -> list[Operation]: ...

    def performance(self, operation_id: str) -> PerformanceReply: ...


def report(
    operation: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="One operation, or its end; without it, all of a period.",
            autocompletion=completion.operations,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="From when on: 2d, 12h, 30min (so long ago), 2025-05-04T12:30."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Until when; now without it.")] = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Only of this kind; repeatable.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="USER", help="Only of this user.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output.")
    ] = Path("report.html"),
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="html, csv or json; by FILE's suffix without it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Write a report of the last 24 hours, of a period or of one operation: a page, a table or JSON."""
    from rfm_runtime.core.pages.formats import written
    from rfm_runtime.core.pages.words import Local
    from rfm_runtime.core.reports.single import operation_report

    if operation is not None and (since or until or kind or owner):
        raise BadRequestError(
            "a report is of one operation or of a period", hint="leave out the ID, or --since, --until, --kind, --owner"
        )
    if output == STDOUT and as_json:
        raise BadRequestError(
            "--json and -o - would both print", hint="leave out --json; `--format json` is the report itself as JSON"
        )
    chosen = format_of(output, form)
    now_ms = time.time_ns() // 1_000_000
    span = period(since, until, now_ms)
    target = output if output == STDOUT else output_file(output, force=force, runtime_dir=runtime_dir)
    with client(runtime_dir) as connected:
        made: Report
        if operation is None:
            made = report_of_period(connected, span, kind, owner, now_ms)
        else:
            made = operation_report(
                connected.performance(find(connected, operation)), now_ms=time.time_ns() // 1_000_000
            )
    content = written(made, chosen, Local())
    if target == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    else:
        _write(target, content, force=force)
    if as_json:
        print_json({"file": str(target), "format": chosen, "size_bytes": len(content), **_summary(made)})
    else:
        typer.echo(f"{output}: {about(made)}", err=target == STDOUT)


def format_of(output: Path, form: str | None) -> Format:
    """What `--format` says, or the file's suffix; a page where neither does. Raises BadRequestError."""
    from rfm_runtime.core.pages.formats import FORMATS

    wanted = form.lower() if form is not None else output.suffix.removeprefix(".").lower() or "html"
    for one in FORMATS:
        if wanted == one:
            return one
    said = f"--format is {printable(form)!r}" if form is not None else f"{output} is no name of a report"
    raise BadRequestError(said, hint="name it .html, .csv or .json, or choose with --format html, csv or json")


def report_of_period(
    past: Past, span: tuple[int, int | None], kinds: Sequence[str] | None, owner: str | None, now_ms: int
) -> Report:
    """The report of what was submitted in a period, an open one up to now."""
    from rfm_runtime.core.pages.words import Local
    from rfm_runtime.core.reports.period import filters_of, period_report

    since_ms, until_ms = span
    found = past.history(since_ms=since_ms, until_ms=until_ms, kinds=kinds or None, owner=owner)
    return period_report(
        found,
        since_ms=since_ms,
        until_ms=now_ms if until_ms is None else until_ms,
        now_ms=now_ms,
        offset_ms=Local().offset_ms(since_ms),
        filters=filters_of(OperationFilter(kinds=list(kinds) if kinds else None, owner=owner)),
    )


def about(made: Report) -> str:
    """What is in it, in a line."""
    from rfm_runtime.core.pages.words import count, length, outcomes, span, state_word
    from rfm_runtime.protocol.figures import PeriodReport

    if isinstance(made, PeriodReport):
        tally, long = made.everything.tally, length(made.until_ms - made.since_ms)
        many = f"{count(tally.submitted)} operation{'s'[: tally.submitted > 1]}" if tally.submitted else "no operations"
        said = f"{many} of {long}" + (f", {outcomes(tally)}" if tally.submitted else "")
    else:
        one = made.operation
        ran = f"ran {span(one.running_ms)}" if one.running_ms is not None else "never started"
        said = f"{printable(one.name or one.kind)}, {state_word(one.state)}, {ran}"
    # In a page a figure keeps its unit; in a terminal it is for searching and copying.
    return said.replace("\N{NO-BREAK SPACE}", " ")


def _summary(made: Report) -> dict[str, Any]:
    from rfm_runtime.protocol.figures import PeriodReport

    if isinstance(made, PeriodReport):
        return {"since_ms": made.since_ms, "until_ms": made.until_ms, "operations": made.everything.tally}
    return {"operation_id": made.operation.operation_id, "state": made.operation.state}


def _write(target: Path, content: bytes, *, force: bool) -> None:
    from rfm_runtime.client.handle import write_file

    try:
        write_file(target, content, force=force)
    except SetupError as error:
        # It can be made again at any time; what the client says is kept would be a render's file.
        error.kept = None
        raise
