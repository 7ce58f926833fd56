"""`ConnectionStatusIndicator`: whether a server is there, why not, and when it is tried again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPushButton, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.client.link import LinkState
from rfm_ui.model.link import LinkNews, view_of
from rfm_ui.view import theme
from rfm_ui.view.components.parents import parent_of
from rfm_ui.view.words import Label, set_tip

__all__ = ["ConnectionStatusIndicator", "ReconnectionDialog"]

COUNT_MS = 250
OPENING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)


class ConnectionStatusIndicator(QWidget):
    """A dot and a word; a click shows more.

    parent_id: a widget, or the object name of one, which it is put into. `retry_wanted` is emitted when somebody asks
    for a try at once; with can_sign_in, `sign_in_wanted` instead where it is another token that helps. Raises
    BadRequestError if there is no such widget.
    """

    retry_wanted = Signal()
    sign_in_wanted = Signal()

    def __init__(self, parent_id: QWidget | str | None = None, *, can_sign_in: bool = False) -> None:
        parent = parent_of(parent_id)
        super().__init__(parent)
        self._can_sign_in = can_sign_in
        if parent is not None and (layout := parent.layout()) is not None:
            layout.addWidget(self)
        self._news = LinkNews("connecting", time.monotonic())
        self._dialog: ReconnectionDialog | None = None
        self._count = QTimer(self)
        self._count.setInterval(COUNT_MS)
        self._count.timeout.connect(self._refresh)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._refresh()

    def update_status(self, connected: bool, details: Mapping[str, Any] | None = None) -> None:
        """Show a change, as `ResilientWebSocketClient.on_connection_change` tells it.

        details: `state`, `attempt`, `next_try_in_s`, `reason`, `hint`, as far as they are known.
        """
        known = dict(details or {})
        now_s = time.monotonic()
        wait_s = known.get("next_try_in_s")
        state: LinkState = "live" if connected else known.get("state", "reconnecting")
        self.show_news(
            LinkNews(
                state,
                now_s,
                attempt=int(known.get("attempt", 0)),
                next_try_s=None if wait_s is None else now_s + float(wait_s),
                reason=str(known.get("reason", "")),
                hint=str(known.get("hint", "")),
            )
        )

    def show_news(self, news: LinkNews) -> None:
        """Show a change, as a `Session` tells it."""
        self._news = news
        if news.state == "live" and self._dialog is not None:
            self._dialog.accept()
        # Only what counts has a clock.
        self._count.start() if news.state in ("reconnecting", "draining", "stale") else self._count.stop()
        self._refresh()

    def show_reconnection_dialog(
        self, attempts: int = 0, next_attempt_time: str | float | None = None, allow_manual: bool = True
    ) -> ReconnectionDialog:
        """Say that the connection is lost. next_attempt_time: when it is tried again, in words or in seconds from now.

        allow_manual: with a button that tries at once. It goes by itself once there is a connection.
        """
        if self._dialog is None:
            self._dialog = ReconnectionDialog(self.window())
            self._dialog.retry_wanted.connect(self.retry_wanted)
            self._dialog.finished.connect(self._dialog_gone)
        when = next_attempt_time if isinstance(next_attempt_time, str) else _seconds(next_attempt_time)
        self._dialog.tell(attempts, when, self._news.reason, allow_manual=allow_manual)
        self._dialog.show()
        return self._dialog

    # --- as a widget ------------------------------------------------------------------------

    @override
    def sizeHint(self) -> QSize:
        """As wide as its word."""
        metrics = QFontMetricsF(self.font())
        return QSize(round(metrics.horizontalAdvance(self.word)) + 34, round(metrics.height()) + 12)

    @property
    def word(self) -> str:
        """What it says."""
        return view_of(self._news, time.monotonic()).word

    @override
    def event(self, event: QEvent) -> bool:
        """A click, Enter or Space shows more."""
        clicked = event.type() == QEvent.Type.MouseButtonRelease
        pressed = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() in OPENING
        if clicked or pressed:
            self._show_more()
            return True
        return super().event(event)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """A dot and a word."""
        shown, colours = view_of(self._news, time.monotonic()), theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.height() / 2.0
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.links[shown.tone]))
        painter.drawEllipse(QRectF(8.0, middle - 4.5, 9.0, 9.0))
        painter.setPen(QColor(colours.text))
        rest = QRectF(24.0, 0.0, self.width() - 24.0, self.height())
        painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter, shown.word)
        if self.hasFocus():
            painter.setPen(QColor(colours.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6.0, 6.0)
        painter.end()

    def _refresh(self) -> None:
        shown = view_of(self._news, time.monotonic())
        self.setAccessibleName(f"Connection: {shown.word}")
        self.setAccessibleDescription(shown.detail)
        set_tip(self, shown.detail or f"The connection is {shown.word}.")
        if self._dialog is not None and shown.may_retry:
            self._dialog.tell(self._news.attempt, _seconds(self._left_s()), self._news.reason, allow_manual=True)
        self.updateGeometry()
        self.update()

    def _show_more(self) -> None:
        if self._can_sign_in and self._news.state == "unauthorised":
            self.sign_in_wanted.emit()
        elif view_of(self._news, time.monotonic()).may_retry:
            self.show_reconnection_dialog(self._news.attempt, self._left_s())

    def _left_s(self) -> float | None:
        return None if self._news.next_try_s is None else self._news.next_try_s - time.monotonic()

    def _dialog_gone(self) -> None:
        if self._dialog is not None:
            self._dialog.deleteLater()
            self._dialog = None


def _seconds(left_s: float | None) -> str:
    return "" if left_s is None else f"in {max(0, round(left_s))} s"


class ReconnectionDialog(QDialog):
    """Why there is no connection, when it is tried again, and a button that does it now. Nothing waits for it."""

    retry_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("No connection")
        self.setMinimumWidth(380)
        self._what = Label()
        self._why = Label()
        self._why.setWordWrap(True)
        self._why.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.retry = QPushButton("Retry now")
        self.retry.clicked.connect(self.retry_wanted)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.addButton(self.retry, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        for widget in (self._what, self._why, buttons):
            layout.addWidget(widget)

    def tell(self, attempts: int, when: str, why: str, *, allow_manual: bool) -> None:
        """What is known now."""
        tried = {0: "The connection to the server is lost", 1: "Tried once"}.get(attempts, f"Tried {attempts} times")
        self._what.setText(f"{tried}; next try {when}." if when else f"{tried}.")
        self._why.setText(why)
        self._why.setVisible(bool(why))
        self.retry.setVisible(allow_manual)
