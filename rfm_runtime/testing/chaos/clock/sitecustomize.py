"""Loaded by every Python of a runtime under chaos, before anything else: a wall clock that can be set.

Only what `time` says of the wall clock is moved, which is what every decision of the runtime is made with; monotonic
clocks go on, as they do when an administrator sets the time. The offset is a float in a mapped file.
"""

import mmap
import os
import struct
import time

path = os.environ.get("RFM_CHAOS_CLOCK")
if path:
    with open(path, "rb") as file:  # noqa: PTH123 - nothing is imported here that a process may not have by itself
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        """Nanoseconds since 1970, as somebody has set them."""
        return true_ns() + int(struct.unpack_from("<d", offset)[0] * 1e9)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
