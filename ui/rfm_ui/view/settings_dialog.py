"""Settings: one page a subject. Whoever has a subject adds its page to the window's `SettingsPages`."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

__all__ = ["SettingsDialog", "SettingsPages"]

ROOM = 14
"""Above and below a name, together."""


class SettingsPages:
    """Subjects by name, in the order in which they were added. make: a page, whenever the dialog is opened."""

    def __init__(self) -> None:
        self._made: dict[str, Callable[[], QWidget]] = {}

    @property
    def names(self) -> list[str]:
        """Of all subjects."""
        return list(self._made)

    def add(self, name: str, make: Callable[[], QWidget]) -> None:
        """Another subject, or another page for one."""
        self._made[name] = make

    def make(self, name: str) -> QWidget:
        """Its page."""
        return self._made[name]()


class SettingsDialog(QDialog):
    """All of them. What is changed counts at once, so there is nothing to confirm."""

    def __init__(self, pages: SettingsPages, first: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Settings")
        self.resize(self.fontMetrics().averageCharWidth() * 95, self.fontMetrics().height() * 28)
        self.list = QListWidget()
        self.list.setAccessibleName("Subjects")
        self.list.setFixedWidth(self.fontMetrics().averageCharWidth() * 22)
        self.pages = QStackedWidget()
        self._made: list[QWidget] = []
        for name in pages.names:
            item = QListWidgetItem(name)
            item.setSizeHint(QSize(0, self.list.fontMetrics().height() + ROOM))
            self.list.addItem(item)
            # Letters may be so large that a page has no room.
            room = QScrollArea()
            room.setAccessibleName(name)
            room.setFrameShape(QScrollArea.Shape.NoFrame)
            room.setWidgetResizable(True)
            room.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            self._made.append(pages.make(name))
            room.setWidget(self._made[-1])
            self.pages.addWidget(room)
        self.list.currentRowChanged.connect(self.pages.setCurrentIndex)
        self.list.setCurrentRow(pages.names.index(first) if first in pages.names else 0)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        body = QHBoxLayout()
        body.setSpacing(14)
        body.addWidget(self.list)
        body.addWidget(self.pages, 1)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addLayout(body, 1)
        layout.addWidget(buttons)

    def page(self, name: str) -> QWidget:
        """The page of a subject."""
        found = self.list.findItems(name, Qt.MatchFlag.MatchExactly)
        return self._made[self.list.row(found[0])]
