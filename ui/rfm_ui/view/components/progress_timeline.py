"""`ProgressTimeline`: operations as bars over time, running and finished ones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from rfm_runtime.core.text import duration
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.gantt import Span, laid_out, neighbour
from rfm_ui.model.inks import bar
from rfm_ui.model.lines import Tone
from rfm_ui.model.themes import Theme
from rfm_ui.view import theme
from rfm_ui.view.components.parents import parent_of
from rfm_ui.view.components.time_view import HEAD, TimeView

__all__ = ["ProgressTimeline"]

LANE = 26.0
BAR = 20.0
ROUND = 6.0
"""Pixels of a bar that has round corners."""


class ProgressTimeline(TimeView):
    """Bars of operations. `chosen(operation_id)` on a click; wheel: nearer or farther in time; drag: along; End: now.

    parent_id: a widget, or the object name of one. Raises BadRequestError if there is no such widget.
    """

    chosen = Signal(str)

    def __init__(self, parent_id: QWidget | str | None = None) -> None:
        super().__init__(parent_of(parent_id))
        self._operations: list[Operation] = []
        self._spans: list[Span] = []
        self._theme: Theme | None = None
        self._inks: dict[Tone, tuple[QColor, QColor]] = {}
        self.pointed = ""
        """Id of the operation whose bar is pointed at."""
        self.setMinimumHeight(120)
        self.setAccessibleName("Timeline")

    @property
    def spans(self) -> list[Span]:
        """What is shown, as it was painted last."""
        return self._spans

    def show_operations(self, operations: Iterable[Operation]) -> None:
        """These, running and finished ones, in any order."""
        self._operations = list(operations)
        self.update()

    def rect_of(self, span: Span) -> QRectF:
        """Where its bar is."""
        left, right = self.x_of(span.begin_ms), self.x_of(span.end_ms)
        top = HEAD + 4.0 + span.lane * LANE - self._scroll
        return QRectF(left, top, max(3.0, right - left), BAR)

    # --- as a view of time ------------------------------------------------------------------

    @override
    def about(self, place: QPointF) -> str:
        """What is said of the bar at a place."""
        span = self._at(place)
        return "" if span is None else _about(span)

    @override
    def clicked(self, place: QPointF) -> None:
        """Choose it."""
        span = self._at(place)
        if span is not None:
            self.pointed = span.operation_id
            self.chosen.emit(span.operation_id)
            self.update()

    @override
    def go(self, rows: int, steps: int) -> None:
        """To the bar that begins next, or before."""
        span = neighbour(self._spans, self.pointed, rows + steps)
        if span is not None:
            self.pointed = span.operation_id
            self.setAccessibleDescription(_about(span))
            rect = self.rect_of(span)
            self._scroll += max(0.0, rect.bottom() + 4.0 - self.height()) - max(0.0, HEAD + 4.0 - rect.top())
            self.update()

    @override
    def enter(self) -> None:
        """Choose the bar."""
        if self.pointed:
            self.chosen.emit(self.pointed)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Marks, bars, and a line for the present."""
        now_ms = time.time() * 1000
        self._period = self._period.at(now_ms)
        self._spans = laid_out(self._operations, self._period, now_ms)
        if not self.pointed:
            self.setAccessibleDescription(f"{len(self._spans)} operations")
        lanes = 1 + max((span.lane for span in self._spans), default=0)
        self._scroll = min(max(0.0, self._scroll), max(0.0, lanes * LANE - (self.height() - HEAD)))
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.paint_marks(painter)
        painter.setClipRect(QRectF(0.0, HEAD, self.width(), self.height() - HEAD))
        if theme.current() is not self._theme:
            self._theme = theme.current()
            self._inks = _inks(self._theme)
        for span in self._spans:
            self._paint_span(painter, span, self._inks)
        self.paint_present(painter, now_ms)
        painter.end()

    # --- parts ------------------------------------------------------------------------------

    def _at(self, place: QPointF) -> Span | None:
        if place.y() < HEAD:
            return None
        # The newest lies on top.
        return next((span for span in reversed(self._spans) if self.rect_of(span).contains(place)), None)

    def _paint_span(self, painter: QPainter, span: Span, inks: Mapping[Tone, tuple[QColor, QColor]]) -> None:
        rect = self.rect_of(span)
        if rect.bottom() < HEAD or rect.top() > self.height():
            return
        soft, colour = inks[span.tone]
        started = max(rect.left(), self.x_of(span.started_ms))
        share = 1.0 if span.percent is None else span.percent / 100.0
        done = QRectF(started, rect.top(), max(0.0, (rect.right() - started) * share), rect.height())
        if rect.width() < ROUND:
            # Of so narrow a bar nobody sees the corners, and there may be thousands.
            painter.fillRect(rect, soft)
            painter.fillRect(done, colour)
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(soft)
            painter.drawRoundedRect(rect, 4.0, 4.0)
            painter.setBrush(colour)
            painter.drawRoundedRect(done, 4.0, 4.0)
        if span.operation_id == self.pointed:
            painter.setPen(QPen(QColor(theme.current().text), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 4.0, 4.0)
        room = QRectF(max(4.0, rect.left() + 6.0), rect.top(), rect.right() - max(4.0, rect.left() + 6.0) - 4.0, BAR)
        if room.width() > 30.0:
            painter.setPen(QColor(theme.current().text))
            fitted = QFontMetricsF(self.font()).elidedText(span.title, Qt.TextElideMode.ElideRight, room.width())
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, fitted)


def _inks(colours: Theme) -> dict[Tone, tuple[QColor, QColor]]:
    """Pale and full, of each tone."""
    made = {tone: bar(colours, colour) for tone, colour in colours.tones.items()}
    return {tone: (QColor(one.pale), QColor(one.full)) for tone, one in made.items()}


def _about(span: Span) -> str:
    waited, ran = (span.started_ms - span.begin_ms) / 1000, (span.end_ms - span.started_ms) / 1000
    return f"{span.title}: {span.state}\nwaited {duration(waited)}, ran {duration(ran)}"
