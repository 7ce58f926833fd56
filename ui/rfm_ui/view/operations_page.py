"""The page of operations: a search, the list, and what can be done to what is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QSettings, Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from rfm_runtime.protocol.operation import Operation
from rfm_ui.bridge import News
from rfm_ui.model.board import Board
from rfm_ui.model.link import absent
from rfm_ui.model.pending import badge
from rfm_ui.model.saved import SavedView
from rfm_ui.view.actions import button
from rfm_ui.view.details import DetailsPanel
from rfm_ui.view.operation_actions import OperationActions
from rfm_ui.view.operation_list import OperationList, OperationListModel
from rfm_ui.view.search_bar import SearchBar
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label

__all__ = ["OperationsPage"]

SETTLE_MS = 1000
"""Between two looks whether rows may go where they belong."""

TOLD_MS = 15_000
"""What became of the last request is said for so long."""

MANY = 100
LOOK_MS = 250
"""Where more than so many are chosen, what applies to them is looked at so often, and not at each change."""


class OperationsPage(QWidget):
    """Operations of a session."""

    def __init__(self, session: Session, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.board = Board()
        self.model = OperationListModel(self.board, self)
        self.model.waits = lambda operation_id: badge(session.pending.of(operation_id))
        session.pending_changed.connect(self._repaint)
        self.bar = SearchBar(settings, self.board.operations.values, self)
        self.bar.changed.connect(self._filter)
        self.search = self.bar.search
        self.list = OperationList(self.model)
        self.list.selectionModel().selectionChanged.connect(self._chosen_changed)
        # What is left out of the list is chosen no longer, and no selection says so.
        self.model.layoutChanged.connect(self._look_soon)
        self.empty = Label()
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.empty.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.told = Label()
        self.told.setWordWrap(True)
        self.told.setAccessibleName("What became of the last request")
        self.wishes = OperationActions(self.list, session, self.board, self.chosen)
        self._told_long = QTimer(self)
        self._told_long.setSingleShot(True)
        self._told_long.setInterval(TOLD_MS)
        self._told_long.timeout.connect(self.told.clear)
        self.wishes.told.connect(self._tell)
        self.wishes.search_wanted.connect(self.search.setText)
        self._chosen_ids: set[str] = set()
        self._look_again = QTimer(self)
        self._look_again.setSingleShot(True)
        self._look_again.setInterval(LOOK_MS)
        self._look_again.timeout.connect(self._chosen_changed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.addWidget(self.bar)
        self.details = DetailsPanel(session, self.board.parts)
        body = QSplitter(Qt.Orientation.Horizontal)
        body.setChildrenCollapsible(False)
        for widget in (self.list, self.empty, self.details):
            body.addWidget(widget)
        body.setStretchFactor(0, 3)
        body.setStretchFactor(2, 2)
        layout.addWidget(body, 1)
        layout.addLayout(self._foot())
        self.settling = QTimer(self)
        self.settling.setInterval(SETTLE_MS)
        self.settling.timeout.connect(self.settle_rows)
        self.settling.start()
        session.news.connect(self._heard)
        self.setFocusProxy(self.list)
        self._chosen_changed()
        self._show_emptiness()

    def chosen(self) -> list[Operation]:
        """The operations that are selected, from the top."""
        # By ranges: an index of each row would be made otherwise.
        selection = self.list.selectionModel().selection()
        ranges = [(one.top(), one.bottom()) for one in map(selection.at, range(selection.count()))]
        return [self.board.at(row) for top, bottom in sorted(ranges) for row in range(top, bottom + 1)]

    def reveal(self, operation_ids: Sequence[str]) -> bool:
        """Choose these, with all operations shown if they would be left out; whether any of them is known."""
        known = [one for one in operation_ids if one in self.board.operations]
        if any(self.board.row(one) is None for one in known):
            self.bar.show_view(SavedView())
        rows = [row for one in known if (row := self.board.row(one)) is not None]
        chosen = QItemSelection()
        for row in rows:
            chosen.select(self.model.index(row), self.model.index(row))
        choosing = QItemSelectionModel.SelectionFlag
        if rows:
            self.list.selectionModel().setCurrentIndex(self.model.index(rows[0]), choosing.NoUpdate)
            self.list.selectionModel().select(chosen, choosing.ClearAndSelect)
            self.list.scrollTo(self.model.index(rows[0]))
        return bool(rows)

    # --- its parts --------------------------------------------------------------------------

    def _foot(self) -> QHBoxLayout:
        foot = QHBoxLayout()
        foot.addWidget(self.told, 1)
        self.priority_down, self.priority_up = button(self.wishes.lower), button(self.wishes.higher)
        self.retry, self.pause, self.cancel = map(button, (self.wishes.retry, self.wishes.pause, self.wishes.cancel))
        for one in (self.priority_down, self.priority_up, self.retry, self.pause, self.cancel):
            foot.addWidget(one)
        return foot

    def _repaint(self) -> None:
        self.list.viewport().update()

    # --- what happens -----------------------------------------------------------------------

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self.board.clear()
            self.told.clear()
        server = self.session.server
        if server is not None and server.user != self.bar.me:
            self.bar.me = server.user
            self._filter()
        if news.operations or news.gone:
            self.board.take(news.operations, news.gone)
            if not (self._chosen_ids.isdisjoint(news.operations) and self._chosen_ids.isdisjoint(news.gone)):
                self._look_soon()
        if news.operations or news.gone or news.link is not None or news.is_new_server:
            self._show_emptiness()

    def _filter(self) -> None:
        self.board.sort(self.bar.view.order)
        self.board.show(self.bar.filter)
        self._show_emptiness()

    def settle_rows(self) -> None:
        """Have rows go where they belong; not while the pointer is over them, where they are clicked by mistake."""
        if self.list.viewport().underMouse():
            self.list.viewport().update()
            return
        self.board.settle()
        # Times go on where nothing else does.
        self.list.viewport().update()

    def _tell(self, text: str) -> None:
        self.told.setText(text)
        self._told_long.start()

    def _show_emptiness(self) -> None:
        if len(self.board):
            text = ""
        elif self.board.operations:
            text = "Nothing matches. Clear the search to see all."
        else:
            nothing = "Nothing runs yet.\n\nSubmit something: `rfm-runtime render`, or from a program."
            text = absent(self.session.link) or nothing
        self.empty.setText(text)
        self.empty.setVisible(bool(text))
        self.list.setVisible(not text)

    def _look_soon(self, *_change: object) -> None:
        if len(self._chosen_ids) <= MANY:
            self._chosen_changed()
        elif not self._look_again.isActive():
            self._look_again.start()

    def _chosen_changed(self, *_change: object) -> None:
        chosen = self.chosen()
        self._chosen_ids = {one.operation_id for one in chosen}
        self.details.show_operation(chosen[0] if len(chosen) == 1 else None)
        self.wishes.refresh(chosen)
