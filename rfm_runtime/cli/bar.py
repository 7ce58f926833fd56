"""The live display of one operation: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rfm_runtime.cli.common import console, interruptible
from rfm_runtime.core.text import number, printable, shortened, time_left

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

    from rfm_runtime.client.handle import Operation
    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.protocol.operation import ProgressUpdate

__all__ = ["Interval", "Message", "Rate", "details", "follow", "interruption"]

PLAIN_S = 2.0
"""Between two lines where there is no terminal; what is done sooner needs none."""

MESSAGE_S = 0.5
"""Until what an operation says of itself is a line there."""

TITLE_WIDTH = 16
BAR_WIDTH = 10
"""Of the bar at least."""


class Rate:
    """Iterations/s over the last measures."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self.per_s = 0.0

    def measured(self, update: ProgressUpdate) -> float:
        """The rate after this measure; measures within 0.2 s count as one."""
        if self._last is not None:
            elapsed_s = (update.measured_at_ms - self._last[0]) / 1000
            if elapsed_s < 0.2:
                return self.per_s
            # A tile that is computed again takes its iterations back.
            self.per_s = max(0.0, (update.iterations - self._last[1]) / elapsed_s)
        self._last = (update.measured_at_ms, update.iterations)
        return self.per_s


class Message:
    """What an operation says of itself before its work begins: said once, and not at all if it is over at once."""

    def __init__(self) -> None:
        self._text = ""
        self._since_s = 0.0
        self._said = ""

    def told(self, update: ProgressUpdate, now_s: float) -> bool:
        """Whether the update is such a message and nothing else."""
        before = bool(update.message) and update.progress == 0.0
        text = update.message if before else ""
        if text != self._text:
            self._text, self._since_s = text, now_s
        return before

    def due(self, now_s: float) -> str:
        """What is to be said now, "" for nothing."""
        if not self._text or self._text == self._said or now_s - self._since_s < MESSAGE_S:
            return ""
        self._said = self._text
        return printable(self._text)


class Interval:
    """Between two lines of progress, from when the work begins: what was said before that says why there is none."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s

    def is_over(self, update: ProgressUpdate, now_s: float) -> bool:
        """Whether a line is due with this update; then the next interval begins."""
        begun = update.progress > 0.0 or update.iterations > 0
        if begun and now_s - self._since_s < PLAIN_S:
            return False
        self._since_s = now_s
        return begun


def details(update: ProgressUpdate, per_s: float, room: int) -> str:
    """What is told beside the bar in `room` characters: the owner's own words if there are any, else time left, then
    tiles, then speed, as far as they fit.
    """
    if update.message:
        return shortened(printable(update.message), room)
    tiles = f"{update.tiles.done}/{update.tiles.total} tiles" if update.tiles is not None else ""
    speed = f"{number(per_s)} it/s" if per_s > 0 else ""
    left = ""
    if update.eta_ms is not None:
        left = time_left(update.eta_ms.p50 / 1000, update.eta_ms.p90 / 1000)
    for parts in ((tiles, speed, left), (tiles, left), (left,), (tiles,)):
        text = ", ".join(part for part in parts if part)
        if text and len(text) <= room:
            return text
    return "" if tiles or left else shortened(printable(update.step), room)


def interruption(link: str, state: str, *, stale: bool) -> str:
    """Why nothing seems to happen, "" if it does."""
    if link not in ("live", "closed"):
        return "connection lost, trying again"
    if state in ("pending", "queued", "paused", "cancelling"):
        return state
    return "engine silent" if stale else ""


def follow(client: Client, operation: Operation) -> None:
    """Show progress until the outcome."""
    if sys.stderr.isatty() and not console(stderr=True).is_dumb_terminal:
        _bar(client, operation)
    else:
        _lines(client, operation)


def _bar(client: Client, operation: Operation) -> None:
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    out = console(stderr=True)
    info = operation.info
    title = shortened(printable(info.name) if info is not None else "render", TITLE_WIDTH)
    room = out.width - len(title) - BAR_WIDTH - len("100.0 %") - 3
    rate = Rate()

    class Details(ProgressColumn):
        """Asked at every refresh: a lost connection or a pause is seen without a measure."""

        def render(self, task: Task) -> Text:
            stale = operation.info is not None and operation.info.stale
            trouble = interruption(client.state, operation.state, stale=stale)
            if trouble:
                return Text(shortened(trouble, room), style="yellow")
            return Text(task.description, style="dim")

    with Progress(
        TextColumn("{task.fields[title]}", style="bold", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=BAR_WIDTH)),
        TextColumn("{task.percentage:5.1f} %", table_column=Column(no_wrap=True)),
        Details(table_column=Column(no_wrap=True)),
        console=out,
        transient=True,
        expand=True,
        refresh_per_second=10,
    ) as progress:
        task = progress.add_task("", total=100.0, title=title)
        for update in interruptible(operation.progress()):
            text = details(update, rate.measured(update), room)
            progress.update(task, completed=update.progress, description=text)


def _lines(client: Client, operation: Operation) -> None:
    rate = Rate()
    interval = Interval(time.monotonic())
    lost = False
    message = Message()

    def look() -> None:
        nonlocal lost
        if lost != (client.state not in ("live", "closed")):
            lost = not lost
            print("connection lost, trying again" if lost else "connected again", file=sys.stderr, flush=True)
        if text := message.due(time.monotonic()):
            print(text, file=sys.stderr, flush=True)

    for update in interruptible(operation.progress(), look):
        now_s = time.monotonic()
        message.told(update, now_s)
        text = details(update, rate.measured(update), 200)
        if interval.is_over(update, now_s):
            print(f"{update.progress:5.1f} %  {text}", file=sys.stderr, flush=True)
