"""A small file system of its own, which can be filled and grown: what a full disk does, without filling the machine's.

Needs the right to mount; `can_mount` says whether this process has it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CANNOT_MOUNT", "SmallDisk", "can_mount", "small_disk"]

CANNOT_MOUNT = "file systems cannot be mounted here"
"""Why a test is skipped then."""


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free_bytes(self) -> int:
        """What can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Take what is free, but for `leave_bytes`."""
        with (self.path / "filling").open("ab") as file:
            size = file.tell() + max(0, self.free_bytes - leave_bytes)
            # Another process may be quicker: then there is a little less to take.
            while size > file.tell():
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                    return
                except OSError:
                    size -= 4096

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / "filling").unlink(missing_ok=True)

    def resize(self, size_bytes: int) -> None:
        """Make it larger or smaller."""
        _run("mount", "-o", f"remount,size={size_bytes}", str(self.path))


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount one at the folder `path`, which is made. Raises CalledProcessError where that is not permitted."""
    path.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: whoever still has a file open there keeps nobody from going on.
        _run("umount", "-l", str(path))


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system below `folder`."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError), small_disk(folder / "probe", 65536):
        return True
    return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
