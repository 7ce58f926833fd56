"""What an operation consists of: steps of its own, and operations that are parts of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rfm_runtime.client.reporting.values import number_of

if TYPE_CHECKING:
    from rfm_runtime.client.reporting.reporter import Reporting

__all__ = ["Children", "Step"]


class Step:
    """A part of an operation, or of another part. `report_progress` is of this part alone, 0–100.

    share: of the whole it belongs to, 0–1.
    """

    def __init__(self, name: str, share: float) -> None:
        self.name = name
        self.share = share
        self._progress: float = 0.0
        self._ended = 0.0
        self._open: list[Step] = []

    def report_progress(self, progress: float) -> None:
        """How far this part is, in percent."""
        self._progress = progress

    @contextmanager
    def step(self, name: str, share: float) -> Iterator[Step]:
        """A part of this part. Leaving it by an exception leaves it where it was."""
        part = Step(name, share)
        self._open = [*self._open, part]
        try:
            yield part
        except BaseException:
            self._leave(part, part.value())
            raise
        self._leave(part, 100.0)

    def _leave(self, part: Step, value: float) -> None:
        # In this order: counted twice for a moment it would be shown for good, bars do not go back.
        self._open = [other for other in self._open if other is not part]
        self._ended += part.share * value

    def value(self) -> float:
        """Percent, 0–100."""
        parts = self._ended + sum(part.share * part.value() for part in self._open)
        return min(100.0, max(number_of(self._progress), parts))

    def path(self) -> str:
        """Names of the open parts, the outermost first."""
        for part in self._open:
            below = part.path()
            return f"{part.name} / {below}" if below else part.name
        return ""


class Children:
    """Operations that are parts of one, each with its weight. What has ended is kept as two sums."""

    def __init__(self) -> None:
        self._living: list[tuple[float, Reporting]] = []
        self._weight = 0.0
        self._done = 0.0
        self._lock = threading.Lock()

    def add(self, child: Reporting, weight: float) -> None:
        """One more part."""
        with self._lock:
            self._living.append((max(0.0, weight), child))

    def living(self) -> list[Reporting]:
        """Those without an outcome."""
        return [child for _, child in self._living if child.state == "running"]

    def share(self) -> float:
        """How far they are together, 0–1."""
        if not self._living and not self._weight:
            return 0.0
        with self._lock:
            left = []
            for weight, child in self._living:
                if child.state == "running":
                    left.append((weight, child))
                else:
                    # Failed or cancelled, it is as far as it will come.
                    self._weight += weight
                    self._done += weight * child.share()
            self._living = left
            weights = self._weight + sum(weight for weight, _ in left)
            done = self._done + sum(weight * child.share() for weight, child in left)
        return done / weights if weights > 0.0 else 0.0
