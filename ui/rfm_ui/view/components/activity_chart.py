"""`ActivityChart`: how many ran at once, and how many ended and how, over time."""

from __future__ import annotations

import time

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from rfm_runtime.protocol.timeline import TimelineReply
from rfm_ui.model.far import bin_at, said, same_bin, when
from rfm_ui.model.lines import Tone
from rfm_ui.view import theme
from rfm_ui.view.components.time_view import HEAD, TimeView

__all__ = ["ActivityChart"]

ENDED_SHARE = 0.38
"""Of the height, below what ran."""
INSET = 10.0
ENDS: tuple[tuple[str, Tone], ...] = (("completed", "good"), ("failed", "bad"), ("canceled", "stopped"))


class ActivityChart(TimeView):
    """chosen((begin_ms, end_ms)) on a click: a bin."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.reply: TimelineReply | None = None
        self.pointed: int | None = None
        self.setMinimumHeight(120)
        self.setAccessibleName("Activity")

    def show_reply(self, reply: TimelineReply | None) -> None:
        """What the runtime has counted; None: nothing yet."""
        self.pointed = same_bin(self.reply, self.pointed, reply)
        self.reply = reply
        if reply is not None:
            most = max(reply.everything.peak)
            self.setAccessibleDescription(f"{reply.everything.operations:,} operations, {most:,} at once at most")
        self.update()

    def words(self) -> str:
        """What stands above its two halves."""
        return "" if self.reply is None else f"{_running(self.reply)}; {_ended(self.reply)}"

    # --- as a view of time ------------------------------------------------------------------

    @override
    def about(self, place: QPointF) -> str:
        """What happened then."""
        number = self._bin(place)
        if self.reply is None or number is None:
            return ""
        return "\n".join([when(self.reply, number), *said(self.reply, self.reply.everything, number)])

    @override
    def clicked(self, place: QPointF) -> None:
        """Choose that bin."""
        number = self._bin(place)
        if number is not None:
            self._choose(number)

    def _choose(self, number: int) -> None:
        self.pointed = number
        self.update()
        if self.reply is not None:
            begin_ms = self.reply.since_ms + number * self.reply.width_ms
            self.chosen.emit((begin_ms, begin_ms + self.reply.width_ms))

    @override
    def go(self, rows: int, steps: int) -> None:
        """To the bin beside."""
        if self.reply is None:
            return
        last = len(self.reply.everything.peak) - 1
        if self.pointed is None:
            now = bin_at(self.reply, min(self._period.end_ms, time.time() * 1000))
            self.pointed = last if now is None else now
        else:
            self.pointed = min(max(0, self.pointed + steps), last)
        self.setAccessibleDescription(
            ", ".join([when(self.reply, self.pointed), *said(self.reply, self.reply.everything, self.pointed)])
        )
        self.update()

    @override
    def enter(self) -> None:
        """Choose the bin."""
        if self.pointed is not None:
            self._choose(self.pointed)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Marks, what ran, and below it what ended."""
        now_ms = time.time() * 1000
        self._period = self._period.at(now_ms)
        painter = QPainter(self)
        self.paint_marks(painter)
        if self.reply is not None:
            whole = QRectF(0.0, HEAD, self.width(), self.height() - HEAD)
            upper = QRectF(whole.left(), whole.top(), whole.width(), whole.height() * (1.0 - ENDED_SHARE))
            lower = QRectF(whole.left(), upper.bottom(), whole.width(), whole.height() - upper.height())
            self._paint_running(painter, self.reply, upper)
            self._paint_ended(painter, self.reply, lower)
            self.paint_present(painter, now_ms)
            if self.pointed is not None:
                left = self.x_of(self.reply.since_ms + self.pointed * self.reply.width_ms)
                wide = self.x_of(self.reply.since_ms + (self.pointed + 1) * self.reply.width_ms) - left
                painter.setPen(QColor(theme.current().text))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(QRectF(left, HEAD, max(2.0, wide), self.height() - HEAD - 1.0))
        painter.end()

    # --- parts ------------------------------------------------------------------------------

    def _bin(self, place: QPointF) -> int | None:
        if self.reply is None or place.y() < HEAD:
            return None
        return bin_at(self.reply, self.moment(place.x()))

    def _paint_running(self, painter: QPainter, reply: TimelineReply, room: QRectF) -> None:
        peaks, colours = reply.everything.peak, theme.current()
        most = max(peaks)
        letters = QFontMetricsF(self.font())
        base, high = room.bottom() - 1.0, room.height() - letters.height() - 8.0
        if most:
            steps = QPolygonF([QPointF(self.x_of(reply.since_ms), base)])
            for number, peak in enumerate(peaks):
                y = base - high * peak / most
                steps.append(QPointF(self.x_of(reply.since_ms + number * reply.width_ms), y))
                steps.append(QPointF(self.x_of(reply.since_ms + (number + 1) * reply.width_ms), y))
            steps.append(QPointF(self.x_of(reply.since_ms + len(peaks) * reply.width_ms), base))
            colour = QColor(colours.tones["running"])
            soft = QColor(colour)
            soft.setAlphaF(0.28)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(colour)
            painter.setBrush(soft)
            painter.drawPolygon(steps)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._caption(painter, room, _running(reply))

    def _paint_ended(self, painter: QPainter, reply: TimelineReply, room: QRectF) -> None:
        colours, all_of_it = theme.current(), reply.everything
        columns = [(getattr(all_of_it, name), QColor(colours.tones[tone])) for name, tone in ENDS]
        most = max(map(sum, zip(*(values for values, _ in columns), strict=True)))
        painter.setPen(QColor(colours.line))
        painter.drawLine(room.topLeft(), room.topRight())
        high = room.height() - QFontMetricsF(self.font()).height() - 8.0
        for number in range(len(all_of_it.peak) if most else 0):
            bottom = room.bottom()
            left = self.x_of(reply.since_ms + number * reply.width_ms)
            wide = max(1.0, self.x_of(reply.since_ms + (number + 1) * reply.width_ms) - left - 1.0)
            for values, colour in columns:
                if values[number]:
                    # Of a thousand that completed, one that failed is seen.
                    tall = max(2.0, high * values[number] / most)
                    bottom -= tall
                    painter.fillRect(QRectF(left, bottom, wide, tall), colour)
        self._caption(painter, room, _ended(reply))

    def _caption(self, painter: QPainter, room: QRectF, text: str) -> None:
        letters, colours = QFontMetricsF(self.font()), theme.current()
        place = QRectF(INSET, room.top() + 3.0, letters.horizontalAdvance(text) + 8.0, letters.height())
        ground = QColor(colours.panel)
        ground.setAlphaF(0.8)
        painter.fillRect(place, ground)
        painter.setPen(QColor(colours.faint))
        painter.drawText(place.adjusted(4.0, 0.0, 0.0, 0.0), Qt.AlignmentFlag.AlignVCenter, text)


def _running(reply: TimelineReply) -> str:
    most = max(reply.everything.peak)
    return f"running at once, {most:,} at most" if most else "nothing ran"


def _ended(reply: TimelineReply) -> str:
    everything = reply.everything
    failed = sum(everything.failed)
    count = sum(everything.completed) + failed + sum(everything.canceled)
    if not count:
        return "nothing ended"
    return f"{count:,} ended" + (f", {failed:,} failed" if failed else "")
