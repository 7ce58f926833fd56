"""The picture of the explorer: what is computed, over what there was before, moved to where it belongs now."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from rfm_runtime.protocol.messages import NOT_COMPUTED_RGB, TilePixels
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.picture import Part
from rfm_ui.model.views import framed, moved, placement, turned, zoomed
from rfm_ui.view import theme

__all__ = ["Canvas"]

NOTCH = 120.0
"""Of a wheel, in Qt's units."""
CLOSER = 0.8
"""How wide a view is after a notch."""
STEP_DEG = 15.0
PAN = 0.15
"""Of the picture's width, for a key."""
CLEAR = 0


class Canvas(QWidget):
    """Shows a view, and says which one is wanted: `wanted(RenderRequest)`; `pointed(QPointF)` in pixels of the picture.

    Wheel: nearer, farther. Drag: along. Shift and drag: a frame to fill. Arrows, +, −, [ and ]: the same by keys.
    """

    wanted = Signal(object)
    pointed = Signal(QPointF)
    resized = Signal()

    def __init__(self, view: RenderRequest, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = view
        self._picture = _clear(view)
        self._preview = _clear(view)
        self._has_pixels = False
        self._base = _clear(view)
        self._base_view = view
        self._pressed: QPointF | None = None
        self._frame: QRectF | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 120)
        self.setAccessibleName("Explorer")
        self.setCursor(Qt.CursorShape.CrossCursor)

    # --- what is shown ----------------------------------------------------------------------

    def show_view(self, view: RenderRequest) -> None:
        """Another view: what is there is moved to where it belongs, until there is better."""
        if self._has_pixels:
            # Always from what was computed: a picture that is moved a hundred times is resampled once.
            self._base, self._base_view = self.composed(), self.view
        self.view = view
        self._picture, self._preview = _clear(view), _clear(view)
        self._has_pixels = False
        self.setAccessibleDescription(f"centre {view.re} {view.im}, width {view.width}")
        self.update()

    def put(self, part: Part, pixels: TilePixels) -> None:
        """Pixels of the view have come."""
        if part.step == 1:
            colours = QImage(pixels.rgb, pixels.width, pixels.height, 3 * pixels.width, QImage.Format.Format_RGB888)
            painter = QPainter(self._picture)
            painter.drawImage(QPointF(part.x, part.y), colours)
            painter.end()
        else:
            rgb = np.frombuffer(pixels.rgb, np.uint8).reshape(pixels.height, pixels.width, 3)
            rgba = np.empty((pixels.height, pixels.width, 4), np.uint8)
            rgba[..., :3] = rgb
            rgba[..., 3] = np.where((rgb == NOT_COMPUTED_RGB).all(axis=2), 0, 255)
            size = QSize(pixels.width, pixels.height)
            coarse = QImage(
                rgba.tobytes(), size.width(), size.height(), 4 * pixels.width, QImage.Format.Format_RGBA8888
            )
            painter = QPainter(self._preview)
            painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Source)
            painter.drawImage(QRectF(part.x, part.y, pixels.width * part.step, pixels.height * part.step), coarse)
            painter.end()
        self._has_pixels = True
        self.update()

    def put_whole(self, picture: QImage) -> None:
        """The whole picture of the view, in other colours."""
        self._picture = picture.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        self._has_pixels = True
        self.update()

    def composed(self) -> QImage:
        """What is to be seen, as one picture."""
        whole = QImage(self.view.width_px, self.view.height_px, QImage.Format.Format_ARGB32_Premultiplied)
        whole.fill(QColor(theme.current().window))
        painter = QPainter(whole)
        self._compose(painter)
        painter.end()
        return whole

    def size_px(self) -> tuple[int, int]:
        """Pixels of the screen that it covers."""
        ratio = self.devicePixelRatioF()
        return max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))

    # --- as a widget ------------------------------------------------------------------------

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture, and a frame that is drawn."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.current().window))
        painter.save()
        ratio = self.devicePixelRatioF()
        painter.scale(1.0 / ratio, 1.0 / ratio)
        self._compose(painter)
        painter.restore()
        if self._frame is not None:
            painter.setPen(QPen(QColor(theme.current().accent), 1.5))
            painter.drawRect(self._frame)
        if self.hasFocus():
            painter.setPen(QPen(QColor(theme.current().accent), 1.0))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """As much more of the plane as there is room for."""
        super().resizeEvent(event)
        self.resized.emit()

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Nearer to what is under the pointer, or farther."""
        notches = event.angleDelta().y() / NOTCH
        place = self._place(event.position())
        self._want(zoomed(self.view, CLOSER**notches, place.x(), place.y()), place)
        event.accept()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A drag begins."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        self._pressed = event.position()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._frame = QRectF(event.position(), event.position())

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """It goes on."""
        self.pointed.emit(self._place(event.position()))
        if self._pressed is None:
            return
        if self._frame is not None:
            self._frame = QRectF(self._pressed, event.position()).normalized()
            self.update()
            return
        way = self._place(event.position()) - self._place(self._pressed)
        self._pressed = event.position()
        self._want(moved(self.view, way.x(), way.y()), self._place(event.position()))

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """It ends; a frame is filled."""
        frame, self._frame, self._pressed = self._frame, None, None
        self.update()
        if frame is None or min(frame.width(), frame.height()) < 4.0:
            return
        corner, opposite = self._place(frame.topLeft()), self._place(frame.bottomRight())
        nearer = framed(self.view, corner.x(), corner.y(), opposite.x() - corner.x(), opposite.y() - corner.y())
        self._want(nearer, QPointF(self.view.width_px / 2.0, self.view.height_px / 2.0))

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The same by keys."""
        width, height = self.view.width_px, self.view.height_px
        middle = QPointF(width / 2.0, height / 2.0)
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
            case _:
                super().keyPressEvent(event)
                return
        self._want(wanted, middle)

    # --- parts ------------------------------------------------------------------------------

    def _compose(self, painter: QPainter) -> None:
        placed = placement(self._base_view, self.view)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setTransform(QTransform(placed.xx, placed.yx, placed.xy, placed.yy, placed.x0, placed.y0), combine=True)
        painter.drawImage(QPointF(0.0, 0.0), self._base)
        painter.restore()
        painter.drawImage(QPointF(0.0, 0.0), self._preview)
        painter.drawImage(QPointF(0.0, 0.0), self._picture)

    def _place(self, position: QPointF) -> QPointF:
        return position * self.devicePixelRatioF()

    def _want(self, view: RenderRequest, place: QPointF) -> None:
        """The tiles near the place come first."""
        focus_x = min(1.0, max(0.0, place.x() / view.width_px))
        focus_y = min(1.0, max(0.0, place.y() / view.height_px))
        self.wanted.emit(replace(view, focus_x=round(focus_x, 3), focus_y=round(focus_y, 3)))


def _clear(view: RenderRequest) -> QImage:
    image = QImage(view.width_px, view.height_px, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(CLEAR)
    return image
