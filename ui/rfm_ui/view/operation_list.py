"""Operations in a list: a model over the board, and what is painted in a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
)
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QRegion
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget
from typing_extensions import override

from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.board import Board, runs
from rfm_ui.model.gliding import LONGEST_S, Gliding
from rfm_ui.model.lines import Line, about, line, percent_of, tone_of
from rfm_ui.model.themes import Theme
from rfm_ui.view import theme
from rfm_ui.view.words import as_tip

__all__ = ["OperationDelegate", "OperationList", "OperationListModel", "spoken"]

Index = QModelIndex | QPersistentModelIndex

OPERATION = Qt.ItemDataRole.UserRole
DEPTH = Qt.ItemDataRole.UserRole + 1
SET_IN = 18.0
"""Of a part below what it is part of."""
WAITS = Qt.ItemDataRole.UserRole + 2
ROOT = QModelIndex()

FRAME_MS = 16
"""Sixty a second, and a little."""
KEPT = 64
"""Bars that are remembered though they were not painted: a part of the list may be painted alone."""

# Joined once: joining is slow.
ON_THE_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
ON_THE_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
SELECTED, POINTED_AT = QStyle.StateFlag.State_Selected, QStyle.StateFlag.State_MouseOver
FOCUSED = QStyle.StateFlag.State_HasFocus


def spoken(shown: Line) -> str:
    """A row for who hears it."""
    percent = "" if shown.percent is None else f", {shown.percent:.0f} percent"
    about = (*shown.facts, shown.remark, shown.owner, "part of another" if shown.is_part else "")
    return ", ".join(part for part in (f"{shown.title}, {shown.state}{percent}", *about) if part)


class OperationListModel(QAbstractListModel):
    """The rows of a board, one operation each: `OPERATION` is the `Operation`, `WAITS` what waits for it."""

    def __init__(self, board: Board, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.board = board
        # What waits for an operation until the connection is back.
        self.waits: Callable[[str], str] = lambda _operation_id: ""
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
        if role == DEPTH:
            return self.board.depth(operation)
        if role == Qt.ItemDataRole.DisplayRole:
            return operation.name or operation.kind
        if role == Qt.ItemDataRole.ToolTipRole:
            return as_tip(about(operation, time.time() * 1000))
        if role == Qt.ItemDataRole.AccessibleTextRole:
            waits = self.waits(operation.operation_id)
            return ", ".join(filter(None, (spoken(line(operation, time.time() * 1000)), waits)))
        if role == WAITS:
            return self.waits(operation.operation_id)
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
        self._kept = [(old, self.board.id_at(old.row())) for old in self.persistentIndexList()]

    def reordered(self) -> None:
        """See `Rows`. What was chosen stays chosen, wherever it has gone."""
        for old, operation_id in self._kept:
            row = self.board.row(operation_id)
            self.changePersistentIndex(old, QModelIndex() if row is None else self.index(row))
        self._kept = []
        self.layoutChanged.emit()


class OperationList(QListView):
    """A list of operations, painted a frame at a time: whole rows when there is news of them, bars while they glide.

    All rows are of one height and none is hidden, so what changes in them never moves another.
    """

    def __init__(self, model: OperationListModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self._board = model.board
        self._delegate = OperationDelegate(self)
        self.setItemDelegate(self._delegate)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Operations")
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setTimerType(Qt.TimerType.PreciseTimer)
        self._frame.setInterval(FRAME_MS)
        self._frame.timeout.connect(self._glide)
        self._all: list[str] = []
        model.layoutAboutToBeChanged.connect(self._keep_all)
        model.layoutChanged.connect(self._choose_all)

    @override
    def keyboardSearch(self, search: str) -> None:
        """None: letters are keys of actions, and one that does not apply must not choose another operation."""

    @override
    def dataChanged(self, topLeft: Index, bottomRight: Index, roles: Sequence[int] = ()) -> None:
        """Paint anew. (A list would lay all of its rows out again.)"""
        self.viewport().update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """What is to be painted, and then the next frame if something is under way."""
        # Zero where the desktop's user wants nothing to move by itself.
        moves = self.style().styleHint(QStyle.StyleHint.SH_Widget_Animation_Duration, None, self) > 0
        self._delegate.begin(event.region(), moves)
        super().paintEvent(event)
        if self._delegate.gliding_rows and not self._frame.isActive():
            self._frame.start()

    def _keep_all(self, *_change: object) -> None:
        """Where every row is chosen Qt remembers just that, and nothing is chosen any more once rows come or go."""
        selection, count = self.selectionModel().selection(), self.model().rowCount()
        whole = count > 0 and selection.count() == 1 and selection.at(0).height() == count
        self._all = [self._board.id_at(row) for row in range(count)] if whole else []

    def _choose_all(self, *_change: object) -> None:
        kept, self._all = self._all, []
        if kept and not self.selectionModel().hasSelection():
            rows = sorted(row for one in kept if (row := self._board.row(one)) is not None)
            chosen = QItemSelection()
            for first, last in runs(rows):
                chosen.select(self.model().index(first, 0), self.model().index(last, 0))
            self.selectionModel().select(chosen, QItemSelectionModel.SelectionFlag.Select)

    def _glide(self) -> None:
        for bar in self._delegate.gliding_rows:
            self.viewport().update(bar)


class _Letters:
    """Fonts and measures for the letters of a list."""

    def __init__(self, font: QFont) -> None:
        self.font = font
        self.strong = QFont(font)
        self.strong.setWeight(QFont.Weight.DemiBold)
        self.small = QFont(font)
        self.small.setPointSizeF(font.pointSizeF() * 0.9)
        self.height = QFontMetricsF(font).height()
        self.strong_metrics, self.small_metrics = QFontMetricsF(self.strong), QFontMetricsF(self.small)


class OperationDelegate(QStyledItemDelegate):
    """Paints an operation: its name and what is said of it, its bar, its percent."""

    MARGIN = 12.0
    BAR = 5.0

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.gliding_rows: list[QRect] = []
        """Bars that were painted on their way: where the next frame differs."""
        self._gliding = Gliding()
        self._painted: set[str] = set()
        self._region = QRegion()
        self._now_s = 0.0
        self._letters: _Letters | None = None
        self._colours: dict[str, QColor] = {}
        self._theme: Theme | None = None

    def begin(self, region: QRegion, moves: bool) -> None:
        """A frame: what of the list is painted in it, and whether bars may glide."""
        self._region, self._now_s = region, time.monotonic()
        self._gliding.longest_s = LONGEST_S if moves else 0.0
        self.gliding_rows = []
        if len(self._gliding) > 2 * len(self._painted) + KEPT:
            self._gliding.keep(self._painted)
        self._painted = set()
        if (colours := theme.current()) is not self._theme:
            self._theme, self._colours = colours, {}

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """The same for all rows, by the size of letters."""
        height = QFontMetricsF(option.font).height()
        return QSize(320, round(2.0 * height + 34.0))

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """One row, or its bar if nothing else of it is to be painted."""
        operation: Operation | None = index.data(OPERATION)
        if operation is None:
            return
        rect, state = QRectF(option.rect), option.state
        colours = theme.current()
        painter.save()
        if state & SELECTED:
            painter.fillRect(rect, self._colour(colours.chosen))
        elif state & POINTED_AT:
            painter.fillRect(rect, self._colour(colours.hover))
        set_in = SET_IN * index.data(DEPTH) if operation.parent_id is not None else 0.0
        inner = rect.adjusted(self.MARGIN + set_in, 8.0, -self.MARGIN, -8.0)
        bar = QRectF(inner.left(), inner.bottom() - self.BAR, inner.width(), self.BAR)
        around = bar.toAlignedRect()
        above = QRect(option.rect.left(), option.rect.top(), option.rect.width(), around.top() - option.rect.top())
        if self._region.isEmpty() or self._region.intersects(above):
            line_ = QRectF(rect.left(), rect.bottom() - 1.0, rect.width(), 1.0)
            painter.fillRect(line_, self._colour(colours.line))
            shown = line(operation, time.time() * 1000)
            self._content(painter, inner, option.font, shown, index.data(WAITS) or "")
        self._bar(painter, bar, around, operation)
        if state & FOCUSED:
            painter.setPen(self._colour(colours.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(rect.adjusted(0.5, 0.5, -1.5, -1.5))
        painter.restore()

    def _content(self, painter: QPainter, rect: QRectF, font: QFont, shown: Line, waits: str) -> None:
        colours = theme.current()
        tone = self._colour(colours.tones[shown.tone])
        letters = self._letters
        if letters is None or letters.font != font:
            letters = self._letters = _Letters(QFont(font))
        first = QRectF(rect.left(), rect.top(), rect.width(), letters.height)
        second = QRectF(rect.left(), first.bottom() + 2.0, rect.width(), letters.height)
        faint = self._colour(colours.faint)

        painter.setFont(letters.strong)
        painter.setPen(tone)
        percent = "" if shown.percent is None else f"{shown.percent:.0f} %"
        right = percent if shown.tone in ("running", "stale", "waiting") else shown.state
        room = _text(painter, letters.strong_metrics, first, right, ON_THE_RIGHT) if right else 0.0
        painter.setPen(self._colour(colours.text))
        title = f"↳ {shown.title}" if shown.is_part else shown.title
        _text(painter, letters.strong_metrics, first.adjusted(16.0, 0.0, -room - 12.0, 0.0), title)

        priority = (f"priority {shown.priority:+d}",) if shown.priority else ()
        # The state stands on the right where no percent does.
        words = (shown.state,) if right == percent and shown.tone != "running" else ()
        about = " · ".join((*words, *(shown.facts[:3]), *priority))
        painter.setFont(letters.small)
        painter.setPen(faint)
        used = _text(painter, letters.small_metrics, second, about, ON_THE_RIGHT)
        said = f"{shown.owner} · {shown.remark or shown.kind}"
        if waits:
            said = waits
            painter.setPen(self._colour(colours.links["waiting"]))
        elif shown.tone == "bad":
            painter.setPen(self._colour(colours.tones["bad"]))
        _text(painter, letters.small_metrics, second.adjusted(16.0, 0.0, -used - 12.0, 0.0), said)

        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tone)
        painter.drawEllipse(QRectF(first.left(), first.center().y() - 4.0, 8.0, 8.0))

    def _bar(self, painter: QPainter, rect: QRectF, around: QRect, operation: Operation) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colour(theme.current().track))
        painter.drawRoundedRect(rect, 2.5, 2.5)
        known = percent_of(operation)
        if known is None:
            return
        operation_id = operation.operation_id
        percent = self._gliding.towards(operation_id, known, self._now_s)
        self._painted.add(operation_id)
        if self._gliding.moves(operation_id, self._now_s):
            self.gliding_rows.append(around)
        if percent:
            painter.setBrush(self._colour(theme.current().tones[tone_of(operation)]))
            done = QRectF(rect.left(), rect.top(), max(self.BAR, rect.width() * percent / 100.0), rect.height())
            painter.drawRoundedRect(done, 2.5, 2.5)

    def _colour(self, name: str) -> QColor:
        colour = self._colours.get(name)
        if colour is None:
            colour = self._colours[name] = QColor(name)
        return colour


def _text(
    painter: QPainter, metrics: QFontMetricsF, rect: QRectF, text: str, side: Qt.AlignmentFlag = ON_THE_LEFT
) -> float:
    """Write as much as there is room for; how wide it is."""
    width, room = metrics.horizontalAdvance(text), max(0.0, rect.width())
    if width > room:
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
        width = metrics.horizontalAdvance(text)
    painter.drawText(rect, side, text)
    return width
