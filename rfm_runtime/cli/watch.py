"""`rfm-runtime watch`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_runtime.cli import completion
from rfm_runtime.cli.common import (
    JsonOption,
    RuntimeDirOption,
    client,
    console,
    find,
    interruptible,
    print_json,
    reader_gone,
    state_text,
)
from rfm_runtime.cli.status import HEALTH_COLOURS
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.core.text import duration, fault, printable, short_ids, shortened
from rfm_runtime.errors import OperationCanceled, OperationFailedError
from rfm_runtime.protocol.messages import Live, OperationList, Throttled
from rfm_runtime.protocol.operation import (
    TERMINAL_STATES,
    ErrorInfo,
    Operation,
    OperationEvent,
    OperationState,
    ProgressUpdate,
)
from rfm_runtime.protocol.resources import Health, Resources
from rfm_runtime.protocol.wire import type_of

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live as LiveDisplay
    from rich.text import Text

__all__ = ["FINISHED_SHOWN", "WIDE", "Connection", "Lines", "chosen", "watch"]

EXIT_CODES: dict[OperationState, int] = {
    "completed": 0,
    "failed": OperationFailedError.exit_code,
    "canceled": OperationCanceled.exit_code,
}

FINISHED_SHOWN = 10
FAILED_SHOWN = 3
"""Of these, in a line each: why."""

WIDE = 60
"""Below this many columns a row has no bar."""

Notice = OperationEvent | ProgressUpdate | OperationList | Live | Resources | Throttled


def watch(
    operation: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Only this one, until its outcome.", autocompletion=completion.operations),
    ] = None,
    as_json: JsonOption = False,
    events: Annotated[bool, typer.Option("--events", help="Events only, no progress.")] = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Show everything that happens, live.

    First the list, then events and progress. With an ID it ends with the operation's outcome, and its exit code says
    which: 0 completed, 7 failed, 130 cancelled.
    """
    connection = Connection()
    with client(runtime_dir, on_state=connection.changed, metrics=operation is None and not events) as connected:
        wanted = find(connected, operation) if operation is not None else None
        screen = not as_json and sys.stdout.isatty() and not console().is_dumb_terminal
        display = _Json() if as_json else _Screen(connection) if screen else Lines()
        connection.aloud = not screen
        try:
            with display:
                outcome = _show(interruptible(connected.watch(), _still_read), display, wanted, events=events)
        finally:
            # That we go ourselves is no news.
            connection.aloud = False
    raise typer.Exit(EXIT_CODES[outcome] if outcome is not None else 0)


def _still_read() -> None:
    if reader_gone():
        raise BrokenPipeError


def _show(
    notices: Iterator[Notice], display: _Json | Lines | _Screen, wanted: str | None, *, events: bool
) -> OperationState | None:
    """Show what comes, until the outcome of what is wanted."""
    for notice in notices:
        shown = chosen(notice, wanted, events=events)
        if shown is not None:
            display.show(shown)
        outcome = _outcome(notice, wanted)
        if outcome is not None:
            return outcome
    return None


def chosen(notice: Notice, wanted: str | None, *, events: bool) -> Notice | None:
    """What of a notice is to be shown: of one operation alone, or without progress."""
    if events and isinstance(notice, ProgressUpdate):
        return None
    if wanted is None or isinstance(notice, Live | Throttled):
        return notice
    if isinstance(notice, Resources):
        return None
    if isinstance(notice, OperationList):
        mine = [operation for operation in notice.operations if operation.operation_id == wanted]
        return OperationList(operations=mine, more=notice.more, first=notice.first)
    return notice if notice.operation_id == wanted else None


def _outcome(notice: Notice, wanted: str | None) -> OperationState | None:
    states: list[OperationState] = []
    if isinstance(notice, OperationEvent) and notice.operation_id == wanted:
        states = [notice.state]
    elif isinstance(notice, OperationList):
        states = [operation.state for operation in notice.operations if operation.operation_id == wanted]
    return next((state for state in states if state in TERMINAL_STATES), None)


class Connection:
    """The connection in words. Told in the client's thread, read in others; one attribute, so no lock."""

    def __init__(self) -> None:
        self.trouble = ""
        self.aloud = False

    def changed(self, state: str, details: dict[str, Any]) -> None:
        """The client's `on_state`."""
        if state in ("unauthorised", "closed"):
            # It is not tried again: the error says why.
            self.trouble = ""
            return
        before = self.trouble
        self.trouble = "" if state == "live" else f"no connection, trying again: {details.get('reason', state)}"
        if self.aloud and bool(before) != bool(self.trouble):
            print(self.trouble or "connected again", file=sys.stderr, flush=True)


class _Json:
    """One JSON object a line: {"type", "data"} as in the protocol."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_exception: object) -> None:
        return

    def show(self, notice: Notice) -> None:
        print_json({"type": type_of(notice), "data": notice})


class Lines:
    """One line a notice, for pipes and logs; progress at every tenth percent."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._percent: dict[str, int] = {}
        self._listed: list[Operation] = []
        self._is_first = True
        # That it is well is no news.
        self._health = Health()

    def __enter__(self) -> None:
        return

    def __exit__(self, *exception: object) -> None:
        # The list alone may have told the outcome.
        if self._listed and exception[0] is None:
            self._say_listed()

    def show(self, notice: Notice) -> None:
        if isinstance(notice, OperationList):
            self._listed += notice.operations
        elif isinstance(notice, Live):
            self._say_listed()
        elif isinstance(notice, OperationEvent):
            if notice.operation is not None:
                self._names[notice.operation_id] = notice.operation.name
            why = _fault(notice.error) if notice.error is not None else notice.reason
            self._say(notice.operation_id, notice.type.removeprefix("operation_") + (f": {why}" if why else ""))
            if notice.state in TERMINAL_STATES:
                self._names.pop(notice.operation_id, None)
                self._percent.pop(notice.operation_id, None)
        elif isinstance(notice, ProgressUpdate):
            percent = int(notice.progress) // 10 * 10
            if percent > self._percent.get(notice.operation_id, -1):
                self._percent[notice.operation_id] = percent
                self._say(notice.operation_id, f"{notice.progress:.0f} %")
        elif isinstance(notice, Throttled):
            self._tell(_slow(notice) or "this watcher keeps up again: all progress is shown")
        elif notice.health != self._health:
            self._health = notice.health
            self._tell(f"the runtime is {'; '.join((notice.health.state, *notice.health.reasons))}")

    def _say_listed(self) -> None:
        """The newest of what is over, then what lives; after a gap, what has ended in it."""
        over = [o for o in self._listed if o.state in TERMINAL_STATES]
        if self._is_first:
            over = sorted(over, key=lambda o: o.ended_at_ms or 0)[-FINISHED_SHOWN:]
        else:
            over = [o for o in over if o.operation_id in self._names]
        living = [o for o in self._listed if o.state not in TERMINAL_STATES]
        self._names |= {o.operation_id: o.name for o in over + living}
        for operation in over + living:
            why = f": {_fault(operation.error)}" if operation.error is not None else ""
            self._say(operation.operation_id, f"is {operation.state}{why}")
        for operation in over:
            del self._names[operation.operation_id]
            self._percent.pop(operation.operation_id, None)
        self._listed, self._is_first = [], False

    def _say(self, operation_id: str, text: str) -> None:
        self._tell(f"{operation_id[-8:]} {self._names.get(operation_id, '')} {text}")

    def _tell(self, text: str) -> None:
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        print(printable(f"{now} {text}"), flush=True)


class _Screen:
    """A table that stays in place: active operations with bars, the newest finished below them."""

    def __init__(self, connection: Connection) -> None:
        from rfm_runtime.client.mirror import Mirror

        self._connection = connection
        self._mirror = Mirror()
        self._resources: Resources | None = None
        self._slow = ""
        self._console = console()
        self._notices = 0
        self._drawn: tuple[Any, ...] = ()
        self._display = _on_change(self._console, self._render, self._is_new)

    def __enter__(self) -> None:
        self._display.__enter__()

    def __exit__(self, *_exception: object) -> None:
        self._display.__exit__(None, None, None)

    def _is_new(self) -> bool:
        """Whether there is anything to draw; asked before each drawing, in the display's own thread."""
        before, self._drawn = self._drawn, (self._notices, self._connection.trouble, self._console.size)
        return before != self._drawn

    def show(self, notice: Notice) -> None:
        self._notices += 1
        if isinstance(notice, OperationList):
            if notice.first:
                self._mirror.operations = {}
            for operation in notice.operations:
                self._mirror.listed(operation)
        elif isinstance(notice, OperationEvent):
            self._mirror.event(notice)
        elif isinstance(notice, ProgressUpdate):
            self._mirror.progress(notice)
        elif isinstance(notice, Resources):
            self._resources = notice
        elif isinstance(notice, Throttled):
            self._slow = _slow(notice)
        elif isinstance(notice, Live):
            # Another connection begins at the full rate.
            self._slow = ""

    def _render(self) -> Group:
        """Called in the display's own thread."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        wide = self._console.width >= WIDE
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)
        table.add_column("id", no_wrap=True)
        table.add_column("name", ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column("state", no_wrap=True)
        if wide:
            table.add_column("progress", ratio=3, min_width=8)
        table.add_column("" if wide else "done", no_wrap=True, justify="right")
        if wide:
            table.add_column("left", no_wrap=True, min_width=8)
        # Copied in one step: the main thread goes on changing it.
        everything = list(self._mirror.operations.values())
        active = sorted((o for o in everything if o.state not in TERMINAL_STATES), key=lambda o: -o.created_at_ms)
        finished = sorted((o for o in everything if o.state in TERMINAL_STATES), key=lambda o: -(o.ended_at_ms or 0))
        shown = active + finished[:FINISHED_SHOWN]
        ids = short_ids([operation.operation_id for operation in shown])
        for operation in shown:
            percent, left = _progress(operation)
            table.add_row(
                ids[operation.operation_id],
                Text(printable(operation.name)),
                state_text(operation),
                *([ProgressBar(total=100.0, completed=percent)] if wide else []),
                f"{percent:.1f} %",
                *([left] if wide else []),
            )
        nothing = Text("nothing has happened yet; Ctrl-C ends the watch", style="dim")
        told = self._connection.trouble or self._slow
        trouble = [Text(printable(told), style="yellow")] if told else []
        badly = _badly(finished[:FINISHED_SHOWN], ids, self._console.width)
        machine = _machine(self._resources, self._console.width)
        return Group(table if shown else nothing, *badly, *trouble, *machine)


def _fault(error: ErrorInfo) -> str:
    """With what to do, where that is known."""
    return fault(error.severity, error.code, error.message) + (f" ({error.hint})" if error.hint else "")


def _badly(finished: Sequence[Operation], ids: Mapping[str, str], width: int) -> list[Text]:
    """What went wrong with the newest that failed."""
    from rich.text import Text

    failed = [(operation, operation.error) for operation in finished if operation.error is not None][:FAILED_SHOWN]
    return [
        Text(shortened(printable(f"{ids[operation.operation_id]}  {_fault(error)}"), width), style="red")
        for operation, error in failed
    ]


def _slow(told: Throttled) -> str:
    """In words; "" once it is over."""
    if told.max_hz is None or told.hz >= told.max_hz:
        return ""
    return f"this watcher or its line is slow: progress is shown {told.hz:g} times a second, events all"


def _on_change(console: Console, render: Callable[[], Group], is_new: Callable[[], bool]) -> LiveDisplay:
    """Drawn ten times a second at most, and not at all while nothing is new: it may stand there for days."""
    from rich.live import Live

    class OnChange(Live):
        def refresh(self) -> None:
            if is_new():
                super().refresh()

    return OnChange(console=console, refresh_per_second=10, get_renderable=render)


def _machine(resources: Resources | None, width: int) -> list[Text]:
    """What the runtime uses, in a line; what is not well, in one more each."""
    from rich.text import Text

    if resources is None or not resources.reports:
        return []
    health = resources.health
    parts = []
    for report in resources.reports:
        process, below = report.process, report.process.children
        cpu, memory = process.cpu_percent + below.cpu_percent, process.memory_bytes + below.memory_bytes
        parts.append(f"{process.name} {cpu:.0f} % {size(memory)}")
    line = shortened(" · ".join([health.state, *parts]), width)
    told = [Text(printable(shortened(text, width)), style="yellow") for text in health.reasons]
    return [Text(line, style="dim" if health.state == "healthy" else HEALTH_COLOURS[health.state]), *told]


def _progress(operation: Operation) -> tuple[float, str]:
    latest = operation.latest
    if latest is None:
        return 0.0, ""
    eta = latest.eta_ms if operation.state not in TERMINAL_STATES else None
    return latest.progress, duration(eta.p50 / 1000) if eta is not None else ""
