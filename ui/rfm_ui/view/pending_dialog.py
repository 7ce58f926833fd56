"""What waits for the connection, with a way to take each back."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from rfm_ui.model.pending import phrase
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label

__all__ = ["PendingDialog"]


MOST = 12
"""Shown one by one; there may be thousands."""


class PendingDialog(QDialog):
    """Commands of a session that wait. It goes by itself once none does."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setWindowTitle("Waiting for the connection")
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 60)
        head = Label("These are sent, in this order, when the connection is back. What does nothing then is left out.")
        head.setWordWrap(True)
        self.rows: list[QWidget] = []
        self.buttons: dict[int, QPushButton] = {}
        self._layout = QVBoxLayout()
        self.more = Label()
        self.all = QPushButton("Take all back")
        self.all.setAutoDefault(False)
        self.all.clicked.connect(lambda _checked=False: session.take_back())
        close = QPushButton("Close")
        close.clicked.connect(self.reject)
        foot = QHBoxLayout()
        foot.addWidget(self.all)
        foot.addStretch(1)
        foot.addWidget(close)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(head)
        layout.addLayout(self._layout)
        layout.addWidget(self.more)
        layout.addStretch(1)
        layout.addLayout(foot)
        session.pending_changed.connect(self._fill)
        self._fill()

    def _fill(self) -> None:
        waiting = self._session.pending.all
        if not waiting:
            self.accept()
        for row in self.rows:
            self._layout.removeWidget(row)
            row.deleteLater()
        self.rows, self.buttons = [], {}
        more = len(waiting) - MOST
        self.more.setText(f"and {more:,} more")
        self.more.setVisible(more > 0)
        for one in waiting[:MOST]:
            row = QWidget()
            line = QHBoxLayout(row)
            line.setContentsMargins(0, 0, 0, 0)
            said = phrase(one.command)
            name = Label(f"{said[0].upper()}{said[1:]}")
            name.setWordWrap(True)
            button = QPushButton("Take back")
            button.setAutoDefault(False)
            button.setAccessibleName(f"Take back: {said}")
            button.clicked.connect(lambda _checked=False, number=one.number: self._session.take_back(number))
            line.addWidget(name, 1)
            line.addWidget(button)
            self._layout.addWidget(row)
            self.rows.append(row)
            self.buttons[one.number] = button
