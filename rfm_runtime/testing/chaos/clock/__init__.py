"""A wall clock that can be set for the processes of one runtime, without privileges: see `sitecustomize` beside this.

Time namespaces do not shift the wall clock; libfaketime breaks `time.sleep` as soon as monotonic clocks are left alone.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["WallClock"]


class WallClock:
    """The offset of a runtime's clock, in a file that its processes map."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(struct.pack("<d", 0.0))

    def set(self, offset_s: float) -> None:
        """From now on all of its processes are so far from the true time."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("<d", offset_s))

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Processes started within the block have this clock."""
        added = {
            "RFM_CHAOS_CLOCK": str(self._path),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])),
        }
        before = {key: os.environ.get(key) for key in added}
        os.environ.update(added)
        try:
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
