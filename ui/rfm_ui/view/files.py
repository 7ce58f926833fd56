"""Fields of a dialog: in a grid with their names, and one for the path of a file."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

from rfm_ui.view.theme import toned
from rfm_ui.view.words import Label

__all__ = ["FileField", "complaint", "form"]

NAMES_PX = 88
"""So that the fields of several grids begin in one line."""


def form(*fields: tuple[str, QWidget]) -> QWidget:
    """Fields below each other, each with its name on the left."""
    whole = QWidget()
    layout = QGridLayout(whole)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setHorizontalSpacing(10)
    layout.setColumnMinimumWidth(0, NAMES_PX)
    layout.setColumnStretch(1, 1)
    for row, (name, field) in enumerate(fields):
        label = Label(name)
        label.setBuddy(field)
        layout.addWidget(label, row, 0, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(field, row, 1)
        field.setAccessibleName(name)
    layout.setRowStretch(len(fields), 1)
    return whole


def complaint(label: Label, text: str) -> None:
    """What is wrong with what was entered, "" for nothing."""
    toned(label, "bad")
    label.setText(text)
    label.setVisible(bool(text))


class FileField(QWidget):
    """A path, typed or chosen. what: of the file, e.g. "CA file"."""

    def __init__(self, what: str, hint: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what = what
        self.edit = QLineEdit()
        self.edit.setAccessibleName(what)
        self.edit.setPlaceholderText(hint)
        self.browse = QPushButton("Choose …")
        self.browse.setAccessibleName(f"Choose {what}")
        self.browse.setAutoDefault(False)
        self.browse.clicked.connect(self._choose)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.edit, 1)
        layout.addWidget(self.browse)
        self.setFocusProxy(self.edit)

    @property
    def path(self) -> str:
        """What it says, "" if nothing."""
        return self.edit.text().strip()

    def show_path(self, path: str) -> None:
        """Show this one."""
        self.edit.setText(path)

    def _choose(self) -> None:
        name, _kind = QFileDialog.getOpenFileName(self, self._what, self.path)
        if name:
            self.edit.setText(name)
