"""The picture of the explorer, and the hands on it: nearer, along, turned; the orbit of a point over it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPen, QWheelEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.pointing import Segment
from rfm_ui.model.views import framed, moved, turned, zoomed
from rfm_ui.view import theme
from rfm_ui.view.picture_view import PictureView

__all__ = ["Canvas"]

NOTCH = 120.0
"""Of a wheel, in Qt's units."""
CLOSER = 0.8
"""How wide a view is after a notch."""
STEP_DEG = 15.0
PAN = 0.15
"""Of the picture's width, for a key."""
LEAST_FRAME = 4.0
"""Pixels of a frame that is meant: less is a hand that shakes."""


class Canvas(PictureView):
    """Shows a view, and says which one is wanted: `wanted(RenderRequest)`; `pointed(QPointF)` in pixels of the picture,
    `left` when the pointer goes.

    Wheel: nearer, farther. Drag: along. Shift and drag: a frame to fill. Control and drag, or the right button: turned
    about the middle. Arrows, +, −, [ and ]: the same by keys.
    """

    wanted = Signal(object)
    pointed = Signal(QPointF)
    left = Signal()

    def __init__(self, view: RenderRequest, parent: QWidget | None = None) -> None:
        super().__init__(view, parent)
        self._pressed: QPointF | None = None
        self._is_turning = False
        self._frame: QRectF | None = None
        self.orbit: Sequence[Segment] = ()
        """What is drawn over the picture."""
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 120)
        self.setAccessibleName("Explorer")
        self.setCursor(Qt.CursorShape.CrossCursor)

    def show_orbit(self, lines: Sequence[Segment]) -> None:
        """Draw these over the picture."""
        if lines or self.orbit:
            self.orbit = lines
            self.update()

    @override
    def show_view(self, view: RenderRequest) -> None:
        """Another view; of the orbit nothing is known there."""
        self.orbit = ()
        super().show_view(view)

    @override
    def draw_over(self, painter: QPainter) -> None:
        """The orbit, and a frame that is drawn."""
        ratio = self.devicePixelRatioF()
        colours = theme.current()
        if self.orbit:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            lines = [QLineF(*line) for line in self.orbit]
            # Light on dark, so that it is seen over any colour.
            for colour, width in ((colours.window, 3.0), (colours.accent, 1.2)):
                painter.setPen(QPen(QColor(colour), width * ratio))
                painter.drawLines(lines)
            painter.setBrush(QColor(colours.accent))
            painter.setPen(QPen(QColor(colours.window), ratio))
            inside = QRectF(0.0, 0.0, self.view.width_px, self.view.height_px).adjusted(1.0, 1.0, -1.0, -1.0)
            for line in lines:
                # Where a line leaves the picture is no place of the orbit.
                if inside.contains(line.p2()):
                    painter.drawEllipse(line.p2(), 2.5 * ratio, 2.5 * ratio)
        if self._frame is not None:
            corner, size = self._frame.topLeft() * ratio, self._frame.size() * ratio
            painter.setBrush(Qt.BrushStyle.NoBrush)
            for colour, width in ((colours.window, 3.0), (colours.accent, 1.5)):
                painter.setPen(QPen(QColor(colour), width * ratio))
                painter.drawRect(QRectF(corner, size))

    # --- hands ------------------------------------------------------------------------------

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Nearer to what is under the pointer, or farther."""
        # With Alt some platforms send it as a sideways one.
        notches = (event.angleDelta().y() or event.angleDelta().x()) / NOTCH
        place = self._place(event.position())
        self._want(zoomed(self.view, CLOSER**notches, place.x(), place.y()), place)
        event.accept()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A drag begins."""
        if event.button() not in (Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton):
            return
        self._pressed = event.position()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        self._is_turning = control or event.button() == Qt.MouseButton.RightButton
        if not self._is_turning and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._frame = QRectF(event.position(), event.position())

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """It goes on."""
        place = self._place(event.position())
        if self._pressed is None:
            self.pointed.emit(place)
            return
        if self._frame is not None:
            self._frame = QRectF(self._pressed, event.position()).normalized()
            self.update()
            return
        before = self._place(self._pressed)
        self._pressed = event.position()
        if self._is_turning:
            self._want(turned(self.view, self._angle(place) - self._angle(before)), self._middle())
        else:
            self._want(moved(self.view, place.x() - before.x(), place.y() - before.y()), place)

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """It ends; a frame is filled."""
        frame = self._let_go()
        if frame is None or min(frame.width(), frame.height()) < LEAST_FRAME:
            return
        corner, opposite = self._place(frame.topLeft()), self._place(frame.bottomRight())
        nearer = framed(self.view, corner.x(), corner.y(), opposite.x() - corner.x(), opposite.y() - corner.y())
        self._want(nearer, self._middle())

    @override
    def leaveEvent(self, event: QEvent) -> None:
        """The pointer is elsewhere."""
        super().leaveEvent(event)
        self.left.emit()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The same by keys."""
        width = self.view.width_px
        middle = self._middle()
        step = PAN * width
        match event.key():
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                wanted = zoomed(self.view, CLOSER, middle.x(), middle.y())
            case Qt.Key.Key_Minus:
                wanted = zoomed(self.view, 1.0 / CLOSER, middle.x(), middle.y())
            case Qt.Key.Key_Left:
                wanted = moved(self.view, step, 0.0)
            case Qt.Key.Key_Right:
                wanted = moved(self.view, -step, 0.0)
            case Qt.Key.Key_Up:
                wanted = moved(self.view, 0.0, step)
            case Qt.Key.Key_Down:
                wanted = moved(self.view, 0.0, -step)
            case Qt.Key.Key_BracketLeft:
                wanted = turned(self.view, STEP_DEG)
            case Qt.Key.Key_BracketRight:
                wanted = turned(self.view, -STEP_DEG)
            case Qt.Key.Key_Escape if self._frame is not None:
                self._let_go()
                return
            case _:
                super().keyPressEvent(event)
                return
        self._want(wanted, middle)

    def _let_go(self) -> QRectF | None:
        frame, self._frame, self._pressed, self._is_turning = self._frame, None, None, False
        self.update()
        return frame

    def _place(self, position: QPointF) -> QPointF:
        return position * self.devicePixelRatioF()

    def _middle(self) -> QPointF:
        return QPointF(self.view.width_px / 2.0, self.view.height_px / 2.0)

    def _angle(self, place: QPointF) -> float:
        """About the middle, counterclockwise, in degrees."""
        from_middle = place - self._middle()
        return math.degrees(math.atan2(-from_middle.y(), from_middle.x()))

    def _want(self, view: RenderRequest, place: QPointF) -> None:
        """The tiles near the place come first."""
        focus_x = min(1.0, max(0.0, place.x() / view.width_px))
        focus_y = min(1.0, max(0.0, place.y() / view.height_px))
        self.wanted.emit(replace(view, focus_x=round(focus_x, 3), focus_y=round(focus_y, 3)))
