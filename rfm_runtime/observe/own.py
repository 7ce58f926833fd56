"""What this process uses, for what it reports: no extra needed, and cheap enough to be asked at every look."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["memory_bytes"]

AGAIN_S = 1.0
"""Memory changes slowly, and hundreds of operations of one process ask for the same."""

_STATM = Path("/proc/self/statm")


class _Known:
    """The last answer, and when it was found. Of a forked child too, for a second."""

    bytes = 0
    at_s = -AGAIN_S


def memory_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    now_s = time.monotonic()
    if now_s - _Known.at_s >= AGAIN_S:
        _Known.at_s = now_s
        try:
            _Known.bytes = int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            _Known.bytes = 0
    return _Known.bytes
