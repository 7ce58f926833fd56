"""Places that somebody keeps: small PNG files with their parameters in them, in a folder that is the user's own.

What is dropped into the folder is a bookmark too, and each of them is a file that `rfm-runtime render --like` reads.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from rfm_runtime.client.handle import write_file
from rfm_runtime.errors import BadRequestError, SetupError

__all__ = ["Bookmark", "Bookmarks", "file_name"]

NAME_LIMIT = 80
"""Characters; a file's name has 255 bytes at most."""

FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]+')
"""In names of files, here or on file systems that a bookmark may be carried to."""


class Bookmark(NamedTuple):
    """A file of the folder. changed_ns: when it was written."""

    name: str
    path: Path
    changed_ns: int


def file_name(name: str) -> str:
    """What a bookmark's file is called, without its suffix. Raises BadRequestError if nothing is left of the name."""
    kept = " ".join(FORBIDDEN.sub(" ", name).split()).lstrip(".")[:NAME_LIMIT].strip()
    if not kept:
        raise BadRequestError("a bookmark needs a name", hint="with a letter or a digit in it")
    return kept


class Bookmarks:
    """Those in a folder, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Bookmark]:
        """The newest first. Raises SetupError if the folder cannot be read."""
        found = []
        try:
            for path in self.folder.glob("*.png"):
                # One that goes meanwhile is none.
                with contextlib.suppress(FileNotFoundError):
                    found.append(Bookmark(path.stem, path, path.stat().st_mtime_ns))
        except OSError as error:
            raise _refused("read", self.folder, error) from None
        return sorted(found, key=lambda one: (-one.changed_ns, one.name))

    def add(self, name: str, picture: bytes) -> Bookmark:
        """Keep a picture that has its parameters in it; another name is taken where there is one of that name.

        Raises BadRequestError, SetupError.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _refused("make", self.folder, error) from None
        path = write_file(self._free(name), picture, force=False)
        return Bookmark(path.stem, path, path.stat().st_mtime_ns)

    def rename(self, bookmark: Bookmark, name: str) -> Bookmark:
        """Call it something else. Raises BadRequestError, SetupError."""
        if file_name(name) == bookmark.name:
            return bookmark
        path = self._free(name)
        try:
            bookmark.path.rename(path)
        except OSError as error:
            raise _refused("rename", bookmark.path, error) from None
        return bookmark._replace(name=path.stem, path=path)

    def remove(self, bookmark: Bookmark) -> None:
        """It is gone. Raises SetupError."""
        try:
            bookmark.path.unlink(missing_ok=True)
        except OSError as error:
            raise _refused("remove", bookmark.path, error) from None

    def _free(self, name: str) -> Path:
        stem = file_name(name)
        path, number = self.folder / f"{stem}.png", 2
        while path.exists():
            path, number = self.folder / f"{stem} {number}.png", number + 1
        return path


def _refused(what: str, path: Path, error: OSError) -> SetupError:
    return SetupError(f"cannot {what} {path}: {error.strerror}", hint="see who owns the folder, and if it has room")
