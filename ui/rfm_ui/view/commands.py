"""All actions of a window: the palette that finds them, and the page of their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QObject, QSettings, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMainWindow, QWidget

from rfm_ui.model.palette import Entry, used
from rfm_ui.view.actions import action, registered
from rfm_ui.view.keys import Keys
from rfm_ui.view.palette import Palette, entry_of

__all__ = ["Commands"]

RECENT = "palette/recent"


class Commands(QObject):
    """Of a window. names: of its pages; turn_to: shows one of them."""

    def __init__(
        self,
        window: QMainWindow,
        names: Mapping[QWidget, str],
        turn_to: Callable[[QWidget], object],
        settings: QSettings,
    ) -> None:
        super().__init__(window)
        self._window = window
        self._names = names
        self._turn_to = turn_to
        self._settings = settings
        self.palette: Palette | None = None
        self.keys: Keys | None = None
        everywhere = Qt.ShortcutContext.WindowShortcut
        self._own = (
            action(window, "All commands", self.open_palette, ["Ctrl+K", "Ctrl+Shift+P"], context=everywhere),
            action(window, "All keys", self.show_keys, ["F1", "?"], context=everywhere),
        )

    def open_palette(self) -> None:
        """Find an action and do it."""
        actions = [one for one in registered(self._window) if one not in self._own[:1]]
        entries = [self._entry(one) for one in actions]

        def chosen(number: int) -> None:
            self._settings.setValue(RECENT, used(entries[number].key, self._recent()))
            page = self._page(actions[number])
            if page is not None and not page.isVisible():
                self._turn_to(page)
            actions[number].trigger()

        self.palette = Palette(entries, self._recent(), chosen, self._window)
        self.palette.finished.connect(self._closed)
        self.palette.open()

    def show_keys(self) -> None:
        """All of them, by page."""
        self.keys = Keys([self._entry(one) for one in registered(self._window)], self._window)
        self.keys.open()

    def _closed(self) -> None:
        self.palette = None

    def _entry(self, made: QAction) -> Entry:
        page = self._page(made)
        return entry_of(made, "Window" if page is None else self._names[page])

    def _page(self, made: QAction) -> QWidget | None:
        """The page that it is of; None: it is the window's."""
        above: QObject | None = made.parent()
        while above is not None:
            if isinstance(above, QWidget) and above in self._names:
                return above
            above = above.parent()
        return None

    def _recent(self) -> list[str]:
        kept = self._settings.value(RECENT)
        # One alone is given back as a text.
        return [kept] if isinstance(kept, str) else [str(one) for one in kept] if isinstance(kept, list) else []
