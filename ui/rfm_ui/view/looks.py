"""Which theme is on the screen and how large letters are: chosen, kept, and changed while all windows are open."""

from __future__ import annotations

import contextlib
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, QStandardPaths
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.own_theme import of_toml, to_toml
from rfm_ui.model.plain_files import content
from rfm_ui.model.themes import SYSTEM, THEMES, Theme
from rfm_ui.view import theme

__all__ = ["LETTERS", "Looks"]

CHOSEN, SIZE = "appearance/theme", "appearance/letters"
LETTERS = (80, 90, 100, 110, 125, 150, 175, 200)
"""Of the desktop's size, percent."""
MOST_BYTES = 16 * 1024
"""Of a theme's file; with all that it can say it has 1 KiB."""


class Looks(QObject):
    """Of the application. Nothing is changed before `begin`."""

    def __init__(self, settings: QSettings) -> None:
        super().__init__()
        self._settings = settings
        self._application: QApplication | None = None
        self._points = 0.0
        self.name = str(settings.value(CHOSEN, SYSTEM)) or SYSTEM
        self.letters = _percent(settings.value(SIZE, 100))
        self._used = THEMES["dark"]

    @property
    def folder(self) -> Path:
        """Where own themes are looked for: each a file NAME.toml."""
        place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppConfigLocation)
        return Path(place) / "themes"

    def names(self) -> list[tuple[str, str]]:
        """(name, title) of all that can be chosen; a file that cannot be used has its name for a title."""
        found = [(SYSTEM, "As the desktop"), *((one.name, one.title) for one in THEMES.values())]
        own = sorted(path.stem for path in self.folder.glob("*.toml"))
        return found + [(name, self._title(name)) for name in own if name not in THEMES and name != SYSTEM]

    def check(self, name: str) -> None:
        """Raise BadRequestError if there is no such theme, or its file is wrong. The desktop's there always is."""
        if name not in ("", SYSTEM):
            self._named(name)

    def begin(self, application: QApplication, name: str = "") -> None:
        """Dress the application. name: for this time, instead of the one that is kept."""
        self._application = application
        self._points = application.font().pointSizeF()
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._desktop_changed)
        self.name = name or self.name
        try:
            self.check(self.name)
        except BadRequestError:
            # Its file has gone, or was spoiled, since it was chosen: the settings say so, and a window there is.
            self.name = SYSTEM
        self._dress()

    def choose(self, name: str) -> None:
        """Use and keep it. Raises BadRequestError if there is no such theme, or its file is wrong."""
        self.check(name)
        self.name = name or SYSTEM
        self._settings.setValue(CHOSEN, self.name)
        self._dress()

    def resize(self, letters: int) -> None:
        """Letters of so many percent of the desktop's."""
        self.letters = _percent(letters)
        self._settings.setValue(SIZE, self.letters)
        self._dress()

    def write_example(self) -> Path:
        """A file to begin an own theme with; an existing one is kept. Raises BadRequestError."""
        path = self.folder / "mine.toml"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(to_toml(theme.current() if theme.current().name in THEMES else THEMES["dark"]))
        except FileExistsError:
            return path
        except OSError as error:
            raise BadRequestError(
                f"{path} cannot be written: {error.strerror}", hint="make room, or a folder"
            ) from None
        return path

    def _dress(self) -> None:
        if self._application is None:
            return
        font = self._application.font()
        if self._points > 0.0:
            font.setPointSizeF(self._points * self.letters / 100)
            self._application.setFont(font)
        theme.put_on(self._application, self._theme())

    def _theme(self) -> Theme:
        if self.name == SYSTEM:
            return theme.system()
        # Its file may have gone since it was put on: letters can be of another size all the same.
        with contextlib.suppress(BadRequestError):
            self._used = self._named(self.name)
        return self._used

    def _named(self, name: str) -> Theme:
        if name in THEMES:
            return THEMES[name]
        try:
            return self._own(name)
        except FileNotFoundError:
            raise BadRequestError(f"there is no theme {name!r}", hint=self._known()) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            path = self.folder / f"{name}.toml"
            raise BadRequestError(f"cannot read {path}: {reason}", hint=self._known()) from None

    def _own(self, name: str) -> Theme:
        """Raises BadRequestError, OSError, UnicodeDecodeError."""
        if "/" in name:
            raise FileNotFoundError
        return of_toml(name, content(self.folder / f"{name}.toml", MOST_BYTES).decode("utf-8"))

    def _known(self) -> str:
        return f"choose one of {', '.join(name for name, _title in self.names())}"

    def _title(self, name: str) -> str:
        try:
            return self._own(name).title
        except (BadRequestError, OSError, UnicodeDecodeError):
            return name

    def _desktop_changed(self) -> None:
        if self.name == SYSTEM:
            self._dress()


def _percent(kept: object) -> int:
    """One of `LETTERS`, whatever was kept."""
    try:
        wanted = int(str(kept))
    except ValueError:
        return 100
    return min(LETTERS, key=lambda one: abs(one - wanted))
