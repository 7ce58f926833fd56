"""What the details of an operation show beside its facts: curves, workers, tiles, parts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import duration, fault, number, printable
from rfm_runtime.protocol.crew import CrewUsage
from rfm_runtime.protocol.figures import OperationReport
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_ui.model.crew import worker_rows
from rfm_ui.model.lines import line

__all__ = ["Curve", "Tiles", "fault_of", "hands", "parts", "progress_curve", "rate_curve", "tiles_of", "workers"]


class Curve(NamedTuple):
    """points: (ms after the start, value). top: of the scale. said: what the scale and the end of it are."""

    points: list[tuple[float, float]]
    top: float
    said: str
    span: str


NOTHING = Curve([], 0.0, "", "")


class Tiles(NamedTuple):
    """done: of each tile, row by row, whether it is. said: how many are."""

    columns: int
    rows: int
    done: list[bool]
    said: str


def progress_curve(report: OperationReport) -> Curve:
    """How much was done when."""
    points = [(float(one.t_ms), one.done) for one in report.series]
    return _curve(points, report.operation.total or 0.0, report.operation.unit or "done", "")


def rate_curve(report: OperationReport) -> Curve:
    """How fast it went: between each two measures, at the later one."""
    points = [(float(one.t_ms), one.rate) for one in report.series if one.rate is not None]
    return _curve(points, 0.0, report.operation.unit or "units", "/s")


def _curve(points: list[tuple[float, float]], top: float, unit: str, per: str) -> Curve:
    top = max([top, *(value for _t_ms, value in points)], default=0.0)
    if len(points) < 2 or top <= 0.0:
        return NOTHING
    return Curve(points, top, f"{number(top)} {printable(unit)}{per}", duration((points[-1][0] - points[0][0]) / 1000))


def workers(report: OperationReport, *, ended: bool) -> list[tuple[str, str]]:
    """Who works on it, and how well they are used: (name, value)."""
    found = []
    last = report.series[-1] if report.series else None
    most = max((one.workers for one in report.series), default=0)
    # One may have had several parts in hand, one after the other.
    room = report.slots or most
    if last is not None and not ended and last.workers:
        of = f" of {report.slots}" if report.slots else ""
        found.append(("at work", f"{min(room, last.workers)}{of}"))
    elif most:
        found.append(("at work", f"{min(room, most)} at most"))
    if report.cores is not None and report.cores > 0.0:
        found.append(("cores", f"{report.cores:.3g} on average"))
    if report.efficiency is not None and report.efficiency > 0.0:
        found.append(
            ("used", f"{min(1.0, report.efficiency) * 100:.0f} % of the time of its {counted(report.slots, 'worker')}")
        )
    if report.iterations_per_s:
        found.append(("iterations", f"{number(report.iterations_per_s)}/s"))
    if report.deaths:
        found.append(("died", counted(report.deaths, "worker")))
    return found


def hands(crews: Sequence[CrewUsage], operation_id: str) -> list[tuple[str, str]]:
    """Which workers have a part of it in hand now, and which: (name, value)."""
    found = []
    for row in worker_rows(crews, {}):
        if row.operation_id == operation_id:
            process = f"process {row.pid}" if row.pid else ""
            found.append((row.name, ", ".join(part for part in (row.tile, row.cpu, process) if part)))
    return found


def tiles_of(operation: Operation) -> Tiles | None:
    """Which tiles of a render are done; None of what has none."""
    grid, latest = operation.grid, operation.latest
    if grid is None:
        return None
    count = grid.columns * grid.rows
    if operation.state == "completed":
        return Tiles(grid.columns, grid.rows, [True] * count, counted(count, "tile"))
    if latest is None or latest.tiles is None:
        return Tiles(grid.columns, grid.rows, [False] * count, f"0 of {counted(count, 'tile')}")
    bits = int.from_bytes(latest.tiles.committed, "little")
    digits = f"{bits:0{count}b}"[::-1][:count]
    return Tiles(
        grid.columns, grid.rows, [one == "1" for one in digits], f"{latest.tiles.done:,} of {counted(count, 'tile')}"
    )


def parts(operations: Iterable[Operation], now_ms: float) -> list[tuple[str, str]]:
    """The parts of an operation: (name, how far it is)."""
    found = []
    for one in operations:
        shown = line(one, now_ms)
        far = "" if shown.percent is None or one.state in TERMINAL_STATES else f", {shown.percent:.0f} %"
        found.append((shown.title, f"{shown.state}{far}"))
    return found


def fault_of(operation: Operation) -> tuple[str, str, str]:
    """What went wrong, what to do, and what was kept; "" where there is nothing to say."""
    error = operation.error
    if error is None:
        return "", "", ""
    message = "\n".join(printable(one) for one in error.message.splitlines())
    return fault(error.severity, error.code, message), printable(error.hint or ""), printable(error.kept or "")
