"""`ResourceMonitor`: what this process, its children and its host use, sampled by a thread, and whether it is healthy.

Usable in any program; needs psutil. It never raises into its host: what cannot be read is left out and logged once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rfm_runtime.core.resources.health import health
from rfm_runtime.errors import BadRequestError, MissingExtraError
from rfm_runtime.observe.cgroups import cgroup_memory
from rfm_runtime.observe.loop_lag import LoopLag
from rfm_runtime.observe.process import available_cores
from rfm_runtime.protocol.resources import ChildrenUsage, ChildUsage, Health, HostUsage, ProcessUsage, ResourceReport

if TYPE_CHECKING:
    from rfm_runtime.observe.usage import Child, MachineTimes

__all__ = ["INTERVAL_S", "ResourceMonitor"]

INTERVAL_S = (0.01, 86_400.0)
"""What is taken as an interval."""

RATES_S = 0.1
"""The system counts the time of other processes in steps of 10 ms: over less than this a percentage says nothing, and
the one before is told again."""

JOIN_S = 5.0
"""A sample may hang in a file system that does not answer; the thread then ends when it does."""

T = TypeVar("T")
log = logging.getLogger("rfm_runtime")


class _Counters(NamedTuple):
    """What rates are computed from. children_s: by pid and start, seconds of CPU time."""

    at_s: float
    own_s: float
    machine: MachineTimes | None
    children_s: dict[tuple[int, float], float]


class _Rates(NamedTuple):
    """In percent; 100 is one core, and the whole machine. of_each: of the children, by pid and start."""

    own: float = 0.0
    children: float = 0.0
    machine: float = 0.0
    of_each: Mapping[tuple[int, float], float] = {}


class ResourceMonitor:
    """Samples this process every `interval` seconds. Usable from any thread, and as a context manager.

    name, role: how reports name the process. state_dir: the folder whose disk is watched. on_report: called in the
    monitor's thread with each report of that thread. Raises BadRequestError for an interval that is none, and
    MissingExtraError without psutil.
    """

    def __init__(
        self,
        interval: float = 5.0,
        *,
        name: str = "",
        role: str = "",
        state_dir: Path | None = None,
        on_report: Callable[[ResourceReport], None] | None = None,
    ) -> None:
        self._interval_s = _seconds(interval)
        try:
            from rfm_runtime.observe import usage
        except ImportError:
            raise MissingExtraError("ResourceMonitor", "server") from None
        self._usage = usage
        self._name = name
        self._role = role
        self._state_dir = state_dir
        self._hearers = [] if on_report is None else [on_report]
        self._failed: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """As it is at first, and in a forked child: locks and thread are the parent's."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._running: tuple[threading.Thread, threading.Event] | None = None
        self._loops: list[LoopLag] = []
        self._sharing = 0
        self._descendants = self._usage.Descendants()
        self._latest: ResourceReport | None = None
        self._rates = _Rates()
        self._counters = self._count(self._children())

    def start(self) -> None:
        """Sample now, and then every interval, in a daemon thread. Idempotent."""
        self._forked()
        with self._starting:
            if self._running is not None:
                return
            stopped = threading.Event()
            thread = threading.Thread(target=self._run, args=(stopped,), name="rfm-resources", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                log.warning("resources: no thread could be started", exc_info=True)
                return
            self._running = thread, stopped

    def stop(self) -> None:
        """End the thread and what watches loops; wait for it. Idempotent; `start` begins anew."""
        self._forked()
        with self._starting:
            running, self._running = self._running, None
            loops, self._loops = self._loops, []
        for loop in loops:
            loop.stop()
        if running is None:
            return
        thread, stopped = running
        stopped.set()
        # `on_report` may find that it has seen enough.
        if thread is not threading.current_thread():
            thread.join(JOIN_S)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Run as long as any of those who share it does, or, if somebody has called `start`, until `stop`."""
        with self._starting:
            by_hand = self._running is not None and not self._sharing
            self._sharing += 0 if by_hand else 1
        self.start()
        try:
            yield
        finally:
            with self._starting:
                self._sharing -= 0 if by_hand else 1
                last = not by_hand and not self._sharing
            if last:
                self.stop()

    @contextmanager
    def telling(self, hearer: Callable[[ResourceReport], None]) -> Iterator[None]:
        """Have one more told each report, as `on_report` is."""
        self._hearers.append(hearer)
        try:
            yield
        finally:
            self._hearers.remove(hearer)

    def __enter__(self) -> ResourceMonitor:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def latest(self) -> ResourceReport | None:
        """The last report; None before the first."""
        self._forked()
        return self._latest

    @property
    def health(self) -> Health:
        """Of the last report; healthy before the first."""
        latest = self.latest
        return Health() if latest is None else latest.health

    def watch_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Report the lag of `loop`, the largest of several, until `stop`. Idempotent. From any thread."""
        self._forked()
        with self._starting:
            if any(watched.loop is loop for watched in self._loops):
                return
            try:
                self._loops.append(LoopLag(loop))
            except RuntimeError:
                log.debug("a loop that ends is not watched", exc_info=True)

    def sample(self) -> ResourceReport:
        """A report of now; rates are those since the sample before. Some milliseconds, in the caller's thread."""
        self._forked()
        with self._lock:
            children = self._children()
            self._rate(self._count(children))
            process, host = self._process(children), self._host()
            self._latest = ResourceReport(
                process=process,
                host=host,
                health=health(process, host, None if self._latest is None else self._latest.health),
                measured_at_ms=int(time.time() * 1000),
            )
            return self._latest

    def _run(self, stopped: threading.Event) -> None:
        while True:
            self._known("report", lambda: self._report(stopped), None)
            if stopped.wait(self._interval_s):
                return

    def _report(self, stopped: threading.Event) -> None:
        report = self.sample()
        for hearer in list(self._hearers):
            if not stopped.is_set():
                self._known("report", partial(hearer, report), None)

    def _process(self, children: list[Child]) -> ProcessUsage:
        memory = self._known("memory", self._usage.memory, None)
        descriptors = self._known("descriptors", self._usage.descriptors, None)
        lags_ms = [lag_ms for loop in list(self._loops) if (lag_ms := loop.take_ms()) is not None]
        return ProcessUsage(
            name=self._name,
            role=self._role,
            pid=self._pid,
            cpu_percent=self._rates.own,
            memory_bytes=0 if memory is None else memory.resident_bytes,
            peak_memory_bytes=0 if memory is None else memory.peak_bytes,
            threads=0 if memory is None else memory.threads,
            descriptors=None if descriptors is None else descriptors.opened,
            descriptors_limit=self._known("descriptors_limit", self._usage.descriptors_limit, None),
            sockets=None if descriptors is None else descriptors.sockets,
            loop_lag_ms=max(lags_ms, default=None),
            children=ChildrenUsage(
                processes=len(children),
                cpu_percent=self._rates.children,
                memory_bytes=sum(child.memory_bytes for child in children),
                each=tuple(
                    ChildUsage(
                        pid=child.pid,
                        cpu_percent=self._rates.of_each.get((child.pid, child.started), 0.0),
                        memory_bytes=child.memory_bytes,
                    )
                    for child in children
                ),
            ),
        )

    def _host(self) -> HostUsage:
        total_bytes, available_bytes = self._known("machine's memory", self._usage.machine_memory, (0, 0))
        cgroup = self._known("cgroup", cgroup_memory, None)
        state_dir = self._state_dir
        disk = None if state_dir is None else self._known("disk", lambda: shutil.disk_usage(state_dir), None)
        return HostUsage(
            cores=self._known("cores", available_cores, 1),
            cpu_percent=self._rates.machine,
            load_1m=self._known("load", lambda: os.getloadavg()[0], None),
            memory_total_bytes=total_bytes,
            memory_available_bytes=available_bytes,
            cgroup_memory_limit_bytes=None if cgroup is None else cgroup.limit_bytes,
            cgroup_memory_used_bytes=None if cgroup is None else cgroup.used_bytes,
            disk_free_bytes=None if disk is None else disk.free,
            disk_total_bytes=None if disk is None else disk.total,
        )

    def _children(self) -> list[Child]:
        nobody: list[Child] = []
        return self._known("children", self._descendants.find, nobody)

    def _count(self, children: list[Child]) -> _Counters:
        return _Counters(
            at_s=time.monotonic(),
            own_s=time.process_time(),
            machine=self._known("machine", self._usage.machine_times, None),
            children_s={(child.pid, child.started): child.cpu_s for child in children},
        )

    def _rate(self, now: _Counters) -> None:
        before = self._counters
        elapsed_s = now.at_s - before.at_s
        if elapsed_s < RATES_S:
            return
        # What a child used that is not here any more cannot be known; one that is new used all of it since.
        each_s = {who: cpu_s - before.children_s.get(who, 0.0) for who, cpu_s in now.children_s.items()}
        self._rates = _Rates(
            own=_percent(now.own_s - before.own_s, elapsed_s),
            children=_percent(sum(each_s.values()), elapsed_s),
            machine=_machine_percent(before.machine, now.machine),
            of_each={who: _percent(cpu_s, elapsed_s) for who, cpu_s in each_s.items()},
        )
        self._counters = now

    def _known(self, what: str, figure: Callable[[], T], otherwise: T) -> T:
        try:
            return figure()
        except Exception:
            # What fails, fails every few seconds.
            if what not in self._failed:
                self._failed.add(what)
                log.warning("resources: %s failed, and is left out", what, exc_info=True)
            return otherwise

    def _forked(self) -> None:
        if self._pid != os.getpid():
            self._begin()


def _seconds(interval: float) -> float:
    least_s, most_s = INTERVAL_S
    try:
        if least_s <= interval <= most_s:
            return float(interval)
    except TypeError:
        pass
    raise BadRequestError(f"interval is {interval!r}", hint=f"give seconds, {least_s:g} to {most_s:g}")


def _percent(part_s: float, whole_s: float) -> float:
    return round(max(0.0, 100.0 * part_s / whole_s), 1) if whole_s > 0.0 else 0.0


def _machine_percent(before: MachineTimes | None, now: MachineTimes | None) -> float:
    if before is None or now is None:
        return 0.0
    return min(100.0, _percent(now.busy_s - before.busy_s, now.total_s - before.total_s))
