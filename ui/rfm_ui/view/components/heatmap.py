"""`Heatmap`: how much ran when, a strip of colour for each kind or owner; a click asks which operations that were."""

from __future__ import annotations

import time
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from rfm_runtime.protocol.timeline import By, TimelineReply
from rfm_ui.model.far import FAINTEST, Heat, bin_at, heat, highest, level, said, same_bin, when
from rfm_ui.model.themes import Theme
from rfm_ui.view import theme
from rfm_ui.view.components.time_view import HEAD, TimeView

__all__ = ["Cell", "Heatmap"]

STRIP = 24.0
GAP = 12.0
FOOT = 30.0
"""Of the legend."""
SCALE = 160.0
INSET = 10.0
BETWEEN = 10.0
"""A name and its number."""


class Cell(NamedTuple):
    """A part of a row. name: of the row, None for those that have none of their own."""

    row: int
    number: int
    name: str | None
    title: str
    begin_ms: int
    end_ms: int


class Heatmap(TimeView):
    """chosen(Cell) on a click, or Enter; up and down, Ctrl and left and right go from cell to cell."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.reply: TimelineReply | None = None
        self.rows: list[Heat] = []
        self.cell: Cell | None = None
        self._strips: list[QImage] = []
        self._painted_in: Theme | None = None
        self.setMinimumHeight(140)
        self.setAccessibleName("Heatmap")

    def show_reply(self, reply: TimelineReply | None, by: By = "kind") -> None:
        """What the runtime has counted; None: nothing yet. by: what its rows are divided by."""
        before, self.reply = self.reply, reply
        self.rows = [] if reply is None else heat(reply, by)
        self._strips = []
        self.cell = None if self.cell is None else self._kept(self.cell, before)
        count = "" if reply is None else f"{reply.everything.operations:,} operations"
        self.setAccessibleDescription(count)
        self.update()

    def rect_of(self, cell: Cell) -> QRectF:
        """Where it is."""
        left, right = self.x_of(cell.begin_ms), self.x_of(cell.end_ms)
        return QRectF(left, self._top(cell.row), max(2.0, right - left), STRIP)

    def cell_of(self, row: int, number: int) -> Cell | None:
        """The cell of a row and a bin, None if there is none."""
        reply = self.reply
        if reply is None or not (0 <= row < len(self.rows) and 0 <= number < len(reply.everything.peak)):
            return None
        begin_ms = reply.since_ms + number * reply.width_ms
        return Cell(row, number, self.rows[row].name, self.rows[row].title, begin_ms, begin_ms + reply.width_ms)

    def words(self, cell: Cell) -> str:
        """What is said of it."""
        if self.reply is None:
            return ""
        head = f"{cell.title}, {when(self.reply, cell.number)}"
        return "\n".join([head, *said(self.reply, self.rows[cell.row].buckets, cell.number)])

    # --- as a view of time ------------------------------------------------------------------

    @override
    def about(self, place: QPointF) -> str:
        """What is said of the cell at a place."""
        cell = self._at(place)
        return "" if cell is None else self.words(cell)

    @override
    def clicked(self, place: QPointF) -> None:
        """Choose it."""
        self._choose(self._at(place))

    @override
    def go(self, rows: int, steps: int) -> None:
        """To the cell beside."""
        if self.reply is None or not self.rows:
            return
        if self.cell is None:
            last = bin_at(self.reply, min(self._period.end_ms, time.time() * 1000))
            self.cell = self.cell_of(0, len(self.reply.everything.peak) - 1 if last is None else last)
        else:
            self.cell = self.cell_of(self.cell.row + rows, self.cell.number + steps) or self.cell
        if self.cell is not None:
            self.setAccessibleDescription(self.words(self.cell))
            self._show_row(self.cell.row)
        self.update()

    @override
    def enter(self) -> None:
        """Choose the cell."""
        self._choose(self.cell)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Marks, strips with their names, and the legend."""
        now_ms = time.time() * 1000
        self._period = self._period.at(now_ms)
        room = self.height() - HEAD - FOOT
        self._scroll = min(max(0.0, self._scroll), max(0.0, len(self.rows) * self._pitch() + GAP - room))
        painter = QPainter(self)
        self.paint_marks(painter)
        if self.reply is not None:
            self._colour(self.reply)
            painter.setClipRect(QRectF(0.0, HEAD, self.width(), room))
            self._paint_rows(painter, self.reply)
            self.paint_present(painter, now_ms)
            painter.setClipping(False)
            self._paint_legend(painter, self.reply)
        painter.end()

    # --- parts ------------------------------------------------------------------------------

    def _pitch(self) -> float:
        return QFontMetricsF(self.font()).height() + 2.0 + STRIP + GAP

    def _top(self, row: int) -> float:
        return HEAD + GAP / 2 + row * self._pitch() + QFontMetricsF(self.font()).height() + 2.0 - self._scroll

    def _at(self, place: QPointF) -> Cell | None:
        if self.reply is None or not HEAD <= place.y() < self.height() - FOOT:
            return None
        row = next((k for k in range(len(self.rows)) if self._top(k) <= place.y() < self._top(k) + STRIP), None)
        number = bin_at(self.reply, self.moment(place.x()))
        return None if row is None or number is None else self.cell_of(row, number)

    def _show_row(self, row: int) -> None:
        """Scroll as far as it takes."""
        over = HEAD + GAP / 2 - (self._top(row) - self._pitch() + STRIP + GAP)
        under = self._top(row) + STRIP + GAP / 2 - (self.height() - FOOT)
        self._scroll += max(0.0, under) - max(0.0, over)

    def _choose(self, cell: Cell | None) -> None:
        if cell is not None:
            self.cell = cell
            self.chosen.emit(cell)
            self.update()

    def _kept(self, cell: Cell, before: TimelineReply | None) -> Cell | None:
        """The same row and time, if there still is such a cell."""
        row = next((k for k, one in enumerate(self.rows) if one.name == cell.name), None)
        number = same_bin(before, cell.number, self.reply)
        return None if row is None or number is None else self.cell_of(row, number)

    def _colour(self, reply: TimelineReply) -> None:
        """A pixel for each cell, once; they are stretched whenever they are painted."""
        if self._strips and self._painted_in is theme.current():
            return
        self._painted_in = theme.current()
        most = highest(self.rows, reply.width_ms)
        self._strips = []
        for row in self.rows:
            strip = QImage(len(row.buckets.busy_ms), 1, QImage.Format.Format_ARGB32_Premultiplied)
            strip.fill(QColor(theme.current().track))
            for number, busy_ms in enumerate(row.buckets.busy_ms):
                if busy_ms:
                    strip.setPixelColor(number, 0, _ink(level(busy_ms / reply.width_ms, most)))
            self._strips.append(strip)

    def _paint_rows(self, painter: QPainter, reply: TimelineReply) -> None:
        colours, letters = theme.current(), QFontMetricsF(self.font())
        left = self.x_of(reply.since_ms)
        long = self.x_of(reply.since_ms + reply.width_ms * len(reply.everything.peak)) - left
        for place, (row, strip) in enumerate(zip(self.rows, self._strips, strict=True)):
            top = self._top(place)
            painter.drawImage(QRectF(left, top, long, STRIP), strip, QRectF(0.0, 0.0, strip.width(), 1.0))
            head = QRectF(INSET, top - letters.height() - 2.0, self.width() - 2 * INSET, letters.height())
            count = f"{row.buckets.operations:,}"
            space = head.width() - letters.horizontalAdvance(count) - BETWEEN
            title = letters.elidedText(row.title, Qt.TextElideMode.ElideMiddle, space)
            painter.setPen(QColor(colours.text))
            painter.drawText(head, 0, title)
            painter.setPen(QColor(colours.faint))
            painter.drawText(head.adjusted(letters.horizontalAdvance(title) + BETWEEN, 0.0, 0.0, 0.0), 0, count)
        if self.cell is not None:
            painter.setPen(QColor(colours.text))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect_of(self.cell).adjusted(0.5, 0.5, -0.5, -0.5))

    def _paint_legend(self, painter: QPainter, reply: TimelineReply) -> None:
        colours, most = theme.current(), highest(self.rows, reply.width_ms)
        foot = QRectF(INSET, self.height() - FOOT, self.width() - 2 * INSET, FOOT)
        painter.fillRect(QRectF(0.0, foot.top(), self.width(), FOOT), QColor(colours.panel))
        painter.setPen(QColor(colours.faint))
        middle = Qt.AlignmentFlag.AlignVCenter
        if most <= 0.0:
            painter.drawText(foot, middle, "nothing ran in this period")
            return
        letters = QFontMetricsF(self.font())
        first, last = "0", f"{most:,.1f}" if most < 10.0 else f"{most:,.0f}"
        painter.drawText(foot, middle, first)
        bar = QRectF(foot.left() + letters.horizontalAdvance(first) + 8.0, foot.center().y() - 5.0, SCALE, 10.0)
        ramp = QLinearGradient(bar.topLeft(), bar.topRight())
        for step in range(9):
            ramp.setColorAt(step / 8, _ink(level(step / 8 * most, most)) if step else QColor(colours.track))
        painter.fillRect(bar, ramp)
        rest = foot.adjusted(bar.right() - foot.left() + 8.0, 0.0, 0.0, 0.0)
        painter.drawText(rest, middle, f"{last} at once, on average")


def _ink(depth: float) -> QColor:
    """From the ground to the accent."""
    if depth < FAINTEST:
        return QColor(theme.current().track)
    ground, full = QColor(theme.current().track), QColor(theme.current().accent)
    ends = ((ground.redF(), full.redF()), (ground.greenF(), full.greenF()), (ground.blueF(), full.blueF()))
    return QColor.fromRgbF(*(one + (other - one) * depth for one, other in ends))
