"""Tokens in files: those that somebody names, and those that he wants to be kept, which nobody else can read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QStandardPaths

from rfm_runtime.errors import BadRequestError, UnauthorizedError
from rfm_runtime.security.token import make_private, write_private
from rfm_ui.model.plain_files import content
from rfm_ui.model.sign_in import token_of

__all__ = ["forget", "from_file", "keep", "source_of"]

MOST_BYTES = 16 * 1024
"""Of a file with a token; a large one has some 4 KiB."""


def from_file(path: str) -> str:
    """The token in it. Raises BadRequestError, which names the file and not what is in it."""
    try:
        return token_of(content(Path(path), MOST_BYTES).decode("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadRequestError(f"cannot read {path}: {reason}", hint="choose a file that has the token") from None
    except BadRequestError as error:
        raise BadRequestError(f"{path} has no token: {error.message}", hint=error.hint) from None


def source_of(path: str) -> Callable[[], str]:
    """Gives what is in the file now; raises UnauthorizedError."""

    def newest() -> str:
        try:
            return from_file(path)
        except BadRequestError as error:
            raise UnauthorizedError(error.message, hint=error.hint) from None

    return newest


def _kept(url: str) -> Path:
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppConfigLocation)
    return Path(folder) / "tokens" / hashlib.sha256(url.encode()).hexdigest()[:24]


def keep(url: str, token: str) -> str:
    """Keep a token for a server, mode 0600 in a folder of 0700; its file. Raises BadRequestError."""
    path = _kept(url)
    try:
        make_private(path.parent)
        write_private(path, token)
    except OSError as error:
        raise BadRequestError(
            f"the token cannot be kept in {path}: {error.strerror}", hint="sign in without keeping it, or make room"
        ) from None
    return str(path)


def forget(url: str) -> None:
    """Remove what was kept for a server, if anything was."""
    try:
        _kept(url).unlink(missing_ok=True)
    except OSError as error:
        raise BadRequestError(f"{_kept(url)} cannot be removed: {error.strerror}", hint="remove it yourself") from None
