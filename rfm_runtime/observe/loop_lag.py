"""How late an asyncio loop comes to what is due: a tick in the loop, read from another thread.

`due_s` and the largest lag are touched by the loop's thread and by whoever reads, under a lock that is held for a few
assignments.
"""

from __future__ import annotations

import asyncio
import threading
import time

__all__ = ["TICK_S", "LoopLag"]

TICK_S = 0.25
"""Blocks of less may fall between two ticks; of longer ones all but at most this much is seen. Four wake-ups a second
of an idle loop cost 0.06 % of a core, ten cost 0.14 %."""


class LoopLag:
    """The lag of one loop, from when it next runs until `stop`. Usable from any thread; keeps no loop alive or open."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._due_s: float | None = None
        self._largest_s = 0.0
        self._stopped = False
        # A loop that is closed already is one without lag.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._tick)

    def stop(self) -> None:
        """No tick follows the next one."""
        self._stopped = True

    def take_ms(self) -> float | None:
        """The largest since the last call, a tick that is overdue now included; None if the loop does not run."""
        running = self.loop.is_running()
        with self._lock:
            largest_s, due_s = self._largest_s, self._due_s
            self._largest_s = 0.0
            if not running:
                # How long it rests is no lag, also if it goes on.
                self._due_s = None
        if not running or due_s is None:
            return None
        return 1000 * max(0.0, largest_s, time.monotonic() - due_s)

    def _tick(self) -> None:
        if self._stopped:
            return
        now_s = time.monotonic()
        with self._lock:
            if self._due_s is not None:
                self._largest_s = max(self._largest_s, now_s - self._due_s)
            self._due_s = now_s + TICK_S
        self.loop.call_later(TICK_S, self._tick)
