"""Small pictures of one operation: curves over its time, and its tiles."""

from __future__ import annotations

from math import floor

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from rfm_ui.model.telling import Curve, Tiles
from rfm_ui.view import theme

__all__ = ["CurveView", "TilesView"]

CELL = 14.0
"""A tile at most, in points; its gap is a tenth."""
TILES_HEIGHT = 150.0


class CurveView(QWidget):
    """A curve, with what its top and its length are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.curve = Curve([], 0.0, "", "")
        self._name = name
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_curve(self, curve: Curve) -> None:
        """Show this one."""
        if curve != self.curve:
            self.curve = curve
            said = f"up to {curve.said} in {curve.span}" if curve.points else "not measured yet"
            self.setAccessibleDescription(f"{self._name}: {said}")
            self.update()

    @override
    def sizeHint(self) -> QSize:
        """Small."""
        return QSize(240, 84)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """The curve over what lies under it."""
        colours, curve = theme.current(), self.curve
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QColor(colours.line))
        painter.setBrush(QColor(colours.window))
        painter.drawRoundedRect(whole, 6.0, 6.0)
        if not curve.points:
            painter.setPen(QColor(colours.faint))
            painter.drawText(whole, Qt.AlignmentFlag.AlignCenter, "not measured yet")
            painter.end()
            return
        small = QFont(self.font())
        small.setPointSizeF(small.pointSizeF() * 0.85)
        letters = QFontMetricsF(small).height()
        inner = whole.adjusted(6.0, letters + 4.0, -6.0, -6.0)
        first_ms, last_ms = curve.points[0][0], max(curve.points[-1][0], curve.points[0][0] + 1)

        def at(t_ms: float, value: float) -> QPointF:
            x = inner.left() + inner.width() * (t_ms - first_ms) / (last_ms - first_ms)
            return QPointF(x, inner.bottom() - inner.height() * value / curve.top)

        line = QPolygonF([at(t_ms, value) for t_ms, value in curve.points])
        under = QPolygonF([*line.toList(), at(last_ms, 0.0), at(first_ms, 0.0)])
        fill = QColor(colours.accent)
        fill.setAlphaF(0.18)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawPolygon(under)
        painter.setPen(QPen(QColor(colours.accent), 1.6))
        painter.drawPolyline(line)
        painter.setFont(small)
        painter.setPen(QColor(colours.faint))
        head = QRectF(whole.left() + 6.0, whole.top() + 2.0, whole.width() - 12.0, letters)
        painter.drawText(head, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, curve.said)
        painter.drawText(head, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, curve.span)
        painter.end()


class TilesView(QWidget):
    """Which tiles are done, each where it lies."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles: Tiles | None = None
        self.setAccessibleName("Tiles")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_tiles(self, tiles: Tiles) -> None:
        """Show these."""
        if tiles != self.tiles:
            before, self.tiles = self.tiles, tiles
            self.setAccessibleDescription(f"{tiles.said} done")
            if before is None or (before.columns, before.rows) != (tiles.columns, tiles.rows):
                self.updateGeometry()
            self.update()

    @override
    def hasHeightForWidth(self) -> bool:
        """As the picture has."""
        return True

    @override
    def heightForWidth(self, width: int) -> int:
        """Of all rows."""
        return 1 if self.tiles is None else round(self._cell(width) * self.tiles.rows)

    @override
    def sizeHint(self) -> QSize:
        """Of a panel."""
        return QSize(240, self.heightForWidth(240))

    def _cell(self, width: float) -> float:
        tiles = self.tiles
        return 0.0 if tiles is None else min(CELL, width / tiles.columns, TILES_HEIGHT / tiles.rows)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Runs of tiles in a row that are alike are one rectangle, where they are too small for gaps."""
        if self.tiles is None:
            return
        colours, tiles, cell = theme.current(), self.tiles, self._cell(self.width())
        gap = cell * 0.1 if cell >= 5.0 else 0.0
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)
        inks = {False: QColor(colours.track), True: QColor(colours.accent)}
        for row in range(tiles.rows):
            begin = row * tiles.columns
            column = 0
            while column < tiles.columns:
                ends, is_done = column + 1, tiles.done[begin + column]
                while not gap and ends < tiles.columns and tiles.done[begin + ends] == is_done:
                    ends += 1
                painter.setBrush(inks[is_done])
                left, right = (column * cell, ends * cell) if gap else (floor(column * cell), floor(ends * cell))
                painter.drawRect(QRectF(left, row * cell, right - left - gap, cell - gap))
                column = ends
        painter.end()
