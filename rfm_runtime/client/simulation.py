"""A simulation as a program like any other: operations of a plan, reported and cancelled through the public API.

Three threads: `Simulation._perform` has all operations in its hands and reports them; `_watch` sees what any watcher
sees; `_cancel` cancels, as any watcher may, what is to be cancelled. Decisions are in `core.simulation`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rfm_runtime.client.ids import ulid
from rfm_runtime.client.reporting.parts import Step
from rfm_runtime.client.reporting.reporter import ProgressReporter
from rfm_runtime.client.sync_client import Client
from rfm_runtime.core.simulation.kinds import KINDS, Leaf, Part
from rfm_runtime.core.simulation.plan import Position, Simulated, position
from rfm_runtime.core.simulation.verdict import Performed, Verdict, judge
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.messages import OperationList
from rfm_runtime.protocol.operation import TERMINAL_EVENTS, TERMINAL_STATES, OperationEvent

__all__ = ["LABEL", "Row", "Simulation", "Steps"]

LABEL = "simulation"
"""Each operation has it, with the same value for all of one simulation."""

TICK_S = 0.05

AGAIN_S = 0.2
"""After a cancel that could not be delivered."""

UNHEARD_S = 30.0
"""After the server has taken a cancel that the operation does not hear of: it completes, which is then a difference."""

SETTLE_S = 30.0
"""For the last outcomes to arrive at the server, and from there at the watcher."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind at the moment. share: how far all of it is, 0–1."""

    kind: str
    running: int
    ended: int
    planned: int
    share: float


class Steps:
    """The steps that are open, of a reporter or of a step. One that is passed by is opened and closed, and counts."""

    def __init__(self, whole: ProgressReporter | Step, leaves: Sequence[Leaf]) -> None:
        self._whole = whole
        self._leaves = leaves
        self._at = -1
        self._open: list[tuple[Part, ExitStack, Step]] = []

    def report(self, leaf: int, within: float) -> None:
        """It is in that leaf, and so far (0–1)."""
        while self._at < leaf:
            self._at += 1
            self._enter(self._leaves[self._at].path)
        self._open[-1][2].report_progress(100.0 * within)

    def _enter(self, path: Sequence[Part]) -> None:
        same = 0
        while same < min(len(path), len(self._open)) and self._open[same][0] is path[same]:
            same += 1
        self.leave(same)
        for part in path[same:]:
            above = self._open[-1][2] if self._open else self._whole
            stack = ExitStack()
            self._open.append((part, stack, stack.enter_context(above.step(part.name, part.share))))

    def leave(self, depth: int = 0) -> None:
        """Close all below that depth."""
        while len(self._open) > depth:
            self._open.pop()[1].close()


class _Act:
    """An operation that was begun. asked: its cancel is on the way; taken_s: when the server had it.

    steered: somebody whom the plan does not know wanted it to stop.
    """

    def __init__(self, planned: Simulated, label: str, now_s: float) -> None:
        self.planned = planned
        self.began_s = now_s
        self.reporter = ProgressReporter(planned.kind.name, planned.name, labels={LABEL: label}, bar=False)
        if planned.kind.told != "percent":
            self.reporter.unit = planned.kind.unit
            self.reporter.total = planned.amount if planned.kind.told == "counted" else None
        self._steps = Steps(self.reporter, planned.leaves)
        self._next_s = now_s
        self.share = 0.0
        self.ended = False
        self.asked = False
        self.taken_s: float | None = None
        self.heard = False
        self.steered = False

    def tick(self, now_s: float) -> None:
        """What is due: a report, or the end."""
        elapsed_s = now_s - self.began_s
        if self.reporter.should_cancel():
            self._stop()
        elif self._is_over(elapsed_s, now_s):
            self._end(position(self.planned, elapsed_s))
        elif now_s >= self._next_s:
            self._next_s = now_s + self.planned.every_s
            self._report(position(self.planned, elapsed_s))

    def is_to_be_cancelled(self, now_s: float) -> bool:
        """Whether it is time, and nobody has asked yet."""
        due = self.planned.outcome == "canceled" and now_s - self.began_s >= self.planned.ends_s
        return due and not self.asked

    def _is_over(self, elapsed_s: float, now_s: float) -> bool:
        if self.planned.outcome == "canceled":
            return self.taken_s is not None and now_s - self.taken_s > UNHEARD_S
        return elapsed_s >= self.planned.ends_s

    def _report(self, at: Position) -> None:
        self.share = at.share
        if self.planned.kind.told == "percent":
            # Its steps say how far it is.
            self.reporter.report_progress(0.0, message=at.message, details=at.details)
            self._steps.report(at.leaf, at.within)
        else:
            step = self.planned.leaves[at.leaf].name
            self.reporter.report_progress(at.done, step, message=at.message, details=at.details)

    def _end(self, at: Position) -> None:
        self._report(at)
        fault = self.planned.fault
        if fault is not None:
            self.reporter.report_failed(fault.message, code=fault.code)
            self._steps.leave()
        else:
            self._steps.leave()
            self.reporter.report_completed()
        self.ended = True

    def _stop(self) -> None:
        self.heard = True
        self.steered = not self.asked
        self.reporter.report_canceled(message=f"stopped at {100.0 * self.share:.0f} %")
        self._steps.leave()
        self.ended = True

    def performed(self) -> Performed:
        """What the server should say of it."""
        expected = "canceled" if self.heard else self.planned.outcome
        return Performed(self.reporter.operation_id, self.planned.kind.name, self.planned.name, expected)


class Simulation:
    """One performance of a plan. client: live; it watches from before the first operation begins.

    at_once: how many run at the same time at most; whose turn has not come, waits. Methods are for one thread.
    """

    def __init__(self, client: Client, planned: Sequence[Simulated], *, at_once: int | None = None) -> None:
        self.label = ulid()
        self._client = client
        self._planned = planned
        self._waiting = deque(planned)
        self._at_once = at_once or len(planned)
        self._acts: list[_Act] = []
        self._to_cancel: queue.SimpleQueue[_Act | None] = queue.SimpleQueue()
        self._seen: set[str] = set()
        self._told: Counter[str] = Counter()
        self._lists = 0
        self._watching = threading.Event()
        self._closed = threading.Event()
        self._interrupted = False
        self._done = threading.Event()

    def __enter__(self) -> Simulation:
        self._start(self._watch, "watch")
        self._watching.wait()
        self._start(self._cancel, "cancel")
        self._start(self._perform, "perform")
        return self

    def __exit__(self, *_exception: object) -> None:
        """Whatever still runs is asked to stop; nobody waits for it."""
        self.interrupt()
        self._closed.set()
        self._to_cancel.put(None)

    def _start(self, work: Callable[[], None], name: str) -> None:
        threading.Thread(target=work, name=f"rfm-simulation-{name}", daemon=True).start()

    # --- for the one who began it ---------------------------------------------------------------

    def wait(self, timeout_s: float) -> bool:
        """Whether all have ended, within that time."""
        return self._done.wait(timeout_s)

    def interrupt(self) -> int:
        """Have all that run stop, and begin no more; how many run. Idempotent."""
        self._interrupted = True
        running = [act for act in list(self._acts) if not act.ended]
        for act in running:
            act.reporter.request_cancel()
        return len(running)

    @property
    def begun(self) -> int:
        """How many operations were begun."""
        return len(self._acts)

    @property
    def left(self) -> int:
        """How many were not."""
        return len(self._planned) - len(self._acts)

    @property
    def steered(self) -> int:
        """How many were stopped by somebody whom the plan does not know."""
        return sum(act.steered for act in list(self._acts))

    def rows(self) -> list[Row]:
        """Where it stands, one row a kind."""
        acts = list(self._acts)
        planned = Counter(one.kind.name for one in self._planned)
        running, ended = Counter[str](), Counter[str]()
        shares = dict.fromkeys(planned, 0.0)
        for act in acts:
            kind = act.planned.kind.name
            (ended if act.ended else running)[kind] += 1
            # What has ended is over, however it ended.
            shares[kind] += 1.0 if act.ended else act.share
        return [
            Row(kind.name, running[kind.name], ended[kind.name], count, shares[kind.name] / count)
            for kind in KINDS
            if (count := planned[kind.name])
        ]

    def verdict(self) -> Verdict:
        """What the server says of it. Raises UnavailableError if it does not answer."""
        deadline_s = time.monotonic() + SETTLE_S
        # One without a runtime, for a moment, has nobody to wait for.
        while self._acts and not self._acts[0].reporter.flush(1.0) and time.monotonic() < deadline_s:
            self._closed.wait(TICK_S)
        found = self._client.operations(labels={LABEL: self.label})
        over = [operation.operation_id for operation in found if operation.state in TERMINAL_STATES]
        while not all(self._told[one] for one in over) and self._lists == 1 and time.monotonic() < deadline_s:
            self._closed.wait(TICK_S)
        listed = [(operation.operation_id, operation.state) for operation in found]
        performed = [act.performed() for act in self._acts]
        return judge(performed, listed, self._told, unbroken=self._lists == 1)

    # --- threads ------------------------------------------------------------------------------

    def _perform(self) -> None:
        began_s = time.monotonic()
        running: list[_Act] = []
        try:
            while running or (self._waiting and not self._interrupted):
                now_s = time.monotonic()
                while self._may_begin(len(running), now_s - began_s):
                    running.append(_Act(self._waiting.popleft(), self.label, now_s))
                    self._acts.append(running[-1])
                for act in running:
                    act.tick(now_s)
                    # A watcher cancels what it sees.
                    if act.is_to_be_cancelled(now_s) and act.reporter.operation_id in self._seen:
                        act.asked = True
                        self._to_cancel.put(act)
                running = [act for act in running if not act.ended]
                self._closed.wait(TICK_S - min(TICK_S, time.monotonic() - now_s))
                if self._interrupted:
                    # Those that were begun while the others were told.
                    self.interrupt()
        finally:
            self._done.set()

    def _may_begin(self, running: int, elapsed_s: float) -> bool:
        ready = bool(self._waiting) and self._waiting[0].begins_s <= elapsed_s
        return ready and running < self._at_once and not self._interrupted

    def _watch(self) -> None:
        try:
            for notice in self._client.watch():
                self._watching.set()
                if isinstance(notice, OperationEvent):
                    self._seen.add(notice.operation_id)
                    if notice.type in TERMINAL_EVENTS:
                        self._told[notice.operation_id] += 1
                elif isinstance(notice, OperationList):
                    self._lists += notice.first
                    self._seen.update(operation.operation_id for operation in notice.operations)
        except RfmError:
            # The client is closed, or not let in any more, which whoever asks it next is told.
            self._lists = 0
        finally:
            self._watching.set()

    def _cancel(self) -> None:
        while (act := self._to_cancel.get()) is not None:
            try:
                self._client.cancel(act.reporter.operation_id, reason="the simulation's plan")
            except RfmError as error:
                if error.temporary and not self._closed.wait(AGAIN_S):
                    self._to_cancel.put(act)
                    continue
            act.taken_s = time.monotonic()
