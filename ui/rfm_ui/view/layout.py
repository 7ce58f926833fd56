"""Where everything in a window is: kept when it is closed, and found again when it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

import msgspec
from PySide6.QtCore import QByteArray, QSettings, Qt
from PySide6.QtWidgets import QHeaderView, QMainWindow, QSplitter, QWidget

from rfm_ui.model.saved import SavedView, restored

__all__ = ["Keeps", "Layout", "even_out", "forget_layout"]

GEOMETRY, PAGE, SEARCH = "window/geometry", "layout/page", "layout/search"


@runtime_checkable
class Keeps(Protocol):
    """A page that is found as it was left."""

    def kept(self) -> str:
        """Where it is, as a text."""
        ...

    def find_again(self, kept: str) -> None:
        """Be there; what cannot be understood is left aside."""
        ...


def forget_layout(settings: QSettings) -> None:
    """The next window is as the first one was."""
    for group in ("window", "layout"):
        settings.remove(group)


def even_out(splitter: QSplitter) -> None:
    """Divide it as it was before anybody moved it: by the share of each part, or by what it would like."""
    is_flat = splitter.orientation() == Qt.Orientation.Horizontal
    parts = [part for number in range(splitter.count()) if (part := splitter.widget(number)) is not None]
    likes = [(part.sizeHint().width() if is_flat else part.sizeHint().height()) for part in parts]
    shares = [
        (part.sizePolicy().horizontalStretch() if is_flat else part.sizePolicy().verticalStretch()) for part in parts
    ]
    whole, room = sum(shares), sum(splitter.sizes())
    splitter.setSizes(
        [max(1, room * share // whole if whole else like) for like, share in zip(likes, shares, strict=True)]
    )


class Layout:
    """Of a window whose parts are all there. pages: by name."""

    def __init__(self, settings: QSettings, window: QMainWindow, pages: Mapping[QWidget, str]) -> None:
        self._settings, self._window, self._pages = settings, window, pages
        # What nobody has moved is kept as it comes: of a part that was never shown Qt remembers no good size.
        self._moved: set[str] = set()
        for key, part in self._parts():
            changed = part.splitterMoved if isinstance(part, QSplitter) else part.sectionResized
            changed.connect(partial(self._note, key))

    def restore(self) -> None:
        """As it was; what cannot be found again stays where it is."""
        geometry = self._settings.value(GEOMETRY)
        if isinstance(geometry, QByteArray):
            self._window.restoreGeometry(geometry)
        for key, part in self._parts():
            state = self._settings.value(key)
            if isinstance(state, QByteArray):
                part.restoreState(state)
        for page, name in self._pages.items():
            kept = self._settings.value(f"layout/{name}/kept")
            if isinstance(page, Keeps) and isinstance(kept, str):
                page.find_again(kept)

    @property
    def page(self) -> QWidget | None:
        """Which page was shown."""
        wanted = self._settings.value(PAGE)
        return next((page for page, name in self._pages.items() if name == wanted), None)

    @property
    def search(self) -> SavedView | None:
        """What of the operations was shown."""
        return restored(str(self._settings.value(SEARCH, "")))

    def keep(self, page: str, search: SavedView) -> None:
        """Keep all of it. page: the name of the one that is shown."""
        self._settings.setValue(GEOMETRY, self._window.saveGeometry())
        self._settings.setValue(PAGE, page)
        self._settings.setValue(SEARCH, msgspec.json.encode(search).decode())
        for key, part in self._parts():
            if key in self._moved:
                self._settings.setValue(key, part.saveState())
        for one, name in self._pages.items():
            if isinstance(one, Keeps):
                self._settings.setValue(f"layout/{name}/kept", one.kept())

    def _note(self, key: str, *_what: int) -> None:
        self._moved.add(key)

    def _parts(self) -> Iterator[tuple[str, QSplitter | QHeaderView]]:
        """Splitters and columns by where they are and how many they divide: another release may have others."""
        for page, name in self._pages.items():
            for number, splitter in enumerate(page.findChildren(QSplitter)):
                yield f"layout/{name}/splitter-{number}-{splitter.count()}", splitter
            for number, header in enumerate(page.findChildren(QHeaderView)):
                yield f"layout/{name}/columns-{number}-{header.count()}", header
