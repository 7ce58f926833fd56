"""All that can be done in a window, as the palette and the page of keys have it: its actions, and what stands on its
pages as buttons and choices, which need not be registered for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QAbstractButton, QComboBox, QMainWindow, QToolButton, QWidget

from rfm_ui.model.palette import Entry
from rfm_ui.view.actions import COVERED, keys_of, name_of, registered

__all__ = ["WINDOW", "Doing", "doings"]

WINDOW = "Window"
NOT_NOW = "It does not apply now."
CHOICES = 80
"""Of one choice: what has more is searched by itself."""
NAME_LETTERS = 48
KEYS = re.compile(r"\s*\(((?:Ctrl|Alt|Shift|F\d|Del|Home|End|[A-Z])[^()]*)\)\Z")
"""At the end of a tool tip."""


@dataclass(frozen=True, slots=True)
class Doing:
    """page: where it is, None: everywhere."""

    entry: Entry
    page: QWidget | None
    do: Callable[[], object]


def doings(window: QMainWindow, names: Mapping[QWidget, str]) -> list[Doing]:
    """In the order of the pages. names: of those."""
    found: dict[tuple[str, str], Doing] = {}
    for one in (*_actions(window, names), *_widgets(names)):
        found.setdefault((one.entry.place, one.entry.name), one)
    return list(found.values())


def _actions(window: QMainWindow, names: Mapping[QWidget, str]) -> Iterator[Doing]:
    for made in registered(window):
        page = _page(made, names)
        place = WINDOW if page is None else names[page]
        name, tip = name_of(made), made.toolTip()
        why_not = "" if made.isEnabled() else tip if tip != name else NOT_NOW
        entry = Entry(name, place, keys_of(made), why_not)
        yield Doing(entry, page, made.trigger)


def _widgets(names: Mapping[QWidget, str]) -> Iterator[Doing]:
    for page, place in names.items():
        for widget in page.findChildren(QWidget):
            if not widget.isVisibleTo(page) or _is_covered(widget, page):
                continue
            if isinstance(widget, QAbstractButton):
                yield from _button(widget, page, place)
            elif isinstance(widget, QComboBox) and widget.accessibleName():
                yield from _choice(widget, page, place)


def _button(button: QAbstractButton, page: QWidget, place: str) -> Iterator[Doing]:
    if isinstance(button, QToolButton) and (button.defaultAction() is not None or button.menu() is not None):
        # Its action is there already, or what is in its menu is.
        return
    tip = button.toolTip().partition("\n")[0]
    keys = KEYS.search(tip)
    bare = tip[: keys.start()] if keys else tip
    name = bare if bare and len(bare) <= NAME_LETTERS else button.text().replace("&", "")
    if name:
        why_not = "" if button.isEnabled() else NOT_NOW
        yield Doing(Entry(name, place, keys[1] if keys else "", why_not), page, button.click)


def _choice(choice: QComboBox, page: QWidget, place: str) -> Iterator[Doing]:
    for number in range(choice.count() if choice.count() <= CHOICES else 0):
        name = f"{choice.accessibleName()}: {choice.itemText(number)}"
        yield Doing(Entry(name, place), page, partial(_choose, choice, number))


def _choose(choice: QComboBox, number: int) -> None:
    """As somebody does who takes it from the list."""
    choice.setCurrentIndex(number)
    choice.activated.emit(number)


def _is_covered(widget: QWidget, page: QWidget) -> bool:
    above: QObject | None = widget
    while above is not None and above is not page:
        if above.property(COVERED):
            return True
        above = above.parent()
    return False


def _page(made: QObject, names: Mapping[QWidget, str]) -> QWidget | None:
    """The page that it is of; None: it is the window's."""
    above: QObject | None = made.parent()
    while above is not None:
        if isinstance(above, QWidget) and above in names:
            return above
        above = above.parent()
    return None
