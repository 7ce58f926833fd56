"""All rules of the user, and quiet hours: made, tried, changed, taken back, and kept by the server."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.core.notifying.notifier import Telling
from rfm_runtime.core.notifying.rules import DEFAULTS
from rfm_runtime.errors import ConflictError, RfmError
from rfm_runtime.protocol.notifying import RULES_LIMIT, Rule, Rules, RulesReply
from rfm_ui.model.rule_texts import free_id, headline
from rfm_ui.view import theme
from rfm_ui.view.choice import one_of
from rfm_ui.view.files import complaint
from rfm_ui.view.notifications.centre import Notifications
from rfm_ui.view.notifications.quiet_editor import QuietEditor
from rfm_ui.view.notifications.rule_editor import RuleEditor
from rfm_ui.view.notifications.told_list import ToldList
from rfm_ui.view.words import Label, set_tip

__all__ = ["RulesDialog", "RulesPage"]

ON, OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked
ABOUT_QUIET = (
    "In these hours, by this machine's clock, only what is urgent is told; the rest is summed up when they are over."
)
A_NEW_ONE = Rule(rule_id="rule-1", when=("completed", "failed"))


class RulesPage(QWidget):
    """saved: the server has them. version: of those that these are made from."""

    saved = Signal()

    def __init__(self, notifications: Notifications, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notifications = notifications
        self.rules: list[Rule] = []
        self.version = 0
        self.is_changed = False
        self._before: Rules | None = None
        self.list = QListWidget()
        self.list.setAccessibleName("Rules")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.currentRowChanged.connect(self._current)
        self.list.itemChanged.connect(self._switched)
        self.editor = RuleEditor(can_speak=notifications.speaker.is_there)
        self.editor.changed.connect(self._edited)
        self.quiet = QuietEditor()
        self.quiet.changed.connect(self._touched)
        self.add = _button("Add", "Add a rule", self._add)
        self.copy = _button("Copy", "Add another rule like this one", self._copy)
        self.remove = _button("Remove", "Remove this rule", self._remove)
        self.test = _button("Try this rule", "As if an operation had come that it means", self._try)
        self.reset = _button("Back to the first rules", "Those that everybody has at first", self._reset)
        self.theirs = _button("Show them", "Leave what was changed here, and show what was saved elsewhere", self.load)
        self.theirs.hide()
        self.told = Label()
        self.told.setWordWrap(True)
        self.told.setAccessibleName("What became of the rules")
        self._lay_out()
        notifications.rules_known.connect(self._known)
        self.load()

    def _lay_out(self) -> None:
        left = QWidget()
        below = QVBoxLayout(left)
        below.setContentsMargins(0, 0, 8, 0)
        below.addWidget(self.list, 1)
        buttons = QHBoxLayout()
        for one in (self.add, self.copy, self.remove):
            buttons.addWidget(one)
        buttons.addStretch(1)
        below.addLayout(buttons)
        inside = QWidget()
        edits = QVBoxLayout(inside)
        edits.setContentsMargins(8, 0, 8, 0)
        edits.addWidget(self.editor)
        scroll = QScrollArea()
        scroll.setAccessibleName("The chosen rule")
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        right = QWidget()
        beside = QVBoxLayout(right)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.addWidget(scroll, 1)
        tries = QHBoxLayout()
        tries.setContentsMargins(8, 0, 0, 0)
        tries.addWidget(self.editor.meaning, 1)
        tries.addWidget(self.editor.told, 1)
        tries.addWidget(self.test)
        beside.addLayout(tries)
        whole = QSplitter(Qt.Orientation.Horizontal)
        whole.setChildrenCollapsible(False)
        whole.addWidget(left)
        whole.addWidget(right)
        whole.setStretchFactor(0, 2)
        whole.setStretchFactor(1, 3)
        hours = QWidget()
        below_hours = QVBoxLayout(hours)
        below_hours.setContentsMargins(0, 4, 0, 0)
        below_hours.setSpacing(10)
        about = Label(ABOUT_QUIET)
        about.setWordWrap(True)
        below_hours.addWidget(about)
        below_hours.addWidget(self.quiet)
        below_hours.addStretch(1)
        self.parts = QStackedWidget()
        self.parts.addWidget(whole)
        self.parts.addWidget(hours)
        self.told_lately = ToldList(self._notifications)
        self.parts.addWidget(self.told_lately)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        choice = QHBoxLayout()
        self.choice = one_of(("Rules", "Quiet hours", "Told lately"), choice, self)
        self.choice.idClicked.connect(self.parts.setCurrentIndex)
        choice.addStretch(1)
        layout.addLayout(choice)
        layout.addWidget(self.parts, 1)
        foot = QHBoxLayout()
        foot.addWidget(self.told, 1)
        foot.addWidget(self.theirs)
        foot.addWidget(self.reset)
        layout.addLayout(foot)

    # --- what there is ----------------------------------------------------------------------

    def load(self) -> None:
        """Show those of the server, and leave what was changed here."""
        known = self._notifications.known
        self.version = 0 if known is None else known.version
        self._before = None if known is None else known.rules
        self._show(Rules() if known is None else known.rules)
        self._say("" if known is not None else "The server has not said yet which rules there are.")
        self.theirs.hide()
        self.is_changed = False
        self.setEnabled(known is not None)

    def save(self) -> None:
        """Have the server keep them. What is wrong is said instead."""
        if self.editor.problem:
            self._say(self.editor.problem, is_bad=True)
            return
        wanted = Rules(rules=tuple(self.rules), quiet=self.quiet.quiet)
        if wanted == self._before:
            self.saved.emit()
            return
        self._keep(wanted)

    def _keep(self, wanted: Rules | None) -> None:
        self._say("Saving …")
        self._notifications.save(wanted, self.version, self._answered)

    def _answered(self, error: RfmError | None) -> None:
        if error is None:
            self.load()
            self.saved.emit()
            return
        self._say(f"{error.message} – {error.hint}" if error.hint else error.message, is_bad=True)
        if isinstance(error, ConflictError):
            self._notifications.look_again()
            self.theirs.show()

    def _known(self, _reply: RulesReply) -> None:
        if not self.is_changed:
            self.load()

    def _show(self, rules: Rules) -> None:
        self.rules = list(rules.rules)
        self.list.blockSignals(True)
        self.list.clear()
        for rule in self.rules:
            self.list.addItem(_item(rule))
        self.list.setCurrentRow(0 if self.rules else -1)
        self.list.blockSignals(False)
        self.quiet.show_quiet(rules.quiet)
        self._current(self.list.currentRow())

    # --- what is changed --------------------------------------------------------------------

    def _current(self, row: int) -> None:
        self.editor.show_rule(self.rules[row] if 0 <= row < len(self.rules) else None)
        self._enable()

    def _enable(self) -> None:
        has_one = self.list.currentRow() >= 0
        has_room = len(self.rules) < RULES_LIMIT
        self.add.setEnabled(has_room)
        self.copy.setEnabled(has_one and has_room)
        self.remove.setEnabled(has_one)
        self.test.setEnabled(has_one and not self.editor.problem)

    def _touched(self) -> None:
        self.is_changed = True
        self._say("")

    def _edited(self, rule: Rule) -> None:
        row = self.list.currentRow()
        self.rules[row] = rule
        self.list.blockSignals(True)
        _name(self.list.item(row), rule)
        self.list.blockSignals(False)
        self._touched()
        self._enable()

    def _switched(self, item: QListWidgetItem) -> None:
        row = self.list.row(item)
        self.rules[row] = replace(self.rules[row], is_on=item.checkState() == ON)
        if row == self.list.currentRow():
            self.editor.show_rule(self.rules[row])
        self._touched()

    def _put(self, rule: Rule) -> None:
        self.rules.append(rule)
        self.list.addItem(_item(rule))
        self.list.setCurrentRow(len(self.rules) - 1)
        self._touched()
        self.editor.fields["name"].setFocus()

    def _add(self) -> None:
        self._put(replace(A_NEW_ONE, rule_id=free_id(self.rules)))

    def _copy(self) -> None:
        self._put(replace(self.rules[self.list.currentRow()], rule_id=free_id(self.rules)))

    def _remove(self) -> None:
        row = self.list.currentRow()
        del self.rules[row]
        self.list.blockSignals(True)
        self.list.takeItem(row)
        self.list.blockSignals(False)
        self._current(self.list.currentRow())
        self._touched()

    def _try(self) -> None:
        self._notifications.show_example(self.rules[self.list.currentRow()])

    def _reset(self) -> None:
        """As a change that is saved, or not: nothing is lost by a click."""
        self._show(DEFAULTS)
        self._touched()

    def _say(self, text: str, *, is_bad: bool = False) -> None:
        complaint(self.told, text)
        if not is_bad:
            self.told.setStyleSheet(f"color: {theme.current().faint};")
        self.told.show()


class RulesDialog(QDialog):
    """A window for the page."""

    def __init__(self, notifications: Notifications, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Notifications")
        self.resize(860, 620)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._notifications = notifications
        self.page = RulesPage(notifications)
        standard = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(standard.Save | standard.Cancel)
        self.buttons.accepted.connect(self.page.save)
        self.buttons.rejected.connect(self.reject)
        self.page.saved.connect(self.accept)
        self.page.told_lately.wanted.connect(self._show_told)
        title = Label("What you are told of")
        large = title.font()
        large.setPointSizeF(1.25 * large.pointSizeF())
        large.setWeight(QFont.Weight.DemiBold)
        title.setFont(large)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 14)
        layout.setSpacing(10)
        layout.addWidget(title)
        layout.addWidget(self.page, 1)
        layout.addWidget(self.buttons)

    def _show_told(self, telling: Telling) -> None:
        self.reject()
        self._notifications.wanted.emit(telling)


def _item(rule: Rule) -> QListWidgetItem:
    item = QListWidgetItem()
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(ON if rule.is_on else OFF)
    _name(item, rule)
    return item


def _name(item: QListWidgetItem, rule: Rule) -> None:
    item.setText(headline(rule))
    set_tip(item, headline(rule))


def _button(word: str, about: str, do: Callable[[], object]) -> QPushButton:
    button = QPushButton(word)
    button.setAutoDefault(False)
    set_tip(button, about)
    button.clicked.connect(lambda _checked=False: do())
    return button
