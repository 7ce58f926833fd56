"""The page of the workers: what each does and has done; a click shows the operation that it works on."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QColor, QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.crew import CrewUsage
from rfm_runtime.protocol.operation import Operation
from rfm_ui.bridge import News
from rfm_ui.model.crew import WorkerRow, deaths_line, summary, worker_rows
from rfm_ui.model.link import absent
from rfm_ui.view import theme
from rfm_ui.view.details import DetailsPanel
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

__all__ = ["WorkersPage"]

COLUMNS = (
    ("Worker", ""),
    ("Process", "Its number in the system"),
    ("State", ""),
    ("Operation", "What it works on"),
    ("Tile", "What it has in hand, in pixels of the picture"),
    ("Tiles done", "Finished since the engine came up"),
    ("Iterations", "A second of its CPU time, of what it finished lately"),
    ("CPU", "100 % is one core"),
    ("Memory", ""),
    ("Restarts", "How often another process took its place"),
)
STATE, WHAT, TILE, FIRST_NUMBER = 2, 3, 4, 5
ASK_MS = 2_000
LEAST = 260
"""Of the table, with the details below it: some five workers."""


class WorkersPage(QWidget):
    """Workers of a session's engines."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._known: dict[str, Operation] = {}
        self._crews: tuple[CrewUsage, ...] = ()
        self.rows: list[WorkerRow] = []
        self.summary, self.deaths = Label(), Label()
        for label in (self.summary, self.deaths):
            label.setWordWrap(True)
        self.deaths.hide()
        self.table = self._table()
        self.details = DetailsPanel(session)
        above = QWidget()
        over = QVBoxLayout(above)
        over.setContentsMargins(0, 0, 0, 0)
        over.setSpacing(10)
        for widget in (self.summary, self.deaths):
            over.addWidget(widget)
        over.addWidget(self.table, 1)
        # Without workers what is said stands on top.
        over.addStretch(0)
        body = QSplitter(Qt.Orientation.Vertical)
        body.addWidget(above)
        body.addWidget(self.details)
        body.setChildrenCollapsible(False)
        above.setMinimumHeight(LEAST)
        body.setStretchFactor(0, 2)
        body.setStretchFactor(1, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.addWidget(body)
        self._again = QTimer(self)
        self._again.setInterval(ASK_MS)
        self._again.timeout.connect(self._ask)
        session.news.connect(self._heard)
        self.setFocusProxy(self.table)

    def _table(self) -> QTableWidget:
        table = QTableWidget(0, len(COLUMNS))
        for column, (name, tip) in enumerate(COLUMNS):
            head = QTableWidgetItem(name)
            set_tip(head, tip)
            number = column >= FIRST_NUMBER
            side = Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft
            head.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
            table.setHorizontalHeaderItem(column, head)
        table.verticalHeader().hide()
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setTabKeyNavigation(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(WHAT, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        table.setAccessibleName("Workers")
        table.itemSelectionChanged.connect(self._choose)
        return table

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Only what is looked at is asked for."""
        super().showEvent(event)
        self._ask()
        self._again.start()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self._again.stop()

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._known.clear()
            self._tell(())
        if news.link is not None and not self.rows:
            self.summary.setText(absent(news.link) or summary(self._crews))
        if news.link is not None and news.link.state == "live":
            self._ask()
        self._known.update(news.operations)
        for gone in news.gone:
            self._known.pop(gone, None)

    def _ask(self) -> None:
        def told(crews: Any, error: RfmError | None) -> None:
            if error is None:
                self._tell(crews)
            else:
                self.summary.setText(f"What workers do is not known: {error}")

        if self.isVisible() and self._session.is_there:
            self._session.ask(lambda client: client.workers(), told)

    def _tell(self, crews: tuple[CrewUsage, ...]) -> None:
        self._crews = crews
        self.rows = worker_rows(crews, self._known)
        self.summary.setText(summary(crews) if crews else absent(self._session.link) or summary(crews))
        said = deaths_line(crews)
        self.deaths.setText(said)
        self.deaths.setVisible(bool(said))
        theme.toned(self.deaths, "waiting")
        self.table.setVisible(bool(self.rows))
        self.table.setRowCount(len(self.rows))
        for place, row in enumerate(self.rows):
            for column, text in enumerate(row[: len(COLUMNS)]):
                item = self.table.item(place, column)
                if item is None:
                    item = QTableWidgetItem()
                    if column >= FIRST_NUMBER:
                        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                    self.table.setItem(place, column, item)
                item.setText(str(text))
                set_tip(item, row.about)
                if column == STATE:
                    item.setForeground(QColor(theme.current().tones[row.tone]))

    def _choose(self) -> None:
        chosen = self.table.selectionModel().selectedRows()
        row = self.rows[chosen[0].row()] if chosen and chosen[0].row() < len(self.rows) else None
        self.details.show_operation(None if row is None else self._known.get(row.operation_id))
