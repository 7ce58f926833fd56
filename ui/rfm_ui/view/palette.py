"""The palette: every action of every page by a few letters of its name, with its keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QAbstractListModel, QEvent, QModelIndex, QObject, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from rfm_ui.model.palette import Entry, Found, found
from rfm_ui.view import theme

__all__ = ["Palette"]

Index = QModelIndex | QPersistentModelIndex
ROOT = QModelIndex()
ENTRY = Qt.ItemDataRole.UserRole
PLACES = Qt.ItemDataRole.UserRole + 1
WIDTH, HEIGHT = 560, 380
MOVES = {Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown}


class Palette(QDialog):
    """Finds one of some actions and says which: `chosen(number)` is called once it has closed."""

    def __init__(
        self, entries: Sequence[Entry], recent: Sequence[str], chosen: Callable[[int], object], parent: QWidget
    ) -> None:
        super().__init__(parent, Qt.WindowType.Dialog | Qt.WindowType.FramelessWindowHint)
        self.setWindowTitle("Commands")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setModal(True)
        self._chosen = chosen
        self._recent = list(recent)
        self.model = _Entries(entries, self)
        self.field = QLineEdit()
        self.field.setPlaceholderText("What is to be done?")
        self.field.setAccessibleName("Find a command")
        self.field.textChanged.connect(self._find)
        self.field.installEventFilter(self)
        self.list = QListView()
        self.list.setModel(self.model)
        self.list.setItemDelegate(_Delegate(self.list))
        self.list.setUniformItemSizes(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setAccessibleName("Commands")
        self.list.clicked.connect(self._take)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addWidget(self.field)
        layout.addWidget(self.list, 1)
        place = parent.mapToGlobal(parent.rect().topLeft())
        width = min(WIDTH, parent.width() - 40)
        self.setGeometry(
            place.x() + (parent.width() - width) // 2, place.y() + 60, width, min(HEIGHT, parent.height() - 80)
        )
        self._find("")
        self.field.setFocus(Qt.FocusReason.PopupFocusReason)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keys that move in the list, while the letters go into the field."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            key = Qt.Key(event.key())
            if key in MOVES:
                self._move(key)
                return True
            if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._take(self.list.currentIndex())
                return True
        return super().eventFilter(watched, event)

    def _move(self, key: Qt.Key) -> None:
        count, row = self.model.rowCount(), self.list.currentIndex().row()
        if not count:
            return
        page = max(1, self.list.viewport().height() // max(1, self.list.sizeHintForRow(0)))
        match key:
            case Qt.Key.Key_Up:
                row = (row - 1) % count
            case Qt.Key.Key_Down:
                row = (row + 1) % count
            case Qt.Key.Key_PageUp:
                row = max(0, row - page)
            case _:
                row = min(count - 1, row + page)
        self.list.setCurrentIndex(self.model.index(row))

    def _find(self, text: str) -> None:
        self.model.show_found(found(text, self.model.entries, self._recent))
        self.list.setCurrentIndex(self.model.index(0))

    def _take(self, index: Index) -> None:
        """Nothing happens for one that cannot be done: why stands beside it."""
        if index.isValid() and not self.model.entry(index.row()).why_not:
            number = self.model.found[index.row()].number
            self.accept()
            self._chosen(number)


class _Entries(QAbstractListModel):
    """What was found."""

    def __init__(self, entries: Sequence[Entry], parent: QObject) -> None:
        super().__init__(parent)
        self.entries = list(entries)
        self.found: list[Found] = []

    def entry(self, row: int) -> Entry:
        return self.entries[self.found[row].number]

    def show_found(self, found_ones: list[Found]) -> None:
        self.beginResetModel()
        self.found = found_ones
        self.endResetModel()

    @override
    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self.found)

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        entry = self.entry(index.row())
        if role == ENTRY:
            return entry
        if role == PLACES:
            return self.found[index.row()].places
        if role == Qt.ItemDataRole.DisplayRole:
            return entry.name
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(part for part in (entry.name, entry.place, entry.keys, entry.why_not) if part)
        return None


class _Delegate(QStyledItemDelegate):
    """The name with the letters that were looked for, its page or why it cannot be done, its keys."""

    MARGIN = 10.0
    GAP = 12.0

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(200, round(QFontMetricsF(option.font).height() + 14.0))

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        entry: Entry = index.data(ENTRY)
        places: set[int] = set(index.data(PLACES))
        colours = theme.current()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rect = QRectF(option.rect)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.chosen))
            painter.drawRoundedRect(rect.adjusted(2.0, 1.0, -2.0, -1.0), 5.0, 5.0)
        inner = rect.adjusted(self.MARGIN, 0.0, -self.MARGIN, 0.0)
        plain, strong = QFont(option.font), QFont(option.font)
        strong.setWeight(QFont.Weight.Bold)
        right = self._right(painter, inner, plain, entry.keys)
        x = inner.left()
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        for place, letter in enumerate(entry.name):
            font = strong if place in places else plain
            ink = colours.faint if entry.why_not else colours.accent if place in places else colours.text
            painter.setFont(font)
            painter.setPen(QColor(ink))
            width = QFontMetricsF(font).horizontalAdvance(letter)
            painter.drawText(QRectF(x, inner.top(), width + 4.0, inner.height()), flags, letter)
            x += width
        room = QRectF(x + self.GAP, inner.top(), max(0.0, right - x - 2.0 * self.GAP), inner.height())
        painter.setFont(plain)
        painter.setPen(QColor(colours.faint))
        said = QFontMetricsF(plain).elidedText(entry.why_not or entry.place, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, flags, said)
        painter.restore()

    @staticmethod
    def _right(painter: QPainter, rect: QRectF, font: QFont, keys: str) -> float:
        """Write the keys at the right; where they begin."""
        if not keys:
            return rect.right()
        painter.setFont(font)
        painter.setPen(QColor(theme.current().faint))
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        painter.drawText(rect, flags, keys)
        return rect.right() - QFontMetricsF(font).horizontalAdvance(keys)
