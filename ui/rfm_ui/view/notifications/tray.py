"""The desktop's tray, where there is one: an icon as long as the window is there, and messages."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import QObject, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QMenu, QSystemTrayIcon, QWidget

from rfm_runtime.core.notifying.notifier import Telling
from rfm_ui.model.lines import Tone
from rfm_ui.model.themes import Theme
from rfm_ui.view import theme

__all__ = ["Tray", "as_body", "icon"]

MESSAGE_MS = 10_000
SIZES = (16, 22, 32, 64, 128)
BARS: tuple[tuple[float, float, Tone], ...] = ((0.20, 0.62, "good"), (0.44, 0.86, "running"), (0.68, 0.40, "waiting"))
"""Top, length and tone of each, of the side."""


def icon(colours: Theme) -> QIcon:
    """Three bars, as far as they are."""
    made = QIcon()
    for size in SIZES:
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.panel))
        painter.drawRoundedRect(QRectF(0.0, 0.0, size, size), 0.2 * size, 0.2 * size)
        for top, length, tone in BARS:
            for width, colour in ((0.76, colours.track), (0.76 * length, colours.tones[tone])):
                painter.setBrush(QColor(colour))
                bar = QRectF(0.12 * size, top * size, width * size, 0.13 * size)
                painter.drawRoundedRect(bar, 0.06 * size, 0.06 * size)
        painter.end()
        made.addPixmap(pixmap)
    return made


def as_body(text: str) -> str:
    """Of a message. Desktops take it for markup, with links and pictures, and show none at all that is empty."""
    return escape(text, quote=False) or " "


class Tray(QObject):
    """wanted(Telling): somebody has clicked on its message. raised: on the icon."""

    wanted = Signal(object)
    raised = Signal()

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._last: Telling | None = None
        self.icon: QSystemTrayIcon | None = None
        self.menu: QMenu | None = None
        if not QSystemTrayIcon.isSystemTrayAvailable():
            return
        self.icon = QSystemTrayIcon(icon(theme.current()), self)
        self.icon.setToolTip("rfm-runtime")
        self.menu = QMenu(window)
        self.menu.addAction("Show the window").triggered.connect(self.raised)
        self.menu.addSeparator()
        self.icon.setContextMenu(self.menu)
        self.icon.activated.connect(self._activated)
        self.icon.messageClicked.connect(self._clicked)
        self.icon.show()

    def tell(self, telling: Telling) -> bool:
        """Whether there is a tray that shows it."""
        if self.icon is None or not QSystemTrayIcon.supportsMessages():
            return False
        self._last = telling
        kinds = QSystemTrayIcon.MessageIcon
        kind = {"bad": kinds.Critical, "waiting": kinds.Warning}.get(telling.tone, kinds.Information)
        self.icon.showMessage(telling.title, as_body(telling.body), kind, MESSAGE_MS)
        return True

    def forget(self) -> None:
        """What was told leads nowhere any more."""
        self._last = None

    def close(self) -> None:
        """Take the icon away."""
        if self.icon is not None:
            self.icon.hide()

    def _activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason in (QSystemTrayIcon.ActivationReason.Trigger, QSystemTrayIcon.ActivationReason.DoubleClick):
            self.raised.emit()

    def _clicked(self) -> None:
        if self._last is not None:
            self.wanted.emit(self._last)
