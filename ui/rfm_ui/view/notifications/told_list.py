"""What was told lately, for whoever was away when it was: the newest on top."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from rfm_runtime.core.notifying.words import Tone
from rfm_runtime.core.text import local_time
from rfm_ui.view import theme
from rfm_ui.view.notifications.centre import Notifications
from rfm_ui.view.words import Label, set_tip

__all__ = ["ToldList"]

TELLING = Qt.ItemDataRole.UserRole
DOT_PX = 10


class ToldList(QWidget):
    """wanted(Telling): somebody wants to see what it is about."""

    wanted = Signal(object)

    def __init__(self, notifications: Notifications, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notifications = notifications
        self.list = QListWidget()
        self.list.setAccessibleName("What was told lately")
        self.list.setIconSize(QSize(DOT_PX, DOT_PX))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.itemActivated.connect(lambda item: self.wanted.emit(item.data(TELLING)))
        self.none = Label("Nothing was told since this window was opened.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.none)
        layout.addWidget(self.list, 1)
        layout.addStretch(0)
        notifications.told.connect(self._show)
        self._show()

    def _show(self, *_telling: object) -> None:
        self.list.clear()
        for at_ms, telling in reversed(self._notifications.lately):
            when = local_time(at_ms)[11:16]
            item = QListWidgetItem(_dot(telling.tone), f"{when}  {telling.title}\n{telling.body}".rstrip())
            item.setData(TELLING, telling)
            set_tip(item, "Enter, or a double click, shows it" if telling.operation_ids else "")
            self.list.addItem(item)
        self.none.setVisible(not self.list.count())
        self.list.setVisible(bool(self.list.count()))


def _dot(tone: Tone) -> QIcon:
    side = 4 * DOT_PX
    pixmap = QPixmap(side, side)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(theme.current().links[tone]))
    painter.drawEllipse(2, 2, side - 4, side - 4)
    painter.end()
    return QIcon(pixmap)
