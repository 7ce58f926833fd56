"""Actions: each is made once, and its buttons, keys, menus and the palette use that one.

Whoever makes one with `action`, or gives one to the window, has it in the palette and on the page of keys: both look
for those. Buttons and choices on pages they find by themselves, see `doings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QToolButton, QWidget

from rfm_ui.view.words import set_tip

__all__ = ["COVERED", "action", "button", "keys_of", "name_of", "offer", "registered"]

NAME = "rfm-name"
COVERED = "rfm-covered"
"""Of a widget: all that can be done with it are actions."""
ABOUT = "rfm-about"


def action(
    owner: QWidget,
    name: str,
    do: Callable[[], object],
    keys: Sequence[str] = (),
    *,
    about: str = "",
    context: Qt.ShortcutContext = Qt.ShortcutContext.WidgetWithChildrenShortcut,
    repeats: bool = False,
) -> QAction:
    """An action of a widget, or of what that lies on. name: as the palette has it; a menu or button may shorten it.

    keys: e.g. "Ctrl+F", which work while the owner or something in it has the focus, or as the context says.
    about: what it does, where the name does not say all. repeats: again and again while its key is held, which is not
    wanted of what happens at the server.
    """
    made = QAction(name, owner)
    made.setAutoRepeat(repeats)
    made.setShortcuts([QKeySequence(key) for key in keys])
    made.setShortcutContext(context)
    # Not its check mark, which `triggered` has.
    made.triggered.connect(lambda _checked=False: do())
    made.setProperty(NAME, name)
    made.setProperty(ABOUT, about)
    owner.addAction(made)
    offer(made)
    return made


def offer(made: QAction, why_not: str = "", text: str = "") -> None:
    """Offer it, or say why it is not. text: on its buttons and in menus now."""
    made.setEnabled(not why_not)
    if text:
        made.setText(text)
    keys = keys_of(made)
    about = made.property(ABOUT) or made.property(NAME)
    set_tip(made, why_not or (f"{about} ({keys})" if keys else about))


def keys_of(made: QAction) -> str:
    """The first of its keys, as it is written on this machine."""
    return made.shortcut().toString(QKeySequence.SequenceFormat.NativeText)


def name_of(made: QAction) -> str:
    """As the palette has it."""
    return str(made.property(NAME) or made.text())


def button(made: QAction) -> QToolButton:
    """A button of an action: its word, whether it is offered, and its tool tip follow it."""
    one = QToolButton()
    one.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
    one.setDefaultAction(made)
    one.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return one


def registered(root: QWidget) -> list[QAction]:
    """All actions in a window, in the order in which they were made: those of `action`, and the window's own."""
    own = [one for one in root.actions() if one.text() and not one.property(NAME)]
    return [one for one in root.findChildren(QAction) if one.property(NAME)] + own
