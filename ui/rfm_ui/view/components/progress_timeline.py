"""`ProgressTimeline`: operations as bars over time, running and finished ones."""

from __future__ import annotations

import time
from collections.abc import Iterable

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QToolTip, QWidget
from typing_extensions import override

from rfm_runtime.core.text import duration
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.gantt import Period, Span, laid_out, marks
from rfm_ui.view import theme
from rfm_ui.view.components.parents import parent_of

__all__ = ["ProgressTimeline"]

FIRST_MS = 300_000.0
"""What is shown first: the last five minutes."""
PAINT_MS = 250
LANE = 26.0
BAR = 20.0
HEAD = 26.0
MARK = 90.0
CLOSER = 0.8
NOTCH = 120.0
PAN = 0.2


class ProgressTimeline(QWidget):
    """Bars of operations. `chosen(operation_id)` on a click; wheel: nearer or farther in time; drag: along; End: now.

    parent_id: a widget, or the object name of one. Raises BadRequestError if there is no such widget.
    """

    chosen = Signal(str)
    period_changed = Signal(object)

    def __init__(self, parent_id: QWidget | str | None = None) -> None:
        super().__init__(parent_of(parent_id))
        now_ms = time.time() * 1000
        self._operations: list[Operation] = []
        self._period = Period(now_ms - FIRST_MS, now_ms).at(now_ms)
        self._spans: list[Span] = []
        self._scroll = 0.0
        self._pressed: QPointF | None = None
        self._has_moved = False
        self.setMouseTracking(True)
        self.setMinimumHeight(120)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Timeline")
        self._clock = QTimer(self)
        self._clock.setInterval(PAINT_MS)
        self._clock.timeout.connect(self.update)
        self._clock.start()

    @property
    def period(self) -> Period:
        """What of time is shown."""
        return self._period

    @property
    def spans(self) -> list[Span]:
        """What is shown, as it was painted last."""
        return self._spans

    def show_operations(self, operations: Iterable[Operation]) -> None:
        """These, running and finished ones, in any order."""
        self._operations = list(operations)
        self.update()

    def show_period(self, period: Period) -> None:
        """Another part of time."""
        self._period = period
        self.period_changed.emit(period)
        self.update()

    def rect_of(self, span: Span) -> QRectF:
        """Where its bar is."""
        left, right = self._x(span.begin_ms), self._x(span.end_ms)
        top = HEAD + 4.0 + span.lane * LANE - self._scroll
        return QRectF(left, top, max(3.0, right - left), BAR)

    # --- as a widget ------------------------------------------------------------------------

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Marks, bars, and a line for the present."""
        now_ms = time.time() * 1000
        self._period = self._period.at(now_ms)
        self._spans = laid_out(self._operations, self._period, now_ms)
        self.setAccessibleDescription(f"{len(self._spans)} operations")
        lanes = 1 + max((span.lane for span in self._spans), default=0)
        self._scroll = min(max(0.0, self._scroll), max(0.0, lanes * LANE - (self.height() - HEAD)))
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(colours.panel))
        for mark in marks(self._period, max(1, int(self.width() / MARK))):
            x = self._x(mark.at_ms)
            painter.setPen(QColor(colours.line))
            painter.drawLine(QPointF(x, HEAD), QPointF(x, self.height()))
            painter.setPen(QColor(colours.faint))
            painter.drawText(QRectF(x - MARK / 2, 0.0, MARK, HEAD), Qt.AlignmentFlag.AlignCenter, mark.text)
        painter.setClipRect(QRectF(0.0, HEAD, self.width(), self.height() - HEAD))
        for span in self._spans:
            self._paint_span(painter, span)
        painter.setPen(QColor(colours.accent))
        painter.drawLine(QPointF(self._x(now_ms), HEAD), QPointF(self._x(now_ms), self.height()))
        painter.end()

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Nearer or farther; with Shift through the lanes."""
        notches = event.angleDelta().y() / NOTCH
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._scroll -= notches * LANE * 2
            self.update()
        else:
            at = event.position().x() / max(1, self.width())
            # While it follows the clock, the present stays where it is.
            at = self._period.place(time.time() * 1000) if self._period.follows else at
            self.show_period(self._period.zoomed(CLOSER**notches, at))
        event.accept()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click, or the beginning of a drag."""
        self._pressed, self._has_moved = event.position(), False

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Along in time and through the lanes; without a button: what lies there."""
        if self._pressed is None:
            span = self._at(event.position())
            self.setCursor(Qt.CursorShape.ArrowCursor if span is None else Qt.CursorShape.PointingHandCursor)
            QToolTip.showText(event.globalPosition().toPoint(), "" if span is None else _about(span), self)
            return
        way = event.position() - self._pressed
        if self._has_moved or way.manhattanLength() > 4.0:
            self._has_moved = True
            self._pressed = event.position()
            self._scroll -= way.y()
            self.show_period(self._period.moved(-way.x() / max(1, self.width())))

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click chooses."""
        pressed, self._pressed = self._pressed, None
        span = self._at(event.position())
        if pressed is not None and not self._has_moved and span is not None:
            self.chosen.emit(span.operation_id)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The same by keys."""
        match event.key():
            case Qt.Key.Key_Left:
                self.show_period(self._period.moved(-PAN))
            case Qt.Key.Key_Right:
                self.show_period(self._period.moved(PAN))
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.show_period(self._period.zoomed(CLOSER, 0.5))
            case Qt.Key.Key_Minus:
                self.show_period(self._period.zoomed(1.0 / CLOSER, 0.5))
            case Qt.Key.Key_End:
                now_ms = time.time() * 1000
                self.show_period(Period(now_ms - self._period.length_ms, now_ms).at(now_ms))
            case _:
                super().keyPressEvent(event)

    # --- parts ------------------------------------------------------------------------------

    def _x(self, at_ms: float) -> float:
        return self._period.place(at_ms) * self.width()

    def _at(self, place: QPointF) -> Span | None:
        if place.y() < HEAD:
            return None
        # The newest lies on top.
        return next((span for span in reversed(self._spans) if self.rect_of(span).contains(place)), None)

    def _paint_span(self, painter: QPainter, span: Span) -> None:
        rect, colour = self.rect_of(span), QColor(theme.current().tones[span.tone])
        soft = QColor(colour)
        soft.setAlphaF(0.28)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(soft)
        painter.drawRoundedRect(rect, 4.0, 4.0)
        started = max(rect.left(), self._x(span.started_ms))
        share = 1.0 if span.percent is None else span.percent / 100.0
        done = QRectF(started, rect.top(), max(0.0, (rect.right() - started) * share), rect.height())
        painter.setBrush(colour)
        painter.setOpacity(0.75)
        painter.drawRoundedRect(done, 4.0, 4.0)
        painter.setOpacity(1.0)
        room = QRectF(max(4.0, rect.left() + 6.0), rect.top(), rect.right() - max(4.0, rect.left() + 6.0) - 4.0, BAR)
        if room.width() > 30.0:
            painter.setPen(QColor(theme.current().text))
            fitted = QFontMetricsF(self.font()).elidedText(span.title, Qt.TextElideMode.ElideRight, room.width())
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, fitted)


def _about(span: Span) -> str:
    waited, ran = (span.started_ms - span.begin_ms) / 1000, (span.end_ms - span.started_ms) / 1000
    return f"{span.title}: {span.state}\nwaited {duration(waited)}, ran {duration(ran)}"
