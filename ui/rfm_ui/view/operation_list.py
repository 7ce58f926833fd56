"""Operations in a list: a model over the board, and what is painted in a row."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget
from typing_extensions import override

from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.board import Board
from rfm_ui.model.lines import Line, line
from rfm_ui.view import theme

__all__ = ["OperationDelegate", "OperationListModel", "spoken"]

Index = QModelIndex | QPersistentModelIndex

OPERATION = Qt.ItemDataRole.UserRole
ROOT = QModelIndex()


def spoken(shown: Line) -> str:
    """A row for who hears it."""
    percent = "" if shown.percent is None else f", {shown.percent:.0f} percent"
    return ", ".join(part for part in (f"{shown.title}, {shown.state}{percent}", *shown.facts, shown.remark) if part)


class OperationListModel(QAbstractListModel):
    """The rows of a board, one operation each: `Qt.UserRole` is the `Operation`."""

    def __init__(self, board: Board, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.board = board
        self._kept: list[tuple[QModelIndex, str]] = []
        board.shown = self

    @override
    def rowCount(self, parent: Index = ROOT) -> int:
        """As many as are shown."""
        return 0 if parent.isValid() else len(self.board)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The operation, its name, or its row as it is spoken."""
        if not index.isValid() or index.row() >= len(self.board):
            return None
        operation = self.board.at(index.row())
        if role == OPERATION:
            return operation
        if role == Qt.ItemDataRole.DisplayRole:
            return operation.name or operation.kind
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return spoken(line(operation, time.time() * 1000))
        return None

    def operation(self, index: Index) -> Operation:
        """The one in a row."""
        return self.board.at(index.row())

    # --- what the board tells ---------------------------------------------------------------

    def inserting(self, count: int) -> None:
        """See `Rows`."""
        self.beginInsertRows(ROOT, 0, count - 1)

    def inserted(self) -> None:
        """See `Rows`."""
        self.endInsertRows()

    def changed(self, rows: Iterable[int]) -> None:
        """See `Rows`. One signal for all: a view paints what is visible."""
        numbers = list(rows)
        self.dataChanged.emit(self.index(min(numbers)), self.index(max(numbers)))

    def reordering(self) -> None:
        """See `Rows`."""
        self.layoutAboutToBeChanged.emit()
        self._kept = [(old, self.board.at(old.row()).operation_id) for old in self.persistentIndexList()]

    def reordered(self) -> None:
        """See `Rows`. What was chosen stays chosen, wherever it has gone."""
        for old, operation_id in self._kept:
            row = self.board.row(operation_id)
            self.changePersistentIndex(old, QModelIndex() if row is None else self.index(row))
        self._kept = []
        self.layoutChanged.emit()


class OperationDelegate(QStyledItemDelegate):
    """Paints an operation: its name and what is said of it, its bar, its percent."""

    MARGIN = 12.0

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """The same for all rows, by the size of letters."""
        height = QFontMetricsF(option.font).height()
        return QSize(320, round(2.0 * height + 34.0))

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """One row."""
        operation: Operation | None = index.data(OPERATION)
        if operation is None:
            return
        shown = line(operation, time.time() * 1000)
        rect, state = QRectF(option.rect), option.state
        colours = theme.current()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(colours.chosen))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(colours.hover))
        painter.setPen(QColor(colours.line))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        self._content(painter, rect.adjusted(self.MARGIN, 8.0, -self.MARGIN, -8.0), option.font, shown)
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QColor(colours.accent))
            painter.drawRect(rect.adjusted(0.5, 0.5, -1.5, -1.5))
        painter.restore()

    def _content(self, painter: QPainter, rect: QRectF, font: QFont, shown: Line) -> None:
        colours = theme.current()
        tone = QColor(colours.tones[shown.tone])
        strong = QFont(font)
        strong.setWeight(QFont.Weight.DemiBold)
        small = QFont(font)
        small.setPointSizeF(font.pointSizeF() * 0.9)
        height = QFontMetricsF(font).height()
        first = QRectF(rect.left(), rect.top(), rect.width(), height)
        second = QRectF(rect.left(), first.bottom() + 2.0, rect.width(), height)

        percent = "" if shown.percent is None else f"{shown.percent:.0f} %"
        right = percent if shown.tone in ("running", "stale", "waiting") else shown.state
        room = self._text(painter, first, strong, tone, right, Qt.AlignmentFlag.AlignRight) if right else 0.0
        dot = QRectF(first.left(), first.center().y() - 4.0, 8.0, 8.0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tone)
        painter.drawEllipse(dot)
        self._text(painter, first.adjusted(16.0, 0.0, -room - 12.0, 0.0), strong, QColor(colours.text), shown.title)

        priority = (f"priority {shown.priority:+d}",) if shown.priority else ()
        # The state stands on the right where no percent does.
        words = (shown.state,) if right == percent and shown.tone != "running" else ()
        about = " · ".join((*words, *(shown.facts[:3]), *priority))
        used = self._text(painter, second, small, QColor(colours.faint), about, Qt.AlignmentFlag.AlignRight)
        said = shown.remark or f"{shown.kind} · {shown.owner}"
        faint = QColor(colours.tones["bad"] if shown.tone == "bad" else colours.faint)
        self._text(painter, second.adjusted(16.0, 0.0, -used - 12.0, 0.0), small, faint, said)
        self._bar(painter, QRectF(rect.left(), rect.bottom() - 5.0, rect.width(), 5.0), shown, tone)

    @staticmethod
    def _bar(painter: QPainter, rect: QRectF, shown: Line, tone: QColor) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.current().track))
        painter.drawRoundedRect(rect, 2.5, 2.5)
        if shown.percent:
            painter.setBrush(tone)
            painter.drawRoundedRect(QRectF(rect.topLeft(), QSize(0, 0)).adjusted(
                0.0, 0.0, max(5.0, rect.width() * shown.percent / 100.0), rect.height()), 2.5, 2.5)  # fmt: skip

    @staticmethod
    def _text(
        painter: QPainter,
        rect: QRectF,
        font: QFont,
        colour: QColor,
        text: str,
        side: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
    ) -> float:
        """Write as much as there is room for; how wide it is."""
        metrics = QFontMetricsF(font)
        fitted = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0.0, rect.width()))
        painter.setFont(font)
        painter.setPen(colour)
        painter.drawText(rect, side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, fitted)
        return metrics.horizontalAdvance(fitted)


def row_height(widget: QWidget) -> int:
    """Of a list with the widget's letters."""
    option = QStyleOptionViewItem()
    option.font = widget.font()
    return OperationDelegate().sizeHint(option, ROOT).height()
