"""The page of operations: a search, the list, and what can be done to what is chosen."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from PySide6.QtCore import QModelIndex, Qt, QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.core.counts import counted
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationState
from rfm_ui.bridge import News
from rfm_ui.model.board import Board, Filter
from rfm_ui.model.pending import Action as Word
from rfm_ui.model.pending import Command
from rfm_ui.view.choice import one_of
from rfm_ui.view.details import DetailsPanel
from rfm_ui.view.operation_list import OperationList, OperationListModel
from rfm_ui.view.session import Session

__all__ = ["OperationsPage"]

Action = Callable[[AsyncClient, str], Coroutine[Any, Any, Any]]
"""What is done to an operation by its id."""

SETTLE_MS = 1000
"""Between two looks whether rows may go where they belong."""

ALIVE: frozenset[OperationState] = frozenset({"pending", "queued", "running", "paused", "cancelling"})
VIEWS: tuple[tuple[str, frozenset[OperationState] | None], ...] = (
    ("All", None),
    ("Alive", ALIVE),
    ("Failed", frozenset({"failed"})),
    ("Completed", frozenset({"completed"})),
)


class OperationsPage(QWidget):
    """Operations of a session."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.board = Board()
        self.model = OperationListModel(self.board, self)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search names, kinds, owners, labels")
        self.search.setAccessibleName("Search operations")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        self.list = OperationList(self.model)
        self.list.selectionModel().selectionChanged.connect(self._chosen_changed)
        self.empty = QLabel()
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.empty.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.told = QLabel()
        self.told.setWordWrap(True)
        self.told.setAccessibleName("What became of the last request")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.addLayout(self._head())
        self.details = DetailsPanel(session)
        body = QSplitter(Qt.Orientation.Horizontal)
        body.setChildrenCollapsible(False)
        for widget in (self.list, self.empty, self.details):
            body.addWidget(widget)
        body.setStretchFactor(0, 3)
        body.setStretchFactor(2, 2)
        layout.addWidget(body, 1)
        layout.addLayout(self._foot())
        self._settle = QTimer(self)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._settle_rows)
        self._settle.start()
        session.news.connect(self._heard)
        self.setFocusProxy(self.list)
        self._chosen_changed()
        self._show_emptiness()

    def chosen(self) -> list[Operation]:
        """The operations that are selected, from the top."""
        rows = sorted(index.row() for index in self.list.selectionModel().selectedIndexes())
        return [self.board.at(row) for row in rows]

    def cancel_chosen(self) -> None:
        """Ask all that are chosen and alive to stop."""
        self._steer("cancel", lambda client, one: client.cancel(one))

    def pause_chosen(self) -> None:
        """Have those that run stop where they are, and those that stand go on."""
        alive = [one for one in self.chosen() if one.state not in TERMINAL_STATES]
        if alive and all(one.state == "paused" for one in alive):
            self._steer("resume", lambda client, one: client.resume(one))
        else:
            self._steer("pause", lambda client, one: client.pause(one))

    # --- its parts --------------------------------------------------------------------------

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.addWidget(self.search, 1)
        self.views = one_of([name for name, _states in VIEWS], head, self)
        self.views.idToggled.connect(self._filter)
        QShortcut(QKeySequence.StandardKey.Find, self, self.search.setFocus)
        return head

    def _foot(self) -> QHBoxLayout:
        foot = QHBoxLayout()
        foot.addWidget(self.told, 1)
        self.pause = QPushButton("Pause")
        self.pause.clicked.connect(self.pause_chosen)
        self.cancel = QPushButton("Cancel")
        self.cancel.clicked.connect(self.cancel_chosen)
        for button in (self.pause, self.cancel):
            foot.addWidget(button)
        QShortcut(QKeySequence("Delete"), self.list, self.cancel_chosen, context=Qt.ShortcutContext.WidgetShortcut)
        QShortcut(QKeySequence("P"), self.list, self.pause_chosen, context=Qt.ShortcutContext.WidgetShortcut)
        return foot

    # --- what happens -----------------------------------------------------------------------

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self.board.clear()
        if news.operations or news.gone:
            self.board.take(news.operations, news.gone)
            self._chosen_changed()
        if news.operations or news.gone or news.link is not None or news.is_new_server:
            self._show_emptiness()

    def _filter(self) -> None:
        _name, states = VIEWS[self.views.checkedId()]
        self.board.show(Filter(text=self.search.text(), states=states))
        self._show_emptiness()

    def _settle_rows(self) -> None:
        """Rows that move under a pointer are clicked by mistake."""
        if self.list.viewport().underMouse():
            self.list.viewport().update()
            return
        self.board.settle()
        # Times go on where nothing else does.
        self.list.viewport().update()

    def _show_emptiness(self) -> None:
        link = self._session.link
        if len(self.board):
            text = ""
        elif self.board.operations:
            text = "Nothing matches. Clear the search to see all."
        elif link.state == "live":
            text = "Nothing runs yet.\n\nSubmit something: `rfm-runtime render`, or from a program."
        else:
            text = f"{link.reason}\n\n{link.hint}".strip() or "Connecting …"
        self.empty.setText(text)
        self.empty.setVisible(bool(text))
        self.list.setVisible(not text)

    def _chosen_changed(self, *_change: QModelIndex) -> None:
        chosen = self.chosen()
        self.details.show_operation(chosen[0] if len(chosen) == 1 else None)
        alive = [one for one in chosen if one.state not in TERMINAL_STATES]
        count = f" {len(alive)}" if len(alive) > 1 else ""
        self.cancel.setText(f"Cancel{count}")
        self.pause.setText(f"{'Resume' if alive and all(one.state == 'paused' for one in alive) else 'Pause'}{count}")
        for button in (self.cancel, self.pause):
            button.setEnabled(bool(alive))

    def _steer(self, word: Word, action: Action) -> None:
        alive = [one for one in self.chosen() if one.state not in TERMINAL_STATES]
        for operation in alive:
            self._ask(word, action, operation)
        if alive:
            self.told.setText(f"Asked to {word} {counted(len(alive), 'operation')}.")

    def _ask(self, word: Word, action: Action, operation: Operation) -> None:
        def answered(_result: Any, error: RfmError | None) -> None:
            if error is not None:
                self.told.setText(f"Could not {word} {operation.name}: {error}")

        command = Command(word, operation.operation_id, operation.name)
        self._session.ask(lambda client: action(client, operation.operation_id), answered, command)
