"""Who is beside the runtime in a run: watchers, submitters, reporting programs; each with a record of what it is told.

Belongs to the harness's event loop. Programs and one watcher are processes of their own, which may be killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rfm_runtime.testing.chaos.checker import read_lines
from rfm_runtime.testing.chaos.record import Record
from rfm_runtime.testing.chaos.submitter import Submitter
from rfm_runtime.testing.chaos.watchers import Character, Where, watch_by_client, watch_raw
from rfm_runtime.testing.runtime import Runtime

__all__ = ["Crowd", "until"]

PROGRAM_END_S = 120.0
STORY_END_S = 120.0
CANCEL_AGAIN_S = 1.0
LOOK_S = 0.1
TAIL_BYTES = 64 * 1024
"""Of the record of a watcher in another process: its newest event is there."""


async def until(condition: Callable[[], object], timeout_s: float) -> bool:
    """Whether it came true within that time."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() >= deadline_s:
            return False
        await asyncio.sleep(LOOK_S)
    return True


class Crowd:
    """All of them. port: of the proxy."""

    def __init__(self, runtime: Runtime, records: Path, port: int, seed: int) -> None:
        self._runtime = runtime
        self._records = records
        self._port = port
        self._rng = random.Random(seed)
        self._near = Where(runtime.folders.connection)
        self._far = Where(runtime.folders.connection, port)
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: dict[str, Record] = {}
        self._submitters: list[Submitter] = []
        self._submitting: list[asyncio.Task[None]] = []
        self._hurry = asyncio.Event()
        self._started = 0
        self._processes: dict[str, list[subprocess.Popen[bytes]]] = {"reporter": [], "watcher": []}
        self._watcher_record: Path | None = None

    # --- beginning --------------------------------------------------------------------------

    def start(self) -> None:
        """All of them, at once."""
        for name, where, character in (
            ("near", self._near, Character(max_hz=20.0)),
            ("far", self._far, Character(encoding="msgpack")),
            ("dropping", self._far, Character(drops_s=(1.0, 6.0))),
            ("slow", self._near, Character(slow_s=0.2, max_hz=20.0)),
        ):
            record = self._record(f"watcher-{name}")
            self._watching[name] = record
            self._go(watch_raw(where, record, character, int(self._rng.random() * 2**31), self._hurry))
        for name, where, encoding in (("client-far", self._far, "msgpack"), ("client-near", self._near, "json")):
            record = self._record(f"watcher-{name}")
            self._watching[name] = record
            self._go(watch_by_client(where, record, encoding))
        for name, where in (("near", self._near), ("far", self._far)):
            seed = int(self._rng.random() * 2**31)
            submitter = Submitter(where, self._record(f"submitter-{name}"), seed)
            self._submitters.append(submitter)
            self._submitting.append(asyncio.create_task(submitter.run()))
        self.replace()

    def replace(self) -> None:
        """Start what is to be there and was killed: two programs, one near and one by WebSocket, and a watcher."""
        for kind in ("reporter", "watcher"):
            self._processes[kind] = [one for one in self._processes[kind] if one.poll() is None]
        while len(self._processes["reporter"]) < 2:
            self._processes["reporter"].append(self._reporter(far=self._started % 2 == 1))
        if not self._processes["watcher"]:
            self._processes["watcher"].append(self._watcher())

    def _record(self, name: str) -> Record:
        return Record(self._records / f"{name}.jsonl")

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _reporter(self, *, far: bool) -> subprocess.Popen[bytes]:
        self._started += 1
        record = self._records / f"reporter-{self._started}.jsonl"
        env = {"RFM_RUNTIME_DIR": str(self._runtime.folders.runtime)}
        if far:
            nowhere = str(self._records / "elsewhere")
            env = {
                "RFM_RUNTIME_DIR": nowhere,
                "RFM_STATE_DIR": nowhere,
                "RFM_URL": f"ws://127.0.0.1:{self._port}",
                "RFM_TOKEN_FILE": str(self._runtime.folders.token),
            }
        seed = str(int(self._rng.random() * 2**31))
        return self._program("reporter", env, "--record", str(record), "--seed", seed)

    def _watcher(self) -> subprocess.Popen[bytes]:
        self._started += 1
        self._watcher_record = self._records / f"watcher-process-{self._started}.jsonl"
        connection = str(self._runtime.folders.connection)
        return self._program("watchers", {}, "--connection", connection, "--record", str(self._watcher_record))

    def _program(self, module: str, env: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
        log = (self._records / f"{module}.stderr").open("ab")
        with log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    f"rfm_runtime.testing.chaos.{module}",
                    "--parent",
                    str(os.getpid()),
                    *arguments,
                ],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is the harness's business.
                process_group=0,
            )

    # --- meanwhile --------------------------------------------------------------------------

    def pids(self, kind: str) -> list[int]:
        """Of the programs ("reporter") or watchers ("watcher") that live."""
        return [one.pid for one in self._processes[kind] if one.poll() is None]

    @property
    def accepted(self) -> int:
        """Submissions that were answered."""
        return sum(submitter.accepted for submitter in self._submitters)

    @property
    def events(self) -> int:
        """That the watcher nearby was told."""
        return self._watching["near"].events

    def silence_s(self) -> float:
        """The longest one of the watcher nearby since this was asked last."""
        return self._watching["near"].silence_s()

    def faulted(self) -> list[str]:
        """What ended that never should."""
        return [repr(task.exception()) for task in self._tasks if task.done() and not task.cancelled()]

    # --- the end ----------------------------------------------------------------------------

    async def finish(self) -> None:
        """Nothing new; wait until what was begun has ended, as far as its owners know."""
        self._hurry.set()
        for submitter in self._submitters:
            submitter.stop()
        programs = self._processes["reporter"]
        for program in programs:
            program.terminate()
        await asyncio.wait(self._submitting, timeout=STORY_END_S)
        await until(lambda: all(one.poll() is not None for one in programs), PROGRAM_END_S)

    async def converged(self, head: int, timeout_s: float) -> bool:
        """Whether every watcher has heard of the newest event within that time."""
        return await until(lambda: min(self._positions()) >= head, timeout_s)

    def _positions(self) -> list[int]:
        positions = [record.position for record in self._watching.values()]
        if self._watcher_record is not None and self._watcher_record.exists():
            lines = read_lines(self._watcher_record, TAIL_BYTES)
            positions.append(max((line["seq"] for line in lines if line["k"] in ("event", "live")), default=0))
        return positions

    async def close(self, *, orderly: bool) -> None:
        """End all of them. orderly: records say that nothing more was to come."""
        everything = (*self._tasks, *self._submitting)
        left = set(everything)
        while left:
            for task in left:
                task.cancel()
            # Again: what a library under a client was doing just then may have taken the word for its own.
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        await asyncio.gather(*everything, return_exceptions=True)
        for record in self._watching.values():
            if orderly:
                record.write("end")
            record.close()
        await asyncio.to_thread(self._end_processes, orderly)

    def _end_processes(self, orderly: bool) -> None:
        for one in (*self._processes["watcher"], *self._processes["reporter"]):
            if orderly:
                one.terminate()
                try:
                    one.wait(10)
                except subprocess.TimeoutExpired:
                    one.kill()
            else:
                one.kill()
            one.wait()
