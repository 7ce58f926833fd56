"""Files that say who may come in, and as whom: whoever can change one may do everything, so nobody else may."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

__all__ = ["changeable"]

OTHERS = 0o022
"""Mode bits that such a file must not have. To be read it is for everybody."""


def changeable(path: Path, found: os.stat_result) -> tuple[str, str] | None:
    """Who else can change the file, and what to do; None: this user and root alone. Windows has no modes to look at."""
    if sys.platform == "win32":
        return None
    if found.st_uid not in (0, os.getuid()):
        return (
            f"{path} belongs to another user, who could let in whom he likes",
            f"look at what it says, and chown it: chown {os.getuid()} {shlex.quote(str(path))}",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & OTHERS:
        return (
            f"{path} can be changed by others (mode {mode:04o}), who could let in whom they like",
            f"look at what it says, and close it: chmod go-w {shlex.quote(str(path))}",
        )
    return None
