"""What is searched for among the operations, which states and in which order; and views of them that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import msgspec
from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.core.text import printable, shortened
from rfm_runtime.protocol.operation import Operation, OperationState
from rfm_ui.model.board import Filter
from rfm_ui.model.ordering import ORDERS, WORDS
from rfm_ui.model.saved import SavedView, loaded, named, renamed, stored, without
from rfm_ui.model.search import ALIVE, FIELDS, STATES, parsed, terms_of, toggled
from rfm_ui.view import theme
from rfm_ui.view.actions import COVERED, action
from rfm_ui.view.choice import one_of
from rfm_ui.view.words import Label, plainly, set_tip

__all__ = ["SearchBar"]

GROUPS: dict[str, frozenset[OperationState] | None] = {
    "All": None,
    "Alive": frozenset(ALIVE),
    "Failed": frozenset({"failed"}),
    "Completed": frozenset({"completed"}),
}
KEPT = "operations/views"
CHOICES = 30
"""Of owners and labels in a menu: more are typed."""
LETTERS = 40


class SearchBar(QWidget):
    """`changed` is emitted when something else is to be shown. known: those whose kinds and owners are offered."""

    changed = Signal()

    def __init__(self, settings: QSettings, known: Callable[[], Iterable[Operation]], page: QWidget) -> None:
        super().__init__(page)
        self.setProperty(COVERED, True)
        self._settings = settings
        self._known = known
        self._page = page
        self._named: list[QAction] = []
        self.me = ""
        self.views = loaded(str(settings.value(KEPT, "")))
        self.asking: QInputDialog | None = None
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search, or state:failed owner:me kind:render label:site=b priority:>0")
        self.search.setAccessibleName("Search operations")
        set_tip(self.search, "\n".join(FIELDS.values()))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._changed)
        self.problem = Label()
        self.problem.setAccessibleName("What is not understood")
        self.problem.setWordWrap(True)
        self.problem.hide()
        row = QHBoxLayout()
        row.addWidget(self.search, 1)
        self.states = one_of(GROUPS, row, self)
        self.states.idToggled.connect(self._changed)
        self.filters = _menu_button("Filter", self._fill_filters)
        row.addWidget(self.filters)
        self.order = QComboBox()
        self.order.setAccessibleName("Order of the rows")
        set_tip(self.order, "What the rows are sorted by")
        self.order.addItems([WORDS[one] for one in ORDERS])
        self.order.currentIndexChanged.connect(self._changed)
        row.addWidget(self.order)
        self.saved = _menu_button("Views", self._fill_views)
        row.addWidget(self.saved)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.problem)
        action(page, "Search operations", self._find, ["Ctrl+F"])
        action(page, "Show all operations", lambda: self.show_view(SavedView()), ["Ctrl+0"], about="Search for nothing")
        action(
            page,
            "Show my operations",
            lambda: self.toggle("owner", "me"),
            ["Ctrl+M"],
            about="Those that are mine, or all again",
        )
        action(page, "Save this view …", self.ask_name, ["Ctrl+D"], about="Keep what is searched for, under a name")
        for number, name in enumerate(GROUPS):
            about = f"Show {name.casefold()}" if number else "Show all states"
            action(page, about, partial(self._group, number))
        for place, order in enumerate(ORDERS):
            name = "Show parts below the whole" if order == "parts" else f"Sort by {WORDS[order].casefold()}"
            action(page, name, partial(self.order.setCurrentIndex, place))

        self._name_views()

    @property
    def filter(self) -> Filter:
        """What is to be shown."""
        view = self.view
        return Filter(view.search, GROUPS[view.states], self.me)

    @property
    def view(self) -> SavedView:
        """All that is chosen here, without a name."""
        states = list(GROUPS)[self.states.checkedId()]
        return SavedView("", self.search.text(), states, ORDERS[self.order.currentIndex()])

    def show_view(self, view: SavedView) -> None:
        """Choose all this."""
        self.blockSignals(True)
        self.search.setText(view.search)
        groups = list(GROUPS)
        self.states.button(groups.index(view.states) if view.states in groups else 0).setChecked(True)
        self.order.setCurrentIndex(ORDERS.index(view.order))
        self.blockSignals(False)
        self._changed()

    def toggle(self, field: str, value: str) -> None:
        """Search for a value of a field too, or no longer."""
        self.search.setText(toggled(self.search.text(), field, value))

    def ask_name(self) -> None:
        """Keep what is chosen, under a name that is asked for."""
        view = self.view
        self._ask("Save this view", "Its name:", view.search, lambda name: self._keep(named(self.views, view, name)))

    # --- parts ------------------------------------------------------------------------------

    def _changed(self, *_change: object) -> None:
        problem = parsed(self.search.text()).problem
        self.problem.setText(problem)
        theme.toned(self.problem, "bad")
        self.problem.setVisible(bool(problem))
        self.changed.emit()

    def _group(self, number: int) -> None:
        self.states.button(number).setChecked(True)

    def _find(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def _fill_filters(self, menu: QMenu) -> None:
        self._choice(menu, "Mine", "owner", "me")
        states = menu.addMenu("State")
        for state in (*(one for one in STATES if one != "canceled"), "silent"):
            self._choice(states, state, "state", state)
        known = list(self._known())
        for title, field, values in (
            ("Kind", "kind", {one.kind for one in known}),
            ("Owner", "owner", {one.owner for one in known}),
            ("Label", "label", {f"{key}={value}" for one in known for key, value in one.labels.items()}),
        ):
            below = menu.addMenu(title)
            below.menuAction().setEnabled(bool(values))
            for value in sorted(values)[:CHOICES]:
                self._choice(below, value, field, value)
            if len(values) > CHOICES:
                below.addAction(f"{len(values) - CHOICES:,} more: type {field}:…").setEnabled(False)

    def _choice(self, menu: QMenu, word: str, field: str, value: str) -> None:
        one = menu.addAction(shortened(printable(word), LETTERS).replace("&", "&&"))
        one.setCheckable(True)
        one.setChecked(value.casefold() in [known.casefold() for known in terms_of(self.search.text(), field)])
        one.triggered.connect(lambda _checked=False: self.toggle(field, value))

    def _fill_views(self, menu: QMenu) -> None:
        now = self.view
        for view in self.views:
            one = menu.addAction(printable(view.name).replace("&", "&&"))
            one.setCheckable(True)
            one.setChecked(msgspec.structs.replace(view, name="") == now)
            one.triggered.connect(lambda _checked=False, view=view: self.show_view(view))
        if self.views:
            menu.addSeparator()
        menu.addAction("Save this view …", self.ask_name)
        for title, do in (("Rename", self._ask_rename), ("Remove", self.remove)):
            below = menu.addMenu(title)
            below.menuAction().setEnabled(bool(self.views))
            for view in self.views:
                below.addAction(printable(view.name).replace("&", "&&"), partial(do, view.name))

    def _name_views(self) -> None:
        """Each is an action."""
        for gone in self._named:
            gone.setParent(None)
            gone.deleteLater()
        self._named = [
            action(self._page, f"View: {printable(one.name)}", partial(self.show_view, one)) for one in self.views
        ]

    def remove(self, name: str) -> None:
        """Keep a view no longer."""
        self._keep(without(self.views, name))

    def _ask_rename(self, old: str) -> None:
        self._ask("Rename a view", "Its name:", old, lambda name: self._keep(renamed(self.views, old, name)))

    def _ask(self, title: str, question: str, text: str, answered: Callable[[str], object]) -> None:
        self.asking = dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(title)
        dialog.setLabelText(question)
        plainly(dialog)
        dialog.setTextValue(text)
        dialog.textValueSelected.connect(answered)
        dialog.open()

    def _keep(self, views: list[SavedView]) -> None:
        self.views = views
        self._name_views()
        self._settings.setValue(KEPT, stored(views))


def _menu_button(name: str, fill: Callable[[QMenu], object]) -> QToolButton:
    """A button with a menu that is made when it is opened."""
    one = QToolButton()
    one.setText(name)
    one.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    one.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    menu = QMenu(one)

    def made() -> None:
        menu.clear()
        fill(menu)

    menu.aboutToShow.connect(made)
    one.setMenu(menu)
    return one
