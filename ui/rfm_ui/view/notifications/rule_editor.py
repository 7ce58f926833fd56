"""The fields of one rule, and what it means in a sentence."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from rfm_runtime.core.notifying.sentences import SAID, sentence
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import WHENS, Rule, Whose
from rfm_ui.model.rule_texts import FIELDS, fields_of, rule_of
from rfm_ui.view import theme
from rfm_ui.view.files import complaint
from rfm_ui.view.words import Label, set_tip

__all__ = ["RuleEditor"]

WHOSE: tuple[tuple[Whose, str], ...] = (
    ("mine", "mine"),
    ("others", "somebody else's"),
    ("anybody", "anybody's"),
)
WAYS = (
    ("toast", "Toast", "Over the corner of this window"),
    ("tray", "Tray", "By the desktop, also where this window is not seen; where there is no tray, as a toast"),
    ("sound", "Sound", "A short tone"),
    ("voice", "Voice", "Spoken by spd-say or espeak-ng"),
)
LABELS = {
    "name": ("Name", "as you call this rule"),
    "kinds": ("Kinds", "all; or render.*, copy"),
    "text": ("Words", "any; or words of its name and labels"),
    "labels": ("Labels", "any; or site=b, run=7"),
    "at_least_s": ("Ran at least", "any time; or 90 s, 5 m, 1 h 30 m"),
    "stalled_s": ("No progress for", "5 m"),
    "priority": ("Priority at least", "any"),
}
COLUMNS = 2
HEIGHT = 28


class RuleEditor(QWidget):
    """changed(Rule): the fields say something else now. problem: what is wrong in them, "" if nothing.

    meaning, told: labels for the sentence, and for what is wrong, which have their place where they are always seen.
    """

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None, *, can_speak: bool = True) -> None:
        super().__init__(parent)
        self._rule: Rule | None = None
        self.problem = ""
        self.whens = {when: QCheckBox(SAID[when]) for when in WHENS}
        self.whose = QComboBox()
        self.whose.setAccessibleName("Whose operations")
        self.whose.setMinimumHeight(HEIGHT)
        for _whose, word in WHOSE:
            self.whose.addItem(word)
        self.fields = {name: QLineEdit() for name in FIELDS}
        self.ways = {way: QCheckBox(word) for way, word, _about in WAYS}
        for way, _word, about in WAYS:
            set_tip(self.ways[way], about)
        if not can_speak:
            set_tip(self.ways["voice"], "Neither spd-say nor espeak-ng is on this machine, so nothing is said here")
        self.urgent = QCheckBox("Also in quiet hours")
        self.meaning = _wrapped("What the rule means")
        self.told = _wrapped("What is wrong in the rule")
        self.told.hide()
        self._lay_out()
        for box in (*self.whens.values(), *self.ways.values(), self.urgent):
            box.toggled.connect(self._edited)
        self.whose.currentIndexChanged.connect(self._edited)
        for field in self.fields.values():
            field.textChanged.connect(self._edited)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        self._row(grid, "name")
        whens = QGridLayout()
        whens.setHorizontalSpacing(16)
        whens.setVerticalSpacing(6)
        for place, box in enumerate(self.whens.values()):
            whens.addWidget(box, place // COLUMNS, place % COLUMNS)
        row = grid.rowCount()
        grid.addWidget(_name("What is", self.whose), row, 0)
        grid.addWidget(self.whose, row, 1)
        grid.addWidget(_name("When it", self.whens[WHENS[0]]), row + 1, 0, Qt.AlignmentFlag.AlignTop)
        grid.addLayout(whens, row + 1, 1)
        for name in FIELDS[1:]:
            self._row(grid, name)
        ways = QHBoxLayout()
        ways.setSpacing(16)
        for box in self.ways.values():
            ways.addWidget(box)
        ways.addStretch(1)
        row = grid.rowCount()
        grid.addWidget(_name("Tell by", self.ways["toast"]), row, 0)
        grid.addLayout(ways, row, 1)
        grid.addWidget(self.urgent, row + 1, 1)
        layout.addLayout(grid)
        layout.addStretch(1)

    def _row(self, grid: QGridLayout, name: str) -> None:
        word, hint = LABELS[name]
        field = self.fields[name]
        field.setPlaceholderText(hint)
        field.setAccessibleName(word)
        row = grid.rowCount()
        grid.addWidget(_name(word, field), row, 0)
        grid.addWidget(field, row, 1)

    def show_rule(self, rule: Rule | None) -> None:
        """Show this one; None: there is none."""
        self._rule = rule
        self.setEnabled(rule is not None)
        written = dict.fromkeys(FIELDS, "") if rule is None else fields_of(rule)
        blocked = [QSignalBlocker(one) for one in self._inputs()]
        for name, field in self.fields.items():
            field.setText(written[name])
            field.setCursorPosition(0)
        for when, box in self.whens.items():
            box.setChecked(rule is not None and when in rule.when)
        for way, box in self.ways.items():
            box.setChecked(rule is not None and getattr(rule, way))
        self.urgent.setChecked(rule is not None and rule.urgent)
        self.whose.setCurrentIndex([whose for whose, _word in WHOSE].index("mine" if rule is None else rule.whose))
        for one in blocked:
            one.unblock()
        self._judge(rule, "")

    def _inputs(self) -> list[QWidget]:
        return [*self.fields.values(), *self.whens.values(), *self.ways.values(), self.urgent, self.whose]

    def _edited(self, *_change: object) -> None:
        if self._rule is None:
            return
        chosen: dict[str, Any] = {way: box.isChecked() for way, box in self.ways.items()}
        chosen["urgent"] = self.urgent.isChecked()
        chosen["whose"] = WHOSE[self.whose.currentIndex()][0]
        chosen["when"] = tuple(when for when, box in self.whens.items() if box.isChecked())
        written = {name: field.text() for name, field in self.fields.items()}
        try:
            self._rule = rule_of(self._rule, written, chosen)
        except BadRequestError as error:
            self._judge(None, f"{error.message} – {error.hint}")
        else:
            self._judge(self._rule, "")
        self.changed.emit(self._rule)

    def _judge(self, rule: Rule | None, problem: str) -> None:
        self.problem = problem
        complaint(self.told, problem)
        self.fields["stalled_s"].setEnabled(self.whens["stalled"].isChecked())
        self.meaning.setStyleSheet(f"color: {theme.current().faint};")
        self.meaning.setText("" if rule is None else sentence(rule))
        self.meaning.setVisible(rule is not None)


def _name(word: str, buddy: QWidget) -> Label:
    label = Label(word)
    label.setBuddy(buddy)
    return label


def _wrapped(name: str) -> Label:
    label = Label()
    label.setWordWrap(True)
    label.setAccessibleName(name)
    return label
