"""The pool of worker processes: it fills again whatever happens to it, and reads when it is told to."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from rfm_kernels.cache_key import cache_key
from rfm_runtime.config import cache_home
from rfm_runtime.core.tiles.messages import Task
from rfm_runtime.engine import pipe
from rfm_runtime.engine.pool import Pool
from rfm_runtime.engine.settings import WorkerSettings

pytestmark = pytest.mark.integration

NOTHING = Task(
    operation_id="op", generation=1, phase="tile", index=0, attempt=1, x=0, y=0, width=1, height=1, fresh=False
)
"""Of an operation that the worker never heard of: it answers that at once."""


class Scene:
    """A pool, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.starts: list[tuple[int, int]] = []
        self.said: list[tuple[int, pipe.FromWorker]] = []
        self.deaths: list[tuple[int, str, bool]] = []
        self.pool = Pool(
            asyncio.get_running_loop(),
            2,
            self.settings,
            logs_folder=self.logs,
            on_message=lambda number, message: self.said.append((number, message)),
            on_read=lambda: None,
            on_death=lambda number, cause, wanted: self.deaths.append((number, cause, wanted)),
        )

    def settings(self, number: int, start: int) -> WorkerSettings:
        self.starts.append((number, start))
        return WorkerSettings(
            number=number,
            source=start,
            control=f"ipc://{self.folder}/control",
            ingest=f"ipc://{self.folder}/ingest",
            logs=str(self.logs),
            log_level="info",
        )

    def answers(self) -> int:
        return sum(isinstance(message, pipe.Failed) for _, message in self.said)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline_s = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < deadline_s, what
            await asyncio.sleep(0.005)


@asynccontextmanager
async def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache_home() / "kernels" / cache_key()))
    scene = Scene(folder)
    scene.logs.mkdir()
    scene.pool.start()
    try:
        yield scene
    finally:
        await scene.pool.close()


@pytest.mark.scenario("F1")
def test_a_worker_that_cannot_come_up_is_tried_again_later_and_later_and_comes_up_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with started(tmp_path, monkeypatch) as scene:
            await scene.until(lambda: scene.pool.ready == 2, "both are there")
            # Where its log is to be there is a file: it ends before it says a word.
            scene.logs.rename(tmp_path / "away")
            scene.logs.write_text("in the way")
            for number in (1, 2):
                scene.pool.kill(number)
            await scene.until(lambda: len(scene.deaths) >= 6, "it dies several times")
            # At a tenth of a second each it would be dozens.
            await asyncio.sleep(1.5)
            assert len(scene.starts) < 16
            assert {number for number, _ in scene.starts} == {1, 2}
            assert len({start for _, start in scene.starts}) == len(scene.starts)
            scene.logs.unlink()
            (tmp_path / "away").rename(scene.logs)
            await scene.until(lambda: scene.pool.ready == 2, "both are there again")

    asyncio.run(story())


@pytest.mark.scenario("F1", "F12")
def test_without_a_descriptor_left_it_waits_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with started(tmp_path, monkeypatch) as scene:
            await scene.until(lambda: scene.pool.ready == 2, "both are there")
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                scene.pool.kill(1)
                await scene.until(lambda: len(scene.deaths) == 1, "its death is told")
                await asyncio.sleep(0.5)
                assert scene.pool.ready == 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await scene.until(lambda: scene.pool.ready == 2, "both are there again")

    asyncio.run(story())


@pytest.mark.scenario("F1")
def test_a_forkserver_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with started(tmp_path, monkeypatch) as scene:
            await scene.until(lambda: scene.pool.ready == 2, "both are there")
            psutil.Process(worker_pid(scene)).parent().kill()  # type: ignore[union-attr]
            await scene.until(lambda: len(scene.deaths) >= 2, "its children end with it")
            await scene.until(lambda: scene.pool.ready == 2, "both are there again")

    asyncio.run(story())


def worker_pid(scene: Scene) -> int:
    return next(message.pid for _, message in scene.said if isinstance(message, pipe.Ready))


@pytest.mark.scenario("F1")
def test_while_it_rests_messages_wait_and_deaths_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with started(tmp_path, monkeypatch) as scene:
            await scene.until(lambda: scene.pool.ready == 2, "both are there")
            scene.pool.send(1, pipe.Run((NOTHING, NOTHING)))
            await scene.until(lambda: scene.answers() == 2, "it answers each of a batch")
            scene.pool.rest(30.0)
            scene.pool.rest(0.0)
            scene.pool.send(1, pipe.Run((NOTHING,)))
            scene.pool.send(2, pipe.Run((NOTHING,)))
            await asyncio.sleep(0.3)
            assert scene.answers() == 2
            scene.pool.kill(2)
            await scene.until(lambda: scene.deaths, "the death is told")
            # What it had said before is told first.
            assert scene.answers() == 3
            scene.pool.attend()
            await scene.until(lambda: scene.answers() == 4, "the other one is heard")
            scene.pool.rest(0.1)
            scene.pool.send(1, pipe.Run((NOTHING,)))
            await scene.until(lambda: scene.answers() == 5, "a rest ends by itself")

    asyncio.run(story())
