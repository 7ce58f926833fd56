"""Everything about one operation: how far it is, why it is so, what is known, how it went, what happened to it."""

from __future__ import annotations

import json
import time
from typing import Any

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.core.reports.telling import facts, happening
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.history import Performance, PerformanceReply
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_ui.bridge import News
from rfm_ui.model.pending import Command
from rfm_ui.view import theme
from rfm_ui.view.components.progress_bar import ProgressBar
from rfm_ui.view.session import Session

__all__ = ["DetailsPanel"]

AGAIN_MS = 2000
"""Between two looks at what changes without an event, such as CPU time."""


class DetailsPanel(QScrollArea):
    """Shows the operation that it is told of, and asks the runtime for the rest."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._operation: Operation | None = None
        self._went: PerformanceReply | None = None
        self.bar = ProgressBar()
        self.bar.cancel_wanted.connect(self._cancel)
        self.why = _text()
        self.why.setAccessibleName("Why it is in this state")
        self.hint = _text()
        self.hint.setAccessibleName("What to do")
        self._course = _Course()
        self.facts, self.parameters, self.events = _Table(), _Table(), _Table()
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(16, 12, 16, 16)
        layout.setSpacing(10)
        for head, widget in (
            ("", self.bar),
            ("", self.hint),
            ("", self.why),
            ("Progress over time", self._course),
            ("What is known", self.facts),
            ("What happened", self.events),
            ("Parameters", self.parameters),
        ):
            if head:
                label = QLabel(head)
                strong = label.font()
                strong.setWeight(QFont.Weight.DemiBold)
                label.setFont(strong)
                label.setContentsMargins(0, 6, 0, 0)
                layout.addWidget(label)
            layout.addWidget(widget)
        layout.addStretch(1)
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(300)
        self.hide()
        self._again = QTimer(self)
        self._again.setInterval(AGAIN_MS)
        self._again.timeout.connect(self._ask)
        session.news.connect(self._heard)

    def show_operation(self, operation: Operation | None) -> None:
        """Show this one; None: nothing."""
        before, self._operation = self._operation, operation
        self.setVisible(operation is not None)
        if operation is None:
            self._again.stop()
            return
        if before is None or before.operation_id != operation.operation_id:
            self._went = None
            for table in (self.facts, self.events, self.parameters):
                table.show_rows([])
            self.why.setText("")
            self._course.show_course(Performance(), 0.0)
            self._ask()
        self._again.stop() if operation.state in TERMINAL_STATES else self._again.start()
        self.bar.show_operation(operation)
        hint = "" if operation.error is None else printable(operation.error.hint or "")
        self.hint.setText(hint)
        self.hint.setVisible(bool(hint))
        # How it ended stands in the bar.
        self.why.setVisible(operation.state not in TERMINAL_STATES and bool(self.why.text()))

    def _heard(self, news: News) -> None:
        if self._operation is None:
            return
        if newest := news.operations.get(self._operation.operation_id):
            self.show_operation(newest)
        if any(event.operation_id == self._operation.operation_id for event in news.events):
            self._ask()

    def _ask(self) -> None:
        if self._operation is None:
            return
        operation_id = self._operation.operation_id

        def told(went: Any, error: RfmError | None) -> None:
            if error is None and self._operation is not None and self._operation.operation_id == operation_id:
                self._tell(went)

        def explained(sentences: Any, error: RfmError | None) -> None:
            if error is None and self._operation is not None and self._operation.operation_id == operation_id:
                self.why.setText("\n".join(printable(sentence) for sentence in sentences))
                self.why.setVisible(self._operation.state not in TERMINAL_STATES)

        self._session.ask(lambda client: client.performance(operation_id), told)
        self._session.ask(lambda client: client.explain(operation_id), explained)

    def _tell(self, went: PerformanceReply) -> None:
        self._went = went
        now_ms = time.time() * 1000
        # Name, error and hint stand above.
        known = [one for one in facts(went, now_ms) if one[0] not in ("name", "error", "hint")]
        self.facts.show_rows(known)
        self.events.show_rows([(f"{when[11:]}  {what}", remark) for when, what, remark in map(happening, went.events)])
        params = [(name, json.dumps(value, ensure_ascii=False).strip('"')) for name, value in went.params.items()]
        self.parameters.show_rows(params)
        latest = went.operation.latest
        self._course.show_course(went.performance, 0.0 if latest is None or latest.total is None else latest.total)

    def _cancel(self, operation_id: str) -> None:
        name = "" if self._operation is None else self._operation.name
        self._session.ask(lambda client: client.cancel(operation_id), command=Command("cancel", operation_id, name))


class _Table(QWidget):
    """Names and values; labels are made anew only where there are more. shown: what is to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, str]] = []
        self._rows: list[tuple[QLabel, QLabel]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(1, 1)

    def show_rows(self, rows: list[tuple[str, str]]) -> None:
        self.shown = rows
        while len(self._rows) < len(rows):
            name, value = _text(), _text()
            name.setWordWrap(False)
            name.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(name, len(self._rows), 0)
            self._grid.addWidget(value, len(self._rows), 1)
            self._rows.append((name, value))
        faint = f"color: {theme.current().faint};"
        for place, (name, value) in enumerate(self._rows):
            is_shown = place < len(rows)
            name.setVisible(is_shown)
            value.setVisible(is_shown)
            if is_shown:
                name.setText(rows[place][0])
                name.setStyleSheet(faint)
                value.setText(printable(rows[place][1]))
        self.setVisible(bool(rows))


class _Course(QWidget):
    """How much was done when."""

    def __init__(self) -> None:
        super().__init__()
        self._performance = Performance()
        self._total = 0.0
        self.setAccessibleName("Progress over time")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_course(self, performance: Performance, total: float) -> None:
        self._performance, self._total = performance, performance.total or total
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(240, 84)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        colours, points = theme.current(), self._performance.points
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QColor(colours.line))
        painter.setBrush(QColor(colours.window))
        painter.drawRoundedRect(whole, 6.0, 6.0)
        most = max([self._total, *(point.done for point in points)], default=0.0)
        if len(points) >= 2 and most > 0.0:
            inner = whole.adjusted(6.0, 6.0, -6.0, -6.0)
            first_ms, last_ms = points[0].t_ms, max(points[-1].t_ms, points[0].t_ms + 1)

            def at(t_ms: float, done: float) -> QPointF:
                x = inner.left() + inner.width() * (t_ms - first_ms) / (last_ms - first_ms)
                return QPointF(x, inner.bottom() - inner.height() * done / most)

            line = QPolygonF([at(point.t_ms, point.done) for point in points])
            under = QPolygonF([*line.toList(), at(last_ms, 0.0), at(first_ms, 0.0)])
            fill = QColor(colours.accent)
            fill.setAlphaF(0.18)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(fill)
            painter.drawPolygon(under)
            painter.setPen(QPen(QColor(colours.accent), 1.6))
            painter.drawPolyline(line)
        else:
            painter.setPen(QColor(colours.faint))
            painter.drawText(whole, Qt.AlignmentFlag.AlignCenter, "not measured yet")
        painter.end()


def _text() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
