"""A report as bytes: an HTML page, CSV with a line for each operation, or JSON with everything."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import Final, Literal, get_args

import msgspec

from rfm_runtime.core.pages.period import period_page
from rfm_runtime.core.pages.single import operation_page
from rfm_runtime.core.pages.words import Local
from rfm_runtime.protocol.figures import Line, PeriodReport, Report

__all__ = ["COLUMNS", "FORMATS", "Cell", "Format", "cells", "csv_lines", "utc", "written"]

Format = Literal["html", "csv", "json"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

COLUMNS = (
    *("operation_id", "kind", "name", "owner", "state"),
    *("submitted_at", "started_at", "ended_at", "waiting_s", "running_s"),
    *("cpu_s", "iterations", "done", "total", "unit"),
    *("priority", "attempts", "parent_id", "labels", "error_code", "error_severity", "error_message"),
)
"""Of the CSV. Moments are ISO 8601 in UTC; labels are JSON."""

FORMULA = (
    *("=", "+", "-", "@", "\t", "\r", "\n"),
    *("\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}"),
    *("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}"),
)
"""A cell that begins so is computed by a spreadsheet, which can run programs."""

Cell = str | int | float | None


def written(report: Report, form: Format, local: Local) -> bytes:
    """The report in a format. local: of the page's times."""
    match form:
        case "json":
            return msgspec.json.encode(report) + b"\n"
        case "csv":
            lines = report.operations if isinstance(report, PeriodReport) else (report.operation,)
            return _csv(lines)
        case "html":
            page = period_page(report, local) if isinstance(report, PeriodReport) else operation_page(report, local)
            return page.markup.encode()


def _csv(lines: tuple[Line, ...]) -> bytes:
    return b"".join(csv_lines(COLUMNS, map(cells, lines)))


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """RFC 4180, a row at a time; a spreadsheet computes nothing of it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    for row in itertools.chain([columns], rows):
        writer.writerow([_harmless(cell) for cell in row])
        yield out.getvalue().encode(errors="replace")
        out.seek(0)
        out.truncate()


def cells(line: Line) -> tuple[Cell, ...]:
    """Of one operation, in the order of COLUMNS."""
    return (
        *(line.operation_id, line.kind, line.name, line.owner, line.state),
        *(utc(line.created_at_ms), utc(line.started_at_ms), utc(line.ended_at_ms)),
        *(line.waiting_ms / 1000, None if line.running_ms is None else line.running_ms / 1000),
        *(line.cpu_s, line.iterations, line.done, line.total, line.unit),
        *(line.priority, line.attempts, line.parent_id),
        msgspec.json.encode(line.labels).decode() if line.labels else None,
        *(line.error_code, line.error_severity, line.error_message),
    )


def _harmless(cell: Cell) -> Cell:
    """Text that a spreadsheet would take for a formula begins with an apostrophe, unless it is a number."""
    if isinstance(cell, str) and cell.startswith(FORMULA) and not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", cell):
        return f"'{cell}"
    return cell


def utc(at_ms: int | None) -> str | None:
    """A moment as the CSV has it."""
    if at_ms is None:
        return None
    return Local(UTC).at(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
