"""`ProgressBar`: one operation with its bar, what is said of it, and a button that cancels it."""

from __future__ import annotations

import time

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_ui.model.lines import Line, line
from rfm_ui.view import theme
from rfm_ui.view.components.parents import parent_of
from rfm_ui.view.words import Label

__all__ = ["ProgressBar"]

CLOCK_MS = 1000
UNKNOWN = 0.3
"""Of a bar's width, where nobody knows how far it is."""


class ProgressBar(QWidget):
    """Shows an operation. `cancel_wanted(operation_id)` is emitted when somebody wants it to stop.

    parent_id: a widget, or the object name of one. Raises BadRequestError if there is no such widget. is_brief: its
    name, and what went wrong, stand elsewhere.
    """

    cancel_wanted = Signal(str)

    def __init__(self, parent_id: QWidget | str | None = None, *, is_brief: bool = False) -> None:
        super().__init__(parent_of(parent_id))
        self._is_brief = is_brief
        self._operation: Operation | None = None
        self._title, self._facts, self._remark = Label(), Label(), Label()
        self._title.setStyleSheet("font-weight: 600;")
        for label in (self._title, self._remark):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        # Where there is no room for all of it, what comes last is cut off, and nothing else.
        self._facts.setMinimumWidth(1)
        self.cancel = QToolButton()
        self.cancel.setText("Cancel")
        self.cancel.clicked.connect(self._cancel)
        self._bar = _Bar()
        head, foot = QHBoxLayout(), QHBoxLayout()
        if not is_brief:
            head.addWidget(self._title, 1)
        head.addWidget(self._facts, int(is_brief))
        head.addWidget(self.cancel)
        foot.addWidget(self._remark, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self._bar)
        layout.addLayout(foot)
        # Times go on where nothing else does.
        self._clock = QTimer(self)
        self._clock.setInterval(CLOCK_MS)
        self._clock.timeout.connect(self._refresh)

    @property
    def operation(self) -> Operation | None:
        """The one that is shown."""
        return self._operation

    @property
    def percent(self) -> float | None:
        """How far it is, 0–100; None where nobody knows."""
        return self._bar.percent

    def show_operation(self, operation: Operation) -> None:
        """Show this one, or the newest of it."""
        self._operation = operation
        ended = operation.state in TERMINAL_STATES
        self._clock.stop() if ended else self._clock.start()
        self.cancel.setVisible(not ended)
        self.cancel.setEnabled(operation.state != "cancelling")
        self._refresh()

    def _refresh(self) -> None:
        if self._operation is None:
            return
        shown = line(self._operation, time.time() * 1000)
        self._title.setText(shown.title)
        self._facts.setText(" · ".join(_facts(shown)))
        self._remark.setText(shown.remark)
        self._remark.setVisible(bool(shown.remark) and not (self._is_brief and self._operation.error is not None))
        self.cancel.setAccessibleName(f"Cancel {shown.title}")
        percent = "" if shown.percent is None else f", {shown.percent:.0f} percent"
        self.setAccessibleName(f"{shown.title}, {shown.state}{percent}")
        self._bar.show_percent(shown.percent, theme.current().tones[shown.tone])

    def _cancel(self) -> None:
        if self._operation is not None:
            # It reacts at once; the runtime says later how it went.
            self.cancel.setEnabled(False)
            self.cancel_wanted.emit(self._operation.operation_id)


def _facts(shown: Line) -> list[str]:
    percent = [] if shown.percent is None or shown.state != "running" else [f"{shown.percent:.0f} %"]
    state = [] if shown.state == "running" else [shown.state]
    return [*state, *percent, *shown.facts[:1]]


class _Bar(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.percent: float | None = 0.0
        self._colour = QColor()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_percent(self, percent: float | None, colour: str) -> None:
        self.percent, self._colour = percent, QColor(colour)
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(200, 6)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        whole = QRectF(self.rect())
        painter.setBrush(QColor(theme.current().track))
        painter.drawRoundedRect(whole, 3.0, 3.0)
        part = UNKNOWN if self.percent is None else self.percent / 100.0
        colour = QColor(self._colour)
        if self.percent is None:
            colour.setAlphaF(0.5)
        if part > 0.0:
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(0.0, 0.0, max(6.0, whole.width() * part), whole.height()), 3.0, 3.0)
        painter.end()
