"""Cells of a real kernel: what a page shows of their loops and keeps, and how they are stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from rfm_runtime import Client
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.programs import ended, environment, named

pytestmark = pytest.mark.integration

IMPORTS = "import time\nfrom rfm_runtime import progress, track\n"


class Cell:
    """What came of one: texts by display, in their order of appearance; streams; the name of its error."""

    def __init__(self) -> None:
        self.displays: dict[str, list[str]] = {}
        self.streams: dict[str, str] = {"stdout": "", "stderr": ""}
        self.error: str | None = None

    def take(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "display_data" | "update_display_data":
                assert list(content["data"]) == ["text/plain"]
                display_id = content["transient"]["display_id"]
                # The first is a new one, and the others are not.
                assert (kind == "display_data") == (display_id not in self.displays)
                self.displays.setdefault(display_id, []).append(content["data"]["text/plain"])
            case "stream":
                self.streams[content["name"]] += content["text"]
            case "error":
                self.error = content["ename"]


class Kernel:
    """A kernel and its page."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.manager = KernelManager(connection_file=str(folder / "kernel.json"))
        self.manager.start_kernel(env={**env, "PATH": os.environ["PATH"], "IPYTHONDIR": str(folder / "ipython")})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=30)

    def run(self, code: str, meanwhile: Callable[[], object] = lambda: None) -> Cell:
        """Until the kernel says that nothing is to come, as one that saves the page waits."""
        asked = self.client.execute(IMPORTS + code)
        meanwhile()
        cell = Cell()
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") == asked:
                cell.take(message["msg_type"], message["content"])
                if message["content"].get("execution_state") == "idle":
                    return cell

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Kernel]:
    env = {
        "RFM_RUNTIME_DIR": str(tmp_path / "r"),
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    kernel = Kernel(tmp_path, env)
    yield kernel
    kernel.close()


@pytest.fixture(scope="module")
def beside(running: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("kernel"), environment(running))
    yield kernel
    kernel.close()


@pytest.mark.scenario("B11")
def test_a_page_without_a_runtime_keeps_one_text_a_cell(alone: Kernel) -> None:
    # Until somebody has looked for a runtime.
    warned = alone.run("with progress(1) as bar: progress(1).close(); bar.flush()").streams["stderr"]
    assert warned.count("\n") == 1
    assert "no runtime is running" in warned
    first = alone.run("for i in track(range(15), 'seen'): time.sleep(0.1)\nprint('after')")
    assert first.streams == {"stdout": "after\n", "stderr": ""}
    (texts,) = first.displays.values()
    assert len(texts) > 1
    assert texts[-1].startswith("seen ━")
    assert "15/15 it" in texts[-1]
    second = alone.run(
        "for i in track(range(2), 'outer'):\n"
        "    for j in track(range(15), 'inner', leave=False): time.sleep(0.1)\n"
        "for i in track(range(20), 'left'):\n"
        "    time.sleep(0.1)\n"
        "    if i == 15: raise ValueError('fifteen')"
    )
    assert (second.error, second.streams["stderr"]) == ("ValueError", "")
    ((*before, last),) = second.displays.values()
    assert any("inner" in text for text in before)
    outer, left = last.splitlines()
    assert "2/2 it" in outer
    assert left.startswith("left ━")
    assert "failed  15/20 it" in left
    assert not alone.run("1 + 1").displays


@pytest.mark.scenario("B11")
def test_what_a_forked_child_does_is_shown_below_the_cell(alone: Kernel) -> None:
    alone.run("with progress(1) as bar: progress(1).close(); bar.flush()")
    cell = alone.run(
        "import multiprocessing\n"
        "def work():\n"
        "    for i in track(range(15), 'child'): time.sleep(0.1)\n"
        "child = multiprocessing.get_context('fork').Process(target=work)\n"
        "child.start(); child.join(); print(child.exitcode)"
    )
    assert cell.streams["stdout"] == "0\n"
    (texts,) = cell.displays.values()
    assert all(text.startswith("child ") for text in texts)


@pytest.mark.scenario("B3")
@pytest.mark.parametrize("loop", ["for i in track(range(10_000), {!r}): time.sleep(0.005)", "tqdm"])
def test_a_cell_is_cancelled_from_elsewhere(beside: Kernel, client: Client, loop: str) -> None:
    if loop == "tqdm":
        loop = "from rfm_runtime.tqdm import tqdm\nfor i in tqdm(range(10_000), {!r}): time.sleep(0.005)"
    name = f"cancelled {len(loop)}"
    cell = beside.run(loop.format(name), lambda: client.cancel(named(client, name).operation_id))
    assert cell.error == "OperationCanceled"
    assert not cell.displays
    assert ended(client, name).state == "canceled"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("tracked", "for i in track(range(10_000), 'tracked'): time.sleep(0.005)"),
        (
            "counted",
            "with progress(10_000, 'counted') as bar:\n    for i in range(10_000): bar.update(); time.sleep(0.005)",
        ),
    ],
)
def test_a_cell_that_is_interrupted_is_cancelled(beside: Kernel, client: Client, name: str, code: str) -> None:
    def interrupt() -> None:
        named(client, name)
        beside.manager.interrupt_kernel()

    assert beside.run(code, interrupt).error == "KeyboardInterrupt"
    assert ended(client, name).state == "canceled"


def test_a_cell_that_dies_has_failed(beside: Kernel, client: Client) -> None:
    code = "for i in track(range(100), 'dying'):\n    time.sleep(0.01)\n    if i == 50: raise ValueError('fifty')"
    assert beside.run(code).error == "ValueError"
    operation = ended(client, "dying")
    assert operation.state == "failed"
    assert operation.error is not None
    assert operation.error.message == "ValueError: fifty"
    assert beside.run("for i in track(range(100), 'left'):\n    if i == 50: break").error is None
    assert ended(client, "left").state == "canceled"


@pytest.mark.scenario("B12")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("stands", "for i in track(range(300), 'stands'): time.sleep(0.005)"),
        (
            "awaits",
            """
import asyncio
async def items():
    for i in range(300): yield i
async for i in track(items(), 'awaits'): await asyncio.sleep(0.005)
""",
        ),
    ],
)
def test_a_cell_stands_still_while_it_is_paused(beside: Kernel, client: Client, name: str, code: str) -> None:
    def pause() -> None:
        operation = named(client, name)
        client.pause(operation.operation_id)
        eventually(lambda: client.operation(operation.operation_id).state == "paused", what="it stands")
        client.resume(operation.operation_id)

    assert beside.run(code, pause).error is None
    assert ended(client, name).state == "completed"
