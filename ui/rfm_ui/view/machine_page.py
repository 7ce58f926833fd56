"""The page of the machine: what the runtime's processes use, now and lately, whether it is well, what would help."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.resources import Resources
from rfm_ui.bridge import News
from rfm_ui.model.machine import TRAFFIC, USE, curves, host_line, process_rows, troubles
from rfm_ui.view import theme
from rfm_ui.view.charts import Charts
from rfm_ui.view.choice import one_of
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

__all__ = ["MachinePage"]

COLUMNS = ("Process", "CPU", "Memory", "Threads", "Descriptors", "Loop lag", "Children")
SPANS = (("10 min", 600), ("2 h", 7_200), ("1 day", 86_400))
SUBJECTS = (("Use", USE), ("Traffic", TRAFFIC))
TIPS = ("What each process uses", "What goes through each process, how long it takes, and what waits")
ASK_MS = 5_000
MOST_ROWS = 8
"""Without scrolling."""


class MachinePage(QWidget):
    """Processes of a session's runtime."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.host = Label()
        self.troubles = Label()
        self.troubles.setWordWrap(True)
        self.troubles.hide()
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.setAccessibleName("Processes of the runtime")
        head = QHBoxLayout()
        head.addWidget(self.host, 1)
        self._subjects = one_of([name for name, _charts in SUBJECTS], head, self)
        self._subjects.idToggled.connect(self._subject_changed)
        for button, tip in zip(self._subjects.buttons(), TIPS, strict=True):
            set_tip(button, tip)
        head.addSpacing(12)
        self._spans = one_of([name for name, _span_s in SPANS], head, self)
        self._spans.idToggled.connect(self._ask)
        self._charts: list[Charts] = []
        self._shown = QStackedWidget()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(16, 16, 16, 12)
        self._layout.setSpacing(10)
        self._layout.addLayout(head)
        self._layout.addWidget(self.troubles)
        self._layout.addWidget(self.table)
        self._again = QTimer(self)
        self._again.setInterval(ASK_MS)
        self._again.timeout.connect(self._ask)
        session.news.connect(self._heard)

    @property
    def charted(self) -> list[str]:
        """Names of the processes that have a curve."""
        return self._charts[self._subjects.checkedId()].names if self._charts else []

    @property
    def is_traffic(self) -> bool:
        """Whether what goes through processes is shown, not what they use."""
        return self._subjects.checkedId() == 1

    def show_traffic(self) -> None:
        """What goes through the processes."""
        self._subjects.button(1).setChecked(True)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Only what is looked at is asked for; the charts' library is loaded when it is first needed."""
        super().showEvent(event)
        if not self._charts:
            self._charts = [Charts(charts) for _name, charts in SUBJECTS]
            for charts in self._charts:
                self._shown.addWidget(charts)
            self._layout.addWidget(self._shown, 1)
        self._ask()
        self._again.start()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self._again.stop()

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._forget()
        if news.resources is not None:
            self._tell(news.resources)
        if news.link is not None and news.link.state == "live":
            self._ask()

    def _forget(self) -> None:
        """Another server's, which may not be told."""
        self.table.setRowCount(0)
        self.host.clear()
        self.troubles.hide()
        for charts in self._charts:
            charts.show_curves([], SPANS[self._spans.checkedId()][1])

    def _tell(self, resources: Resources) -> None:
        rows = process_rows(resources)
        self.table.setRowCount(len(rows))
        for place, row in enumerate(rows):
            for column, text in enumerate(row):
                item = self.table.item(place, column)
                if item is None:
                    item = QTableWidgetItem()
                    self.table.setItem(place, column, item)
                item.setText(text)
        # As high as its rows, of which there are few: the rest is the charts'.
        rows_px = sum(self.table.rowHeight(place) for place in range(min(len(rows), MOST_ROWS)))
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + rows_px + 4)
        self.host.setText(host_line(resources))
        said = troubles(resources)
        self.troubles.setText("\n".join(said))
        self.troubles.setVisible(bool(said))
        theme.toned(self.troubles, "bad" if resources.health.state == "unhealthy" else "waiting")

    def _subject_changed(self, number: int, is_on: bool) -> None:
        if is_on:
            self._shown.setCurrentIndex(number)

    def _ask(self) -> None:
        span_s = SPANS[self._spans.checkedId()][1]

        def told(usage: Any, error: RfmError | None) -> None:
            if error is None and span_s == SPANS[self._spans.checkedId()][1]:
                found = curves(usage, time.time() * 1000)
                for charts in self._charts:
                    charts.show_curves(found, span_s)

        if self.isVisible() and self._session.is_there:
            self._session.ask(lambda client: client.usage(span_s), told)
