"""The part of the settings that is about notifications: what the rules say, and where they are changed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QFont
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from rfm_runtime.core.notifying.sentences import quiet_text, sentence
from rfm_runtime.protocol.notifying import RulesReply
from rfm_ui.view.notifications.centre import Notifications
from rfm_ui.view.words import Label

__all__ = ["NotificationsPage"]


class NotificationsPage(QWidget):
    """change: opens the rules."""

    def __init__(
        self, notifications: Notifications, change: Callable[[], object], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._notifications = notifications
        self.rules, self.quiet = _text("Rules"), _text("Quiet hours")
        self.silent = QCheckBox("Silence: neither tone nor voice in this window")
        self.silent.setChecked(notifications.silent.isChecked())
        self.silent.clicked.connect(notifications.silent.trigger)
        notifications.silent.toggled.connect(self.silent.setChecked)
        self.change = QPushButton("Change rules and quiet hours …")
        self.change.setAutoDefault(False)
        self.change.clicked.connect(lambda _checked=False: change())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for head, text in (("You are told", self.rules), ("Quiet hours", self.quiet)):
            layout.addWidget(_head(head))
            layout.addWidget(text)
        buttons = QHBoxLayout()
        buttons.addWidget(self.change)
        buttons.addStretch(1)
        layout.addLayout(buttons)
        layout.addSpacing(8)
        layout.addWidget(self.silent)
        layout.addStretch(1)
        notifications.rules_known.connect(self._show)
        self._show(notifications.known)

    def _show(self, known: RulesReply | None) -> None:
        if known is None:
            self.rules.setText("The server has not said yet what you want to be told of.")
            self.quiet.setText("")
            return
        on = [sentence(rule) for rule in known.rules.rules if rule.is_on]
        self.rules.setText("\n".join(on) or "nothing: no rule is on")
        self.quiet.setText("\n".join(map(quiet_text, known.rules.quiet)) or "none")


def _head(word: str) -> Label:
    label = Label(word)
    strong = label.font()
    strong.setWeight(QFont.Weight.DemiBold)
    label.setFont(strong)
    return label


def _text(name: str) -> Label:
    label = Label()
    label.setWordWrap(True)
    label.setAccessibleName(name)
    return label
