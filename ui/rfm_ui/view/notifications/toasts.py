"""Toasts: notifications over the lower right corner of the window, the newest at the bottom."""

from __future__ import annotations

import time

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QColor,
    QEnterEvent,
    QFocusEvent,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.core.counts import counted
from rfm_runtime.core.notifying.notifier import Telling
from rfm_ui.model.toasts import Shown, Stack
from rfm_ui.view import theme
from rfm_ui.view.words import Label, set_tip

__all__ = ["Toast", "Toasts"]

WIDTH = 360
MARGIN = 16
ABOVE = 60
"""The lower edge of the window, where pages have their buttons."""

BAR = 4.0
RADIUS = 8.0
LOOK_MS = 250


class Toast(QFrame):
    """One notification. opened: somebody wants to see what it is about. dismissed: he has seen it."""

    opened = Signal(int)
    dismissed = Signal(int)
    looked_at = Signal(bool)

    def __init__(self, shown: Shown, parent: QWidget) -> None:
        super().__init__(parent)
        self.shown = shown
        telling = shown.telling
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedWidth(WIDTH)
        self.setAccessibleName(f"{telling.title}. {telling.body}" if telling.body else telling.title)
        self.setAccessibleDescription("Enter shows it, Escape dismisses it")
        if telling.operation_ids:
            self.setCursor(Qt.CursorShape.PointingHandCursor)
            set_tip(self, "Show it")
        self.title = _label(telling.title, self)
        strong = self.title.font()
        strong.setWeight(QFont.Weight.DemiBold)
        self.title.setFont(strong)
        # Of this widget from the first: what is shown before it is in a layout would be a window.
        self.body = _label(telling.body, self)
        self.body.setVisible(bool(telling.body))
        self.close_button = QToolButton()
        self.close_button.setText("×")
        self.close_button.setAutoRaise(True)
        self.close_button.setFixedSize(QSize(26, 26))
        self.close_button.setStyleSheet("QToolButton { border: none; padding: 0; font-size: 14pt; }")
        self.close_button.setAccessibleName("Dismiss")
        set_tip(self.close_button, "Dismiss (Escape)")
        self.close_button.setCursor(Qt.CursorShape.ArrowCursor)
        self.close_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.close_button.clicked.connect(lambda: self.dismissed.emit(shown.number))
        layout = QGridLayout(self)
        layout.setContentsMargins(18, 10, 10, 12)
        layout.setHorizontalSpacing(8)
        layout.setVerticalSpacing(3)
        layout.addWidget(self.title, 0, 0, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(self.close_button, 0, 1, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.body, 1, 0, 1, 2)
        layout.setColumnStretch(0, 1)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = QRectF(self.rect()).adjusted(0.75, 0.75, -0.75, -0.75)
        shape = QPainterPath()
        shape.addRoundedRect(whole, RADIUS, RADIUS)
        painter.fillPath(shape, QColor(colours.panel))
        painter.save()
        painter.setClipPath(shape)
        tone = QColor(colours.links[self.shown.telling.tone])
        painter.fillRect(QRectF(0.0, 0.0, BAR + 0.75, float(self.height())), tone)
        painter.restore()
        edge = QColor(colours.accent if self.hasFocus() else colours.line)
        painter.setPen(QPen(edge, 2.0 if self.hasFocus() else 1.0))
        painter.drawPath(shape)
        painter.end()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.opened.emit(self.shown.number)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.opened.emit(self.shown.number)
        elif key in (Qt.Key.Key_Escape, Qt.Key.Key_Delete):
            self.dismissed.emit(self.shown.number)
        else:
            super().keyPressEvent(event)

    @override
    def enterEvent(self, event: QEnterEvent) -> None:
        self.looked_at.emit(True)
        super().enterEvent(event)

    @override
    def leaveEvent(self, event: QEvent) -> None:
        self.looked_at.emit(self.hasFocus())
        super().leaveEvent(event)

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        self.looked_at.emit(True)
        self.update()
        super().focusInEvent(event)

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.looked_at.emit(self.underMouse())
        self.update()
        super().focusOutEvent(event)


class Toasts(QWidget):
    """All of them, over `window`. wanted(Telling): somebody wants to see what one is about."""

    wanted = Signal(object)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.stack = Stack()
        self.setAccessibleName("Notifications")
        self._window = window
        self._toasts: dict[int, Toast] = {}
        self._before: QWidget | None = None
        self._is_looked_at = False
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(8)
        self._rows.setAlignment(Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignRight)
        self.more = _Strip(self)
        self.more.all_button.clicked.connect(self.dismiss_all)
        self._rows.addWidget(self.more)
        self._clock = QTimer(self)
        self._clock.setInterval(LOOK_MS)
        self._clock.timeout.connect(self._tick)
        window.installEventFilter(self)
        self.hide()

    @property
    def toasts(self) -> list[Toast]:
        """From the top."""
        return [self._toasts[one.number] for one in self.stack.shown]

    def put(self, telling: Telling) -> None:
        """Show it, or have it wait for a place."""
        self.stack.put(telling, time.monotonic())
        self._refresh()

    def focus_newest(self) -> None:
        """For whoever has no mouse."""
        if self.stack.shown:
            self._before = self._window.focusWidget()
            self.toasts[-1].setFocus(Qt.FocusReason.ShortcutFocusReason)

    def dismiss_all(self) -> None:
        """And those that wait."""
        self.stack.dismiss_all()
        self._refresh()

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and watched is self._window:
            self._place()
        elif event.type() == QEvent.Type.WindowStateChange and watched is self._window:
            self._hold(self._is_looked_at)
        return False

    def _dismiss(self, number: int) -> None:
        had_focus = number in self._toasts and self._toasts[number].hasFocus()
        self.stack.dismiss(number, time.monotonic())
        self._refresh()
        if had_focus:
            # On to the next one, and at last to where one was before.
            after = self.toasts[-1] if self.stack.shown else self._before
            if after is not None:
                after.setFocus(Qt.FocusReason.OtherFocusReason)

    def _open(self, number: int) -> None:
        telling = self._toasts[number].shown.telling
        self._dismiss(number)
        self.wanted.emit(telling)

    def _hold(self, is_looked_at: bool) -> None:
        """None goes while somebody points at one, nor while nobody can see them."""
        self._is_looked_at = is_looked_at
        self.stack.hold(is_held=is_looked_at or self._window.isMinimized(), now_s=time.monotonic())

    def _tick(self) -> None:
        if self.stack.tick(time.monotonic()):
            self._refresh()

    def _refresh(self) -> None:
        shown = {one.number: one for one in self.stack.shown}
        gone = [number for number in self._toasts if number not in shown]
        for number in gone:
            toast = self._toasts.pop(number)
            self._rows.removeWidget(toast)
            toast.hide()
            toast.deleteLater()
        if gone:
            # Nobody points at what is gone, and it does not say so.
            self._hold(any(one.underMouse() or one.hasFocus() for one in self._toasts.values()))
        fresh = [one for number, one in shown.items() if number not in self._toasts]
        for one in fresh:
            self._add(one)
        self.more.show_count(self.stack.waiting)
        self.setVisible(bool(shown))
        if shown:
            self._clock.start()
            self._place()
            self.raise_()
        else:
            self._clock.stop()
        for one in fresh:
            # Said by screen readers, wherever the focus is.
            QAccessible.updateAccessibility(QAccessibleEvent(self._toasts[one.number], QAccessible.Event.Alert))

    def _add(self, one: Shown) -> None:
        toast = self._toasts[one.number] = Toast(one, self)
        toast.opened.connect(self._open)
        toast.dismissed.connect(self._dismiss)
        toast.looked_at.connect(self._hold)
        self._rows.addWidget(toast)
        toast.show()

    def _place(self) -> None:
        self._rows.activate()
        # A label with words that are broken knows its height by its width alone.
        height = self._rows.spacing() * max(0, self._rows.count() - 1)
        for widget in (self.more, *self._toasts.values()):
            if not widget.isHidden():
                height += widget.heightForWidth(WIDTH) if widget.hasHeightForWidth() else widget.sizeHint().height()
        height = min(height, self._window.height() - MARGIN - ABOVE)
        self.setGeometry(self._window.width() - WIDTH - MARGIN, self._window.height() - height - ABOVE, WIDTH, height)


class _Strip(QFrame):
    """How many more there are."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedWidth(WIDTH)
        self.told = Label()
        self.all_button = QToolButton()
        self.all_button.setText("Dismiss all")
        self.all_button.setAccessibleName("Dismiss all notifications")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 6, 8, 6)
        layout.addWidget(self.told, 1)
        layout.addWidget(self.all_button)
        self.hide()

    def show_count(self, count: int) -> None:
        self.setVisible(bool(count))
        self.told.setText(f"and {counted(count, 'more notification')}")

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(colours.line))
        painter.setBrush(QColor(colours.panel))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), RADIUS, RADIUS)
        painter.end()


def _label(text: str, parent: QWidget) -> Label:
    label = Label(text, parent)
    label.setWordWrap(True)
    policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
    policy.setHeightForWidth(True)
    label.setSizePolicy(policy)
    # A click on it is one on the toast.
    label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    return label
