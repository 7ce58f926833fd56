"""All keys of the window on one page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFrame, QGridLayout, QScrollArea, QVBoxLayout, QWidget

from rfm_ui.model.keys import OTHER_KEYS
from rfm_ui.model.palette import Entry
from rfm_ui.view import theme
from rfm_ui.view.words import Label

__all__ = ["Keys"]

WIDTH, HEIGHT = 560, 620


class Keys(QDialog):
    """Shows them by page: of actions, pointer and wheel. shown: what is to be read, (page, key, what it does)."""

    def __init__(self, entries: Sequence[Entry], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.shown = list(_rows(entries))
        inside = QWidget()
        grid = QGridLayout(inside)
        grid.setContentsMargins(20, 12, 20, 16)
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(5)
        grid.setColumnStretch(1, 1)
        before, number = "", 0
        for place, keys, what in self.shown:
            if place != before:
                head = Label(place)
                font = head.font()
                font.setWeight(QFont.Weight.DemiBold)
                head.setFont(font)
                head.setContentsMargins(0, 12 if before else 0, 0, 2)
                grid.addWidget(head, number, 0, 1, 2)
                before, number = place, number + 1
            left, right = Label(keys), Label(what)
            theme.toned(left, "faint")
            right.setWordWrap(True)
            grid.addWidget(left, number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(right, number, 1)
            number += 1
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName("All keys")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(area, 1)
        layout.addWidget(buttons)
        self.resize(min(WIDTH, parent.width()), min(HEIGHT, parent.height()))


def _rows(entries: Sequence[Entry]) -> Iterable[tuple[str, str, str]]:
    places = dict.fromkeys(one.place for one in entries) | dict.fromkeys(OTHER_KEYS)
    for place in places:
        yield from ((place, one.keys, one.name) for one in entries if one.place == place and one.keys)
        yield from ((place, keys, what) for keys, what in OTHER_KEYS.get(place, ()))
