"""Words on the screen, shown as they are written.

Many of them come from elsewhere: names of operations, what a program says of itself, why a server refuses. Qt takes
what looks like HTML for HTML, loads the pictures it names and shows its links. So labels are made here, and tool tips
are given here, and nowhere else.
"""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QListWidgetItem, QTableWidgetItem, QWidget

__all__ = ["Label", "as_tip", "plainly", "set_tip"]


class Label(QLabel):
    """A label that never guesses: what it is given is text."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


def plainly(dialog: QWidget) -> None:
    """The same for the labels that a dialog of Qt makes by itself."""
    for label in dialog.findChildren(QLabel):
        label.setTextFormat(Qt.TextFormat.PlainText)


def as_tip(text: str) -> str:
    """A text for a tool tip, which Qt guesses about: escaped where it would be taken for HTML, else as it is."""
    if "<" not in text and "&lt;" not in text:
        return text
    return f"<qt>{escape(text).replace(chr(10), '<br>')}</qt>"


def set_tip(of: QAction | QWidget | QListWidgetItem | QTableWidgetItem, text: str) -> None:
    """Have it shown where somebody points at this. "" for none."""
    of.setToolTip(as_tip(text))
