"""All that can be done in a window: the palette that finds it, and the page of its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QObject, QSettings, Qt
from PySide6.QtWidgets import QMainWindow, QWidget

from rfm_ui.model.palette import used
from rfm_ui.view.actions import action
from rfm_ui.view.doings import doings
from rfm_ui.view.keys import Keys
from rfm_ui.view.palette import Palette

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
        action(window, "All commands", self.open_palette, ["Ctrl+K", "Ctrl+Shift+P"], context=everywhere)
        action(window, "All keys", self.show_keys, ["F1", "?"], context=everywhere)

    def open_palette(self) -> None:
        """Find something and do it."""
        known = doings(self._window, self._names)

        def chosen(number: int) -> None:
            one = known[number]
            self._settings.setValue(RECENT, used(one.entry.key, self._recent()))
            if one.page is not None and not one.page.isVisible():
                self._turn_to(one.page)
            one.do()

        self.palette = Palette([one.entry for one in known], self._recent(), chosen, self._window)
        self.palette.finished.connect(self._closed)
        self.palette.open()

    def show_keys(self) -> None:
        """All of them, by page."""
        self.keys = Keys([one.entry for one in doings(self._window, self._names)], self._window)
        self.keys.open()

    def _closed(self) -> None:
        self.palette = None

    def _recent(self) -> list[str]:
        kept = self._settings.value(RECENT)
        # One alone is given back as a text.
        return [kept] if isinstance(kept, str) else [str(one) for one in kept] if isinstance(kept, list) else []
