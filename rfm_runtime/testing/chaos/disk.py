"""A small disk of one's own: a tmpfs that only this process and its children see, gone with them.

Needs the right to mount. Asks the C library, since Python 3.11 has neither of the calls.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

__all__ = ["fill", "mount_small_disk", "unmount_small_disk"]

CLONE_NEWNS = 0x00020000  # unshare(2)
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # mount(2)

MNT_DETACH = 2  # umount2(2)

BALLAST = "ballast"


def mount_small_disk(folder: Path, size_bytes: int) -> None:
    """Put a file system of that size there, for this process and the children it will have. Raises OSError.

    Call it before there are threads: those that exist go on to see what was there before.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise _error("unshare")
    # Mounts are not to be seen outside.
    if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise _error("mount")
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size_bytes},mode=0700".encode()) != 0:
        raise _error("mount")


def unmount_small_disk(folder: Path) -> None:
    """Take it away again, with all that is on it. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(folder), MNT_DETACH) != 0:
        raise _error("umount")


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left, to be removed again. Raises OSError where it cannot be made."""
    ballast = folder / BALLAST
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        step_bytes = shutil.disk_usage(folder).free
        at_bytes = 0
        while step_bytes >= 4096:
            try:
                os.posix_fallocate(descriptor, at_bytes, step_bytes)
                at_bytes += step_bytes
            except OSError:
                # Somebody else has taken some of it.
                step_bytes //= 2
    finally:
        os.close(descriptor)
    return ballast


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
