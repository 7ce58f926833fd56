"""A picture that fills in: what is computed, over what there was before, moved to where it belongs now."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen, QResizeEvent, QTransform
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from rfm_runtime.protocol.messages import NOT_COMPUTED_RGB, TilePixels
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.picture import Part
from rfm_ui.model.views import is_same_plane, placement
from rfm_ui.view import theme

__all__ = ["PictureView"]

CLEAR = 0


class PictureView(QWidget):
    """Shows a view, as far as its pixels have come."""

    resized = Signal()

    def __init__(self, view: RenderRequest, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = view
        # Room for pixels is made with the first view that is shown.
        self._picture, self._preview, self._base = QImage(), QImage(), QImage()
        self._has_pixels = False
        self._is_blank = True
        self._told = ""
        self._base_view = view

    # --- what is shown ----------------------------------------------------------------------

    def show_view(self, view: RenderRequest) -> None:
        """Another view: what is there is moved to where it belongs, until there is better."""
        if not is_same_plane(self.view, view):
            self._base, self._base_view = _clear(view), view
        elif self._has_pixels:
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
            colours = QImage(pixels.rgb, pixels.width, pixels.height, 3 * pixels.width, QImage.Format.Format_RGB888)
            coarse = colours.convertToFormat(QImage.Format.Format_ARGB32)
            nothing = QColor(*NOT_COMPUTED_RGB).rgb()
            coarse.setAlphaChannel(coarse.createMaskFromColor(nothing, Qt.MaskMode.MaskOutColor))
            painter = QPainter(self._preview)
            painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Source)
            painter.drawImage(QRectF(part.x, part.y, pixels.width * part.step, pixels.height * part.step), coarse)
            painter.end()
        self._has_pixels, self._is_blank = True, False
        self.update()

    def put_whole(self, picture: QImage) -> None:
        """The whole picture of the view, in other colours."""
        self._picture = picture.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        self._has_pixels, self._is_blank = True, False
        self.update()

    def tell(self, why: str) -> None:
        """Where no picture has been yet: why."""
        self._told = why
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
        """The picture, what is drawn over it, and whether it has the keys."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.current().window))
        painter.save()
        ratio = self.devicePixelRatioF()
        painter.scale(1.0 / ratio, 1.0 / ratio)
        self._compose(painter)
        self.draw_over(painter)
        painter.restore()
        if self._is_blank and self._told:
            painter.setPen(QColor(theme.current().text))
            room = QRectF(self.rect()).adjusted(24.0, 24.0, -24.0, -24.0)
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._told)
        if self.hasFocus():
            painter.setPen(QPen(QColor(theme.current().accent), 1.0))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()

    def draw_over(self, painter: QPainter) -> None:
        """More than the picture, in pixels of it."""

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """As much more of the plane as there is room for."""
        super().resizeEvent(event)
        self.resized.emit()

    def _compose(self, painter: QPainter) -> None:
        placed = placement(self._base_view, self.view)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setTransform(QTransform(placed.xx, placed.yx, placed.xy, placed.yy, placed.x0, placed.y0), combine=True)
        painter.drawImage(QPointF(0.0, 0.0), self._base)
        painter.restore()
        painter.drawImage(QPointF(0.0, 0.0), self._preview)
        painter.drawImage(QPointF(0.0, 0.0), self._picture)


def _clear(view: RenderRequest) -> QImage:
    image = QImage(view.width_px, view.height_px, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(CLEAR)
    return image
