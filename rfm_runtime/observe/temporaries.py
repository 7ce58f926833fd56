"""A temporary folder of a process that may be killed: what it leaves behind is found again and removed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

__all__ = ["keep_temporaries", "remove_temporaries"]


def keep_temporaries(link: Path) -> None:
    """Have this process and its libraries put temporary files into a folder of their own, to which `link` points.

    The folder is in TMPDIR and not where the link is: a path of a socket in it may have 107 bytes.
    """
    remove_temporaries(link)
    folder = tempfile.mkdtemp(prefix="rfm-")
    link.symlink_to(folder)
    tempfile.tempdir = folder


def remove_temporaries(link: Path) -> None:
    """Remove link and folder. Only for links in a folder that nobody else can write to."""
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)
        link.unlink()
