"""The live display of one operation: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rfm_runtime.cli.common import console, duration, number

if TYPE_CHECKING:
    from rfm_runtime.client.handle import Operation
    from rfm_runtime.protocol.operation import ProgressUpdate

__all__ = ["follow"]

PLAIN_S = 2.0
"""Between two lines where there is no terminal."""


class _Rate:
    """Iterations/s over the last measures."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self.per_s = 0.0

    def measured(self, update: ProgressUpdate) -> float:
        if self._last is not None:
            elapsed_s = (update.measured_at_ms - self._last[0]) / 1000
            if elapsed_s < 0.2:
                return self.per_s
            self.per_s = (update.iterations - self._last[1]) / elapsed_s
        self._last = (update.measured_at_ms, update.iterations)
        return self.per_s


def follow(operation: Operation) -> None:
    """Show progress until the outcome."""
    if sys.stderr.isatty():
        _bar(operation)
    else:
        _lines(operation)


def _describe(update: ProgressUpdate, rate: _Rate) -> str:
    parts = []
    if update.tiles is not None:
        parts.append(f"{update.tiles.done}/{update.tiles.total} tiles")
    speed = rate.measured(update)
    if speed > 0:
        parts.append(f"{number(speed)} it/s")
    if update.eta_ms is not None:
        p50, p90 = update.eta_ms.p50 / 1000, update.eta_ms.p90 / 1000
        parts.append(f"{duration(p50)} left" if p90 < 1.2 * p50 + 0.5 else f"{duration(p50)}–{duration(p90)} left")
    if update.stale:
        parts.append("engine silent")
    if not parts:
        parts.append(update.step)
    return ", ".join(parts)


def _bar(operation: Operation) -> None:
    from rich.progress import BarColumn, Progress, TextColumn

    rate = _Rate()
    with Progress(
        TextColumn("[bold]{task.fields[title]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:5.1f} %"),
        TextColumn("[dim]{task.description}", table_column=None),
        console=console(stderr=True),
        transient=True,
        expand=True,
        refresh_per_second=20,
    ) as progress:
        title = operation.info.name if operation.info is not None else "render"
        task = progress.add_task("waiting", total=100.0, title=title)
        for update in operation.progress():
            progress.update(task, completed=update.progress, description=_describe(update, rate))


def _lines(operation: Operation) -> None:
    rate = _Rate()
    said_s = float("-inf")
    for update in operation.progress():
        text = _describe(update, rate)
        now_s = time.monotonic()
        if now_s - said_s >= PLAIN_S:
            said_s = now_s
            print(f"{update.progress:5.1f} %  {text}", file=sys.stderr, flush=True)
