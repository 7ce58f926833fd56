"""Local bars in a notebook: below each cell that shows any, one text, written anew where it stands. No widgets.

In the background thread alone, but for `_cell_ended`, which IPython calls in the thread of its cells.
"""

from __future__ import annotations

import math
import secrets
import sys
from typing import Any

from rfm_runtime.client.reporting.session import session

__all__ = ["WIDTH", "Cell", "Notebook", "kernel_shell"]

WIDTH = 100
"""Characters a line, which most pages have."""

KEPT = 20
"""Bars that have ended below one cell; of more, the last."""


def kernel_shell() -> Any | None:
    """IPython's shell in the kernel of a notebook, also in a child that was forked from it; None elsewhere."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    kernel = getattr(shell, "kernel", None)
    return None if kernel is None else shell


class Cell:
    """What stands below one cell: bars that have ended, then those that live."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._display_id = f"rfm-{secrets.token_hex(8)}"
        self._kept: list[str] = []
        self._left_out = 0
        self._shown: str | None = None

    def keep(self, lines: list[str]) -> None:
        """The last state of a bar."""
        self._kept += lines
        self._left_out += max(0, len(self._kept) - KEPT)
        del self._kept[:-KEPT]

    def show(self, living: list[str]) -> None:
        """Below what is kept. The page is told only of changes."""
        before = [f"({self._left_out} more before)"] if self._left_out else []
        text = "\n".join(line.rstrip() for line in (*before, *self._kept, *living))
        if text != (self._shown or ""):
            update = self._shown is not None
            self._shown = text
            self._shell.display_pub.publish(
                data={"text/plain": text}, metadata={}, transient={"display_id": self._display_id}, update=update
            )


class Notebook:
    """The cells of a kernel that show bars."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cells: dict[str, Cell] = {}
        shell.events.register("post_run_cell", self._cell_ended)

    def cell(self) -> Cell:
        """The one that runs, or ran last: what is shown first stands there."""
        name = self._name()
        if name not in self._cells:
            self._cells[name] = Cell(self._shell)
        return self._cells[name]

    def cells(self) -> list[Cell]:
        """All that may change still."""
        return list(self._cells.values())

    def forget(self, cell: Cell) -> None:
        """None of its bars lives, so only the one that runs is still needed."""
        for name, other in list(self._cells.items()):
            if other is cell and name != self._name():
                del self._cells[name]

    def _name(self) -> str:
        """What asked for its execution."""
        parent: Any = self._shell.get_parent()
        return str(parent.get("header", {}).get("msg_id", ""))

    def _cell_ended(self, result: Any) -> None:
        """To whoever wrote the cell it is a program: loops that it left ended with it, of whatever it died of. What
        is shown after that may come too late to be saved.
        """
        session().decide(math.inf, getattr(result, "error_in_exec", None))
        if self._name() in self._cells:
            session()._await_turns(2)
