"""What is said of the connection across the window, and what greys what is old."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRectF, Qt, Signal
from PySide6.QtGui import QAccessible, QAccessibleEvent, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_ui.model.link import LinkTone
from rfm_ui.model.strip import Offer, Strip
from rfm_ui.view import theme
from rfm_ui.view.words import Label

__all__ = ["StripBar", "Veil"]

WORDS: dict[Offer, str] = {
    "sign_in": "Sign in …",
    "retry": "Retry now",
    "choose_ca": "Choose CA file …",
    "edit_address": "Edit server …",
    "choose_certificate": "Choose certificate …",
    "pending": "What waits …",
    "dismiss": "Dismiss",
}
OLD = 0.45
"""How much of what is old is covered."""


class StripBar(QWidget):
    """Shows a `Strip`; `wanted(Offer)` when a button is pressed. Hidden while there is nothing to say."""

    wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shown: Strip | None = None
        self._tone: LinkTone = "idle"
        self.title, self.text = Label(), Label()
        for label in (self.title, self.text):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.title.setStyleSheet("font-weight: 600;")
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.title)
        words.addWidget(self.text)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(18, 10, 12, 10)
        layout.setSpacing(8)
        layout.addLayout(words, 1)
        self.buttons: dict[Offer, QPushButton] = {}
        for offer, word in WORDS.items():
            button = QPushButton(word)
            button.clicked.connect(lambda _checked=False, offer=offer: self.wanted.emit(offer))
            self.buttons[offer] = button
            layout.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.hide()

    def show_strip(self, strip: Strip | None) -> None:
        """Show this, or nothing."""
        if strip == self.shown:
            return
        self.shown = strip
        if strip is not None:
            self._tone = strip.tone
            self.title.setText(strip.title)
            self.text.setText(strip.text)
            self.text.setVisible(bool(strip.text))
            for offer, button in self.buttons.items():
                button.setVisible(offer in strip.offers)
            is_other = strip.title != self.accessibleName()
            self.setAccessibleName(strip.title)
            self.setAccessibleDescription(strip.text)
            if is_other and QAccessible.isActive():
                # Who does not see it is told; a countdown is not told again and again.
                QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))
        self.setVisible(strip is not None)
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """A panel with an edge in the colour of what it says."""
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QColor(colours.line))
        painter.setBrush(QColor(colours.panel))
        painter.drawRoundedRect(whole, 8.0, 8.0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.links[self._tone]))
        painter.drawRoundedRect(QRectF(6.0, 8.0, 4.0, self.height() - 16.0), 2.0, 2.0)
        painter.end()


class Veil(QWidget):
    """Lies over a widget and greys it, without keeping anybody from using it."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("What is below is old")
        over.installEventFilter(self)
        self.hide()

    def cover(self, is_old: bool) -> None:
        """Grey it, or no longer."""
        if is_old:
            self.setGeometry(self._over.rect())
            self.raise_()
        self.setVisible(is_old)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """As large as what it lies over, and above whatever comes."""
        if self.isVisible() and event.type() in (QEvent.Type.Resize, QEvent.Type.ChildAdded, QEvent.Type.LayoutRequest):
            self.setGeometry(self._over.rect())
            self.raise_()
        return False

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """What is behind shines through."""
        colour = QColor(theme.current().window)
        colour.setAlphaF(OLD)
        painter = QPainter(self)
        painter.fillRect(event.rect(), colour)
        painter.end()
