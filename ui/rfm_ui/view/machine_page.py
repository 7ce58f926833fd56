"""The page of the machine: what the runtime's processes use, now and lately, whether it is well, what would help."""

from __future__ import annotations

import time
from math import isnan
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.resources import Resources
from rfm_ui.bridge import News
from rfm_ui.model.machine import Curve, curves, host_line, process_rows, troubles
from rfm_ui.view import theme
from rfm_ui.view.choice import one_of
from rfm_ui.view.session import Session

__all__ = ["MachinePage"]

COLUMNS = ("Process", "CPU", "Memory", "Threads", "Descriptors", "Loop lag", "Children")
SPANS = (("10 min", 600), ("2 h", 7_200), ("1 day", 86_400))
ASK_MS = 5_000


class MachinePage(QWidget):
    """Processes of a session's runtime."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.host = QLabel()
        self.troubles = QLabel()
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
        self._spans = one_of([name for name, _span_s in SPANS], head, self)
        self._spans.idToggled.connect(self._ask)
        self._charts: _Charts | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(16, 16, 16, 12)
        self._layout.setSpacing(10)
        self._layout.addLayout(head)
        self._layout.addWidget(self.troubles)
        self._layout.addWidget(self.table, 2)
        self._again = QTimer(self)
        self._again.setInterval(ASK_MS)
        self._again.timeout.connect(self._ask)
        session.news.connect(self._heard)

    @property
    def charted(self) -> list[str]:
        """Names of the processes that have a curve."""
        return [] if self._charts is None else self._charts.names

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Only what is looked at is asked for; the charts' library is loaded when it is first needed."""
        super().showEvent(event)
        if self._charts is None:
            self._charts = _Charts()
            self._layout.addWidget(self._charts, 3)
        self._ask()
        self._again.start()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self._again.stop()

    def _heard(self, news: News) -> None:
        if news.resources is not None:
            self._tell(news.resources)

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
        self.host.setText(host_line(resources))
        said = troubles(resources)
        self.troubles.setText("\n".join(said))
        self.troubles.setVisible(bool(said))
        links = theme.current().links
        colour = links["bad"] if resources.health.state == "unhealthy" else links["waiting"]
        self.troubles.setStyleSheet(f"color: {colour};")

    def _ask(self) -> None:
        span_s = SPANS[self._spans.checkedId()][1]

        def told(usage: Any, error: RfmError | None) -> None:
            if error is None and self._charts is not None and span_s == SPANS[self._spans.checkedId()][1]:
                self._charts.show_curves(curves(usage, time.time() * 1000), span_s)

        if self.isVisible():
            self._session.ask(lambda client: client.usage(span_s), told)


class _Charts(QWidget):
    """CPU, memory and lag over time, a curve for each process."""

    def __init__(self) -> None:
        super().__init__()
        # Takes a quarter of a second to load.
        import pyqtgraph

        self._library = pyqtgraph
        colours = theme.current()
        self.names: list[str] = []
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        self._plots = []
        for title in ("CPU, %", "Memory, MiB", "Loop lag, ms"):
            plot = pyqtgraph.PlotWidget(background=colours.panel, title=title)
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            plot.showGrid(x=True, y=True, alpha=0.15)
            plot.setMenuEnabled(False)
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(colours.faint)
                plot.getAxis(side).setTextPen(colours.faint)
            plot.setTitle(title, color=colours.text, size="10pt")
            plot.setAccessibleName(title)
            layout.addWidget(plot)
            self._plots.append(plot)
        self._legend = self._plots[0].addLegend(offset=(8, 8), labelTextColor=colours.text)

    def show_curves(self, shown: list[Curve], span_s: int) -> None:
        inks = [*theme.current().tones.values()]
        self.names = [curve.name for curve in shown]
        scale, unit = (60.0, "min") if span_s <= 7_200 else (3600.0, "h")
        self._legend.clear()
        for place, plot in enumerate(self._plots):
            plot.clear()
            plot.setLabel("bottom", f"{unit} ago")
            plot.setXRange(-span_s / scale, 0.0, padding=0.0)
            rows = [(curve.cpu_percent, curve.memory_mib, curve.lag_ms)[place] for curve in shown]
            plot.setYRange(0.0, _top(rows), padding=0.0)
            for number, (curve, row) in enumerate(zip(shown, rows, strict=True)):
                pen = self._library.mkPen(inks[(number + 1) % len(inks)], width=1.6)
                times = [second / scale for second in curve.seconds]
                plot.plot(times, list(row), pen=pen, connect="finite", name=curve.name)


def _top(rows: list[tuple[float, ...]]) -> float:
    most = max((value for row in rows for value in row if not isnan(value)), default=0.0)
    return max(1.0, most * 1.15)
