"""A look at what exactly is about to be done, before it is: Enter does it, Escape leaves it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QListWidget, QVBoxLayout, QWidget

from rfm_runtime.core.text import printable
from rfm_ui.model.actions import Plan
from rfm_ui.model.lines import state_word
from rfm_ui.view import theme
from rfm_ui.view.words import Label

__all__ = ["Confirming"]

LISTED = 500
"""Names: who reads more of them counts on the numbers."""
ROWS = 8
WIDTH = 440
EDGE = 6


class Confirming(QDialog):
    """Shows a plan. `accepted` is emitted if it is to be carried out."""

    def __init__(self, plan: Plan, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plan = plan
        self.setWindowTitle(f"{plan.words}?")
        self.setModal(True)
        self.setMinimumWidth(WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(10)
        head = _text(f"{plan.words}?")
        theme.heading(head, "part")
        layout.addWidget(head)
        for name, said in (
            ("What it hits", ", ".join(plan.kinds)),
            ("Whose they are", ", ".join(plan.owners)),
            ("What is left out", f"Left out: {'; '.join(plan.reasons)}." if plan.left_out else ""),
        ):
            if said:
                label = _text(said)
                label.setAccessibleName(name)
                layout.addWidget(label)
        layout.addWidget(self._list())
        self.buttons = QDialogButtonBox()
        self.confirm = self.buttons.addButton(plan.words, QDialogButtonBox.ButtonRole.AcceptRole)
        self.leave = self.buttons.addButton("Leave it", QDialogButtonBox.ButtonRole.RejectRole)
        self.confirm.setDefault(True)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout.addWidget(self.buttons)
        self.confirm.setFocus(Qt.FocusReason.OtherFocusReason)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def _list(self) -> QListWidget:
        self.list = QListWidget()
        self.list.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.list.setAccessibleName("The operations")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        whole = self.plan.everything
        for one in whole[:LISTED]:
            said = [printable(one.name or one.kind), state_word(one)]
            self.list.addItem(" · ".join(said if one.owner == self.plan.user else [*said, printable(one.owner)]))
        if len(whole) > LISTED:
            self.list.addItem(f"and {len(whole) - LISTED:,} more")
        row = max(self.list.sizeHintForRow(0), round(QFontMetricsF(self.font()).height()) + 4)
        self.list.setFixedHeight(min(ROWS, self.list.count()) * row + 2 * EDGE)
        return self.list


def _text(said: str) -> Label:
    label = Label(said)
    label.setWordWrap(True)
    return label
