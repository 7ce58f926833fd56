"""What all views of time have: a period that is zoomed, moved and followed, and its marks."""

from __future__ import annotations

import time

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QHideEvent, QKeyEvent, QMouseEvent, QPainter, QShowEvent, QWheelEvent
from PySide6.QtWidgets import QToolTip, QWidget
from typing_extensions import override

from rfm_ui.model.gantt import Period, marks
from rfm_ui.view import theme
from rfm_ui.view.words import as_tip

__all__ = ["HEAD", "TimeView"]

FIRST_MS = 300_000.0
"""What is shown first: the last five minutes."""
PAINT_MS = 250
HEAD = 26.0
"""Of the marks."""
MARK = 90.0
CLOSER = 0.8
NOTCH = 120.0
PAN = 0.2
LINE = 26.0
"""Through which Shift and the wheel go, two a notch."""


class TimeView(QWidget):
    """wheel: nearer or farther in time; drag: along; End: now; Ctrl and arrows, Enter: what lies there.

    Views of one page are told of each other's period.
    """

    period_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        now_ms = time.time() * 1000
        self._period = Period(now_ms - FIRST_MS, now_ms).at(now_ms)
        self._scroll = 0.0
        self._pressed: QPointF | None = None
        self._has_moved = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._clock = QTimer(self)
        self._clock.setInterval(PAINT_MS)
        self._clock.timeout.connect(self.update)

    @property
    def period(self) -> Period:
        """What of time is shown."""
        return self._period

    def show_period(self, period: Period) -> None:
        """Another part of time."""
        self._period = period
        self.period_changed.emit(period)
        self.update()

    def follow(self, period: Period) -> None:
        """Another view shows this part of time."""
        self._period = period
        self.update()

    # --- what each of them has of its own ---------------------------------------------------

    def about(self, place: QPointF) -> str:
        """What is said of what lies at a place; "" for nothing."""
        raise NotImplementedError

    def clicked(self, place: QPointF) -> None:
        """Somebody chose what lies at a place."""
        raise NotImplementedError

    def go(self, rows: int, steps: int) -> None:
        """Point at what lies beside, by keys."""
        raise NotImplementedError

    def enter(self) -> None:
        """Choose what is pointed at."""
        raise NotImplementedError

    # --- for them ---------------------------------------------------------------------------

    def x_of(self, at_ms: float) -> float:
        """Where a moment is."""
        return self._period.place(at_ms) * self.width()

    def moment(self, x: float) -> float:
        """Which moment is there, ms since 1970."""
        return self._period.begin_ms + self._period.length_ms * x / max(1, self.width())

    def paint_marks(self, painter: QPainter) -> None:
        """The ground, and the marks of time."""
        colours, letters = theme.current(), QFontMetricsF(self.font())
        painter.fillRect(self.rect(), QColor(colours.panel))
        for mark in marks(self._period, max(1, int(self.width() / MARK))):
            x = self.x_of(mark.at_ms)
            painter.setPen(QColor(colours.line))
            painter.drawLine(QPointF(x, HEAD), QPointF(x, self.height()))
            painter.setPen(QColor(colours.faint))
            half = letters.horizontalAdvance(mark.text) / 2
            if half <= x <= self.width() - half:
                painter.drawText(QRectF(x - MARK / 2, 0.0, MARK, HEAD), Qt.AlignmentFlag.AlignCenter, mark.text)

    def paint_present(self, painter: QPainter, now_ms: float) -> None:
        """A line for the present."""
        painter.setPen(QColor(theme.current().accent))
        painter.drawLine(QPointF(self.x_of(now_ms), HEAD), QPointF(self.x_of(now_ms), self.height()))

    # --- as a widget ------------------------------------------------------------------------

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Time passes for who looks."""
        super().showEvent(event)
        self._clock.start()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self._clock.stop()

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Nearer or farther; with Shift through the lanes."""
        notches = event.angleDelta().y() / NOTCH
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._scroll -= notches * LINE * 2
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
            said = self.about(event.position())
            self.setCursor(Qt.CursorShape.PointingHandCursor if said else Qt.CursorShape.ArrowCursor)
            QToolTip.showText(event.globalPosition().toPoint(), as_tip(said), self)
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
        if pressed is not None and not self._has_moved:
            self.clicked(event.position())

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The same by keys."""
        by_step = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        match event.key():
            case Qt.Key.Key_Up:
                self.go(-1, 0)
            case Qt.Key.Key_Down:
                self.go(1, 0)
            case Qt.Key.Key_Left if by_step:
                self.go(0, -1)
            case Qt.Key.Key_Right if by_step:
                self.go(0, 1)
            case Qt.Key.Key_Return | Qt.Key.Key_Enter:
                self.enter()
            case Qt.Key.Key_PageUp | Qt.Key.Key_PageDown:
                self._scroll += (self.height() - HEAD) * (1 if event.key() == Qt.Key.Key_PageDown else -1)
                self.update()
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
