"""Settings of what everything looks like: theme, size of letters, themes of one's own, where things are."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.own_theme import problems
from rfm_ui.view import theme
from rfm_ui.view.files import form
from rfm_ui.view.looks import LETTERS, Looks
from rfm_ui.view.theme import toned
from rfm_ui.view.words import Label, set_tip

__all__ = ["AppearancePage"]


class AppearancePage(QWidget):
    """Changes the looks at once. reset_layout: puts everything where it was in the beginning."""

    def __init__(self, looks: Looks, reset_layout: Callable[[], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._looks = looks
        self.theme, self.letters = QComboBox(), QComboBox()
        self.letters.addItems([f"{percent} %" for percent in LETTERS])
        self.letters.setCurrentIndex(LETTERS.index(looks.letters))
        self.letters.activated.connect(lambda number: looks.resize(LETTERS[number]))
        self.theme.activated.connect(self._choose)
        self.told = _words("")
        self.told.setAccessibleName("What is wrong with the theme")
        about = _words(
            f"A theme of your own is a file NAME.toml in {looks.folder}: the colours that it names, and the rest of "
            "the theme that it is based on. Choose it again once you have changed it."
        )
        toned(about, "faint")
        self.make = QPushButton("Make one …")
        set_tip(self.make, "Write a file with all colours of this theme, to be changed, and open its folder.")
        self.make.clicked.connect(self._make)
        self.reset = QPushButton("Put everything back where it was")
        set_tip(self.reset, "Sizes of panels and columns, and what is searched for, as in the beginning.")
        self.reset.clicked.connect(reset_layout)
        for button in (self.make, self.reset):
            # Enter closes the dialog.
            button.setAutoDefault(False)
        row = QHBoxLayout()
        row.addWidget(self.make)
        row.addWidget(self.reset)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 8, 0)
        layout.setSpacing(12)
        layout.addWidget(form(("Theme", self.theme), ("Letters", self.letters)))
        layout.addWidget(self.told)
        layout.addWidget(about)
        layout.addLayout(row)
        layout.addStretch(1)
        self._fill()

    def _fill(self) -> None:
        self.theme.clear()
        for name, title in self._looks.names():
            self.theme.addItem(title, name)
        self.theme.setCurrentIndex(max(0, self.theme.findData(self._looks.name)))
        self._tell("\n".join(problems(theme.current())), "waiting")

    def _choose(self, number: int) -> None:
        try:
            self._looks.choose(self.theme.itemData(number))
        except BadRequestError as error:
            self._tell(f"{error.message} – {error.hint}", "bad")
            self.theme.setCurrentIndex(max(0, self.theme.findData(self._looks.name)))
        else:
            self._fill()

    def _make(self) -> None:
        try:
            path = self._looks.write_example()
        except BadRequestError as error:
            self._tell(f"{error.message} – {error.hint}", "bad")
            return
        self._fill()
        self._tell(f"Change {path}, then choose it here.", "faint")
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))

    def _tell(self, words: str, tone: str) -> None:
        toned(self.told, tone)
        self.told.setText(words)
        self.told.setVisible(bool(words))


def _words(text: str) -> Label:
    label = Label(text)
    label.setWordWrap(True)
    return label
