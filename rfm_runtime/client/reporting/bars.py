"""Local bars: what a program shows of its operations where no runtime does. In the background thread alone.

In a terminal rich draws them; in a notebook they are lines of text below the cell; elsewhere nothing is shown.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from rfm_runtime.client.reporting.notebook import WIDTH, Cell, Notebook, kernel_shell
from rfm_runtime.client.reporting.session import Reported
from rfm_runtime.core.reporting.desk import End
from rfm_runtime.protocol.internal import OperationMeasure

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

__all__ = ["Bars", "describe", "printable"]

NAME_WIDTH = 24

DELAY_S = 0.5
"""What is done sooner needs no bar, and what a runtime knows of by then needs none either."""


class _Row:
    """What is shown of an operation, which it does not keep alive."""

    def __init__(self, operation: Reported, measure: OperationMeasure) -> None:
        self.name = printable(operation.name)
        self.bar = operation.bar
        self.leave = getattr(operation, "leave", True)
        self.measure = measure
        self.began_s = time.monotonic()
        self.ended: str | None = None
        self.stopped = False
        self.task: TaskID | None = None
        self.cell: Cell | None = None


class Bars:
    """Rows of what lives, and of what has ended since the display began."""

    def __init__(self, stands: Callable[[str, bool], None] = lambda _operation_id, _there: None) -> None:
        """stands: told which rows are drawn, and which are not any more."""
        self._stands = stands
        self._rows: dict[str, _Row] = {}
        self._progress: Progress | None = None
        shell = kernel_shell()
        self._notebook = None if shell is None else Notebook(shell)
        if self._has_display():
            # Now, while a fork waits for it: half an import would stay half an import in the child.
            for name in ("rich.console", "rich.progress", "rich.table", "rich.text"):
                import_module(name)

    def show(self, operation: Reported, measure: OperationMeasure) -> None:
        """It stands there."""
        row = self._rows.get(operation.operation_id)
        if row is None:
            if operation.bar is not False:
                self._rows[operation.operation_id] = _Row(operation, measure)
        else:
            row.measure = measure

    def end(self, operation: Reported, message: End) -> None:
        """It ended; its row stays if it is to, and if it was there."""
        row = self._rows.get(operation.operation_id)
        if row is None:
            return
        row.measure = message.measure
        row.ended = message.state
        if message.state == "completed" and message.measure.unit == "%":
            row.measure = msgspec.structs.replace(message.measure, done=100.0)
        if row.task is None:
            del self._rows[operation.operation_id]

    def draw(self, *, seen: bool) -> None:
        """Bring the display up to date. seen: whether a runtime shows it."""
        now_s = time.monotonic()
        for operation_id, row in list(self._rows.items()):
            wanted = row.bar or not seen
            if row.task is None and row.ended is None and wanted and now_s - row.began_s >= DELAY_S:
                self._begin(operation_id, row)
            elif row.task is not None and not wanted:
                self._remove(operation_id, row)
            if row.task is not None:
                self._update(row)
            if row.ended is not None:
                self._finish(operation_id, row)
        self._refresh()

    def close(self) -> None:
        """Leave what is to stay, and the terminal as it was. Idempotent."""
        for operation_id, row in list(self._rows.items()):
            if row.task is not None:
                self._update(row)
                self._finish(operation_id, row)
        self._refresh()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._rows.clear()

    def _refresh(self) -> None:
        if self._progress is None:
            return
        if self._notebook is None:
            self._progress.refresh()
            return
        for cell in self._notebook.cells():
            tasks = [task for task in self._progress.tasks if task.fields["row"].cell is cell]
            cell.show(self._lines(self._progress, tasks))
            if not tasks:
                self._notebook.forget(cell)

    def _lines(self, progress: Progress, tasks: list[Task]) -> list[str]:
        if not tasks:
            return []
        with progress.console.capture() as captured:
            progress.console.print(progress.make_tasks_table(tasks))
        return captured.get().splitlines()

    def _finish(self, operation_id: str, row: _Row) -> None:
        """Its last state, once, above what lives."""
        progress = self._progress
        if progress is not None and row.task is not None:
            if row.leave:
                tasks = [task for task in progress.tasks if task.id == row.task]
                if row.cell is None:
                    progress.console.print(progress.make_tasks_table(tasks))
                else:
                    row.cell.keep(self._lines(progress, tasks))
            progress.remove_task(row.task)
            progress.refresh()
        del self._rows[operation_id]
        self._stands(operation_id, False)

    def _begin(self, operation_id: str, row: _Row) -> None:
        progress = self._progress or self._make()
        if progress is None:
            return
        self._progress = progress
        row.cell = None if self._notebook is None else self._notebook.cell()
        name = row.name if len(row.name) <= NAME_WIDTH else row.name[: NAME_WIDTH - 1] + "…"
        self._stands(operation_id, self._notebook is None)
        row.task = progress.add_task(operation_id, total=row.measure.total, row=row, name=name)

    def _make(self) -> Progress | None:
        """A display, None where there is nobody to see it."""
        if not self._has_display():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.table import Column
        from rich.text import Text

        class Told(ProgressColumn):
            def render(self, task: Task) -> Text:
                row: _Row = task.fields["row"]
                text = describe(row.measure, task.speed, task.elapsed or 0.0)
                if row.ended not in (None, "completed"):
                    text = f"{row.ended}  {text}"
                return Text(printable(text), style="dim", no_wrap=True, overflow="ellipsis")

        class Quiet(Console):
            """The cursor stays: a program that is killed could not show it again."""

            def show_cursor(self, show: bool = True) -> bool:
                del show
                return False

        console = Quiet(stderr=True) if self._notebook is None else _page()
        if console.is_dumb_terminal:
            return None
        progress = Progress(
            TextColumn("{task.fields[name]}", markup=False, style="bold", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=5)),
            Told(table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
            console=console,
            auto_refresh=False,
            expand=True,
            # The program's output is its own: it may go to a file, and a forked child would inherit the detour.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        if self._notebook is None:
            progress.start()
        return progress

    def _has_display(self) -> bool:
        return self._notebook is not None or (sys.stderr is not None and sys.stderr.isatty())

    def _update(self, row: _Row) -> None:
        if self._progress is None or row.task is None:
            return
        self._progress.update(row.task, completed=row.measure.done, total=row.measure.total)
        if row.ended is not None and not row.stopped:
            row.stopped = True
            self._progress.stop_task(row.task)

    def _remove(self, operation_id: str, row: _Row) -> None:
        if self._progress is not None and row.task is not None:
            self._progress.remove_task(row.task)
        del self._rows[operation_id]


def printable(text: str) -> str:
    """On one line, and without anything that moves a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _page() -> Console:
    """Draws lines of plain text, for a notebook to show."""
    from rich.console import Console

    return Console(file=io.StringIO(), width=WIDTH, force_terminal=False, force_jupyter=False, color_system=None)


def describe(measure: OperationMeasure, rate: float | None, elapsed_s: float) -> str:
    """What stands beside a bar: how far, how long, how long still, how fast; then the step and the message."""
    parts = []
    if measure.unit == "%":
        parts.append(f"{min(measure.done, 100.0):.0f} %")
    elif measure.total is None:
        parts.append(f"{_count(measure.done)} {measure.unit}")
    else:
        parts.append(f"{_count(measure.done)}/{_count(measure.total)} {measure.unit}")
    clock = _clock(elapsed_s)
    if rate and measure.total is not None and measure.done < measure.total:
        clock += f" + {_clock((measure.total - measure.done) / rate)}"
    parts.append(clock)
    if rate and measure.unit != "%":
        parts.append(f"{_count(rate)} {measure.unit}/s")
    parts += [text for text in (measure.step, measure.message) if text]
    return "  ".join(parts)


def _count(value: float) -> str:
    if abs(value) >= 1e6:
        for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
            if abs(value) >= power:
                return f"{value / power:.3g}{letter}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
