"""`rfm-runtime watch`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, console, duration, find, print_json
from rfm_runtime.protocol.messages import Live, OperationList
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationEvent, ProgressUpdate
from rfm_runtime.protocol.wire import type_of

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["watch"]


def watch(
    operation: Annotated[str | None, typer.Argument(help="Only this one, until its outcome.")] = None,
    as_json: JsonOption = False,
    events: Annotated[bool, typer.Option("--events", help="Events only, no progress.")] = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Show everything that happens, live: first the list, then events and progress."""
    with client(runtime_dir) as connected:
        wanted = find(connected, operation) if operation is not None else None
        display = _Json() if as_json else _Screen() if sys.stdout.isatty() else _Lines()
        with display:
            for notice in connected.watch():
                if isinstance(notice, OperationEvent | ProgressUpdate):
                    if wanted is not None and notice.operation_id != wanted:
                        continue
                    if events and isinstance(notice, ProgressUpdate):
                        continue
                display.show(notice, wanted)
                if wanted is not None and _ended(notice, wanted):
                    return


def _ended(notice: object, wanted: str) -> bool:
    if isinstance(notice, OperationEvent):
        return notice.operation_id == wanted and notice.state in TERMINAL_STATES
    if isinstance(notice, OperationList):
        return any(o.operation_id == wanted and o.state in TERMINAL_STATES for o in notice.operations)
    return False


Shown = OperationEvent | ProgressUpdate | OperationList | Live


class _Json:
    """One JSON object a line: {"type", "data"} as in the protocol."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_exception: object) -> None:
        return

    def show(self, notice: Shown, wanted: str | None) -> None:
        del wanted
        print_json({"type": type_of(notice), "data": notice})


class _Lines:
    """One line a notice, for pipes and logs; progress at every tenth percent."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._percent: dict[str, int] = {}

    def __enter__(self) -> None:
        return

    def __exit__(self, *_exception: object) -> None:
        return

    def show(self, notice: Shown, wanted: str | None) -> None:
        if isinstance(notice, OperationList):
            for operation in notice.operations:
                self._names[operation.operation_id] = operation.name
                if wanted in (None, operation.operation_id):
                    self._say(operation.operation_id, f"is {operation.state}")
        elif isinstance(notice, OperationEvent):
            if notice.operation is not None:
                self._names[notice.operation_id] = notice.operation.name
            reason = f": {notice.error.message}" if notice.error is not None else ""
            self._say(notice.operation_id, notice.type.removeprefix("operation_") + reason)
        elif isinstance(notice, ProgressUpdate):
            percent = int(notice.progress) // 10 * 10
            if percent > self._percent.get(notice.operation_id, -1):
                self._percent[notice.operation_id] = percent
                self._say(notice.operation_id, f"{notice.progress:.0f} %")

    def _say(self, operation_id: str, text: str) -> None:
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        print(f"{now} {operation_id[-8:]} {self._names.get(operation_id, '')} {text}", flush=True)


class _Screen:
    """A table that stays in place: active operations with bars, the newest finished below them."""

    FINISHED_SHOWN = 10

    def __init__(self) -> None:
        from rich.live import Live as LiveDisplay

        self._operations: dict[str, Operation] = {}
        self._display = LiveDisplay(console=console(), refresh_per_second=10, get_renderable=self._render)

    def __enter__(self) -> None:
        self._display.__enter__()

    def __exit__(self, *_exception: object) -> None:
        self._display.__exit__(None, None, None)

    def show(self, notice: Shown, wanted: str | None) -> None:
        from rfm_runtime.client.mirror import Mirror

        del wanted
        mirror = Mirror()
        mirror.operations = self._operations
        if isinstance(notice, OperationList):
            if notice.first:
                self._operations.clear()
            for operation in notice.operations:
                mirror.listed(operation)
        elif isinstance(notice, OperationEvent):
            mirror.event(notice)
        elif isinstance(notice, ProgressUpdate):
            mirror.progress(notice)

    def _render(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        from rfm_runtime.cli.common import state_text

        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        for column, ratio in (("id", None), ("name", 2), ("state", None), ("progress", 3), ("", None), ("left", None)):
            table.add_column(column, ratio=ratio, no_wrap=True)
        everything = sorted(self._operations.values(), key=lambda o: -o.created_at_ms)
        active = [o for o in everything if o.state not in TERMINAL_STATES]
        finished = sorted((o for o in everything if o.state in TERMINAL_STATES), key=lambda o: -(o.ended_at_ms or 0))
        for operation in active + finished[: self.FINISHED_SHOWN]:
            latest = operation.latest
            percent = latest.progress if latest is not None else 0.0
            eta = latest.eta_ms if latest is not None and operation in active else None
            table.add_row(
                operation.operation_id[-8:],
                operation.name,
                state_text(operation),
                ProgressBar(total=100.0, completed=percent),
                f"{percent:.1f} %",
                duration(eta.p50 / 1000) if eta is not None else "",
            )
        if not everything:
            table.add_row("", "[dim]nothing has happened yet; Ctrl-C ends the watch[/dim]")
        return table
