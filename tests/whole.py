"""Help for tests with a whole runtime: views to render, a watcher that records, a truth to compare with."""

from __future__ import annotations

import hashlib
import threading
from typing import Any, ClassVar

from rfm_runtime import Client
from rfm_runtime.client.async_client import Notice
from rfm_runtime.client.handle import Operation
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.messages import OperationList
from rfm_runtime.protocol.operation import TERMINAL_STATES, OperationEvent, ProgressUpdate
from rfm_runtime.testing.runtime import Runtime, eventually

KIND = "render.escape_time"

QUICK = {"re": "-0.7463", "im": "0.1102", "width": "0.005", "width_px": 320, "height_px": 200, "max_iter": 500}
"""Tens of milliseconds."""

SECONDS = {
    "re": "-1.7548776662",
    "im": "0",
    "width": "0.07",
    "width_px": 1600,
    "height_px": 900,
    "max_iter": 100_000,
    "interior_tests": False,
}
"""Seconds of a core at 5·10⁹ iterations/s, a hundred tiles: a fifth of it is a mini-set, iterated to the end."""

ENDLESS = {
    "re": "-0.1",
    "im": "0.1",
    "width": "0.01",
    "width_px": 256,
    "height_px": 256,
    "max_iter": 1_000_000_000,
    "interior_tests": False,
}
"""Every pixel takes 10⁹ iterations: nobody waits for its end."""


class Recorder:
    """A watcher in a thread of its own that keeps everything it is told. It does not outlive its test."""

    watching: ClassVar[list[Recorder]] = []

    def __init__(self, running: Runtime, *, follow: bool = False, **options: Any) -> None:
        """follow: find the runtime by its connection file, also after it was started again with another token."""
        where: dict[str, Any] = {"url": options.pop("url", running.url), "token": running.info.token}
        if follow:
            where = {"settings": running.settings}
        self.client = Client(**where, **options)
        self.notices: list[Notice] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self.watching.append(self)

    @classmethod
    def close_all(cls) -> None:
        """At the end of a test: one that is left would look for its runtime, and find the next one on its port."""
        for recorder in list(cls.watching):
            recorder.close()

    def _watch(self) -> None:
        try:
            for notice in self.client.watch():
                self.notices.append(notice)
        except UnavailableError:
            return

    def events(self, operation_id: str) -> list[OperationEvent]:
        return [n for n in list(self.notices) if isinstance(n, OperationEvent) and n.operation_id == operation_id]

    def progress(self, operation_id: str) -> list[ProgressUpdate]:
        return [n for n in list(self.notices) if isinstance(n, ProgressUpdate) and n.operation_id == operation_id]

    def types(self, operation_id: str) -> list[str]:
        return [event.type.removeprefix("operation_") for event in self.events(operation_id)]

    def ended(self, operation_id: str) -> bool:
        listed = any(
            o.operation_id == operation_id and o.state in TERMINAL_STATES
            for n in list(self.notices)
            if isinstance(n, OperationList)
            for o in n.operations
        )
        return listed or any(event.state in TERMINAL_STATES for event in self.events(operation_id))

    def await_end(self, operation_id: str, timeout_s: float = 60.0) -> None:
        eventually(lambda: self.ended(operation_id), timeout_s=timeout_s, what=f"a watcher sees {operation_id} end")

    def check_story(self, operation_id: str) -> None:
        """Invariants 1–3 as this watcher saw them."""
        outcomes = [event for event in self.events(operation_id) if event.state in TERMINAL_STATES]
        assert len(outcomes) == 1, self.types(operation_id)
        seqs = [n.seq for n in self.notices if isinstance(n, OperationEvent)]
        assert seqs == sorted(set(seqs))
        updates = self.progress(operation_id)
        done = [update.done for update in updates]
        assert done == sorted(done), "the bar ran backwards"
        assert all(update.progress <= 99.0 for update in updates)
        assert outcomes[0].final is not None
        if done:
            assert outcomes[0].final.done >= done[-1]
        position = max(i for i, n in enumerate(self.notices) if isinstance(n, OperationEvent) and n is outcomes[0])
        late = [n for n in self.notices[position:] if isinstance(n, ProgressUpdate) and n.operation_id == operation_id]
        assert not late, "progress after the outcome"

    def close(self) -> None:
        if self not in self.watching:
            return
        self.watching.remove(self)
        self.client.close()
        self._thread.join(timeout=5)


def reached(operation: Operation, moment: str) -> None:
    """Wait until a render is there: "preview", "tiles", "more tiles" (than now), "last tiles", "image"."""
    since = operation.info.latest.done if operation.info is not None and operation.info.latest is not None else 0.0
    for update in operation.progress():
        share = update.done / (update.total or 1.0)
        if (
            (moment in ("preview", "image") and update.step == moment)
            or (moment == "tiles" and share > 0.1)
            or (moment == "more tiles" and update.done > since)
            or (moment == "last tiles" and share > 0.9)
        ):
            return


def digest(client: Client, operation_id: str) -> str:
    """Of the raw counts of a finished render."""
    return hashlib.sha256(client.fetch_artifact(operation_id, "n.npy")).hexdigest()
