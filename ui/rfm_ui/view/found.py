"""Operations that somebody has asked for by a part of a chart: a list, and what is known of the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QModelIndex, Signal
from PySide6.QtWidgets import QAbstractItemView, QVBoxLayout, QWidget

from rfm_runtime.core.counts import counted
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.board import Board
from rfm_ui.view.operation_list import OperationList, OperationListModel
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label

__all__ = ["FoundPanel"]

MOST = 500
"""Of one part of a chart; the newest."""


class FoundPanel(QWidget):
    """chosen(Operation): somebody looks at one."""

    chosen = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._asked = 0
        self.board = Board()
        self.model = OperationListModel(self.board, self)
        self.told = Label()
        self.told.setWordWrap(True)
        self.list = OperationList(self.model)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setAccessibleName("Operations of the chosen part")
        self.list.selectionModel().currentChanged.connect(self._current)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.told)
        layout.addWidget(self.list, 1)
        self.setMinimumWidth(300)
        self.hide()

    def look_for(
        self, title: str, begin_ms: int, end_ms: int, but: Callable[[Operation], bool] | None = None, **filters: Any
    ) -> None:
        """Ask for the operations that were there in that time, and show them. but: leave out those."""
        self._asked += 1
        asked = self._asked
        self.told.setText(f"{title}: looking…")
        self.show()

        def told(found: Any, error: RfmError | None) -> None:
            if asked != self._asked:
                return
            if error is not None:
                self.told.setText(f"{title}: {error}")
                return
            self.show_operations(title, [one for one in found if but is None or not but(one)])

        self._session.ask(
            lambda client: client.history(since_ms=begin_ms, until_ms=end_ms, during=True, limit=MOST, **filters), told
        )

    def show_operations(self, title: str, found: list[Operation]) -> None:
        """These, the newest first."""
        self.board.clear()
        self.board.take({operation.operation_id: operation for operation in found})
        self.board.settle()
        most = f"the newest {MOST:,} operations" if len(found) == MOST else counted(len(found), "operation")
        self.told.setText(f"{title}: {most}")

    def forget(self) -> None:
        """Nothing was found, and what was asked for is not waited for."""
        self._asked += 1
        self.board.clear()
        self.hide()

    def heard(self, changed: dict[str, Operation]) -> None:
        """What has become of those that are shown."""
        known = {one: operation for one, operation in changed.items() if one in self.board.operations}
        if known:
            self.board.take(known)

    def _current(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.model.operation(index))
