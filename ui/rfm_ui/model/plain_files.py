"""Files that somebody names, or leaves in a folder: read without waiting, and not more of them than makes sense.

A pipe that nobody writes to would hold the window for ever, a device has no end, and any name may be of one.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["content", "opened"]


def opened(path: Path) -> BinaryIO:
    """A plain file, to be read. Raises OSError, with words for people, for anything else."""
    try:
        # Without O_NONBLOCK the opening of a pipe waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "no file can be called that") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def content(path: Path, most_bytes: int) -> bytes:
    """All of it. Raises OSError, also if it has more than that."""
    with opened(path) as file:
        found = file.read(most_bytes + 1)
    if len(found) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes:,} bytes")
    return found
