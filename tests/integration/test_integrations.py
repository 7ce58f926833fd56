"""What other libraries run for a program: counted when it is done, and kept from beginning once somebody says stop."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.integration.test_reporting import Script, ended, environment, named, no_script_is_left, run

__all__ = ["no_script_is_left"]

pytestmark = pytest.mark.integration

# Tasks of every kind: that they began is a file, and the first two do not end before the gate is opened.
TASKS = """
import fcntl
from pathlib import Path

FOLDER = Path(__file__).parent
GATE = (FOLDER / "gate").open("w")

def square(number):
    return number * number

def broken(number):
    if number == 3: raise ValueError("three")
    return number

def hold(number):
    (FOLDER / f"begun-{number}").touch()
    if number < 2:
        with (FOLDER / "gate").open() as gate: fcntl.flock(gate, fcntl.LOCK_SH)
    return number

def close_gate():
    fcntl.flock(GATE, fcntl.LOCK_EX)

def open_gate():
    # Once the program has heard that it is to stop: what begins then should not have.
    fcntl.flock(GATE, fcntl.LOCK_UN)
"""


class Workshop:
    """A folder with the tasks, as a module that every process of a script can import."""

    def __init__(self, folder: Path, running: Runtime) -> None:
        self.folder = folder
        env = environment(running)
        self.env = {**env, "PYTHONPATH": f"{folder}{os.pathsep}{env['PYTHONPATH']}"}
        (folder / "tasks.py").write_text(TASKS)

    def script(self, code: str) -> Script:
        """A program that has closed the gate."""
        return Script(f"from tasks import *\nclose_gate()\n{textwrap.dedent(code)}", self.env)

    def begun(self) -> set[int]:
        """The tasks that hold, or held."""
        return {int(path.name.removeprefix("begun-")) for path in self.folder.glob("begun-*")}


@pytest.fixture
def workshop(running: Runtime, tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, running)


EXECUTORS = {
    "threads": "from concurrent.futures import ThreadPoolExecutor\nmake = ThreadPoolExecutor",
    "processes": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def make(workers): return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
""",
}

FUTURES = """
from rfm_runtime import OperationCanceled
from rfm_runtime.integrations.futures import as_completed, executor_map
"""


@pytest.mark.scenario("J19")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_futures_are_counted(workshop: Workshop, client: Client, executor: str) -> None:
    script = workshop.script(
        f"""
{EXECUTORS[executor]}
{FUTURES}
with make(2) as executor:
    futures = [executor.submit(square, number) for number in range(20)]
    print(sum(future.result() for future in as_completed([*futures, futures[0]], "completed {executor}")))
    print(list(executor_map(executor, square, range(5), desc="mapped {executor}")))
    futures = [executor.submit(broken, number) for number in range(5)]
    print(sum(future.exception() is not None for future in as_completed(futures, "one failed {executor}")))
"""
    )
    assert script.end() == (0, "2470\n[0, 1, 4, 9, 16]\n1\n", "")
    for name, count in (("completed", 20), ("mapped", 5), ("one failed", 5)):
        operation = ended(client, f"{name} {executor}")
        assert (operation.kind, operation.state) == ("futures", "completed")
        assert operation.latest is not None
        assert (operation.latest.done, operation.latest.total, operation.latest.unit) == (count, count, "tasks")
    assert operation.latest.details == {"failed": 1, "error": "ValueError: three"}


@pytest.mark.scenario("J19")
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("form", ["as_completed", "executor_map"])
def test_a_cancel_keeps_futures_from_beginning(workshop: Workshop, client: Client, executor: str, form: str) -> None:
    name = f"{form} {executor}"
    loops = {
        "as_completed": f"as_completed([executor.submit(hold, number) for number in range(20)], {name!r})",
        "executor_map": f"executor_map(executor, hold, range(20), desc={name!r})",
    }
    script = workshop.script(
        f"""
{EXECUTORS[executor]}
{FUTURES}
with make(2) as executor:
    try:
        for _ in {loops[form]}: pass
    except OperationCanceled: print("canceled")
    input()
    open_gate()
"""
    )
    operation = named(client, name)
    eventually(lambda: workshop.begun() >= {0, 1}, what="tasks that hold")
    client.cancel(operation.operation_id)
    assert script.line() == "canceled"
    # Two of its tasks still run.
    assert client.operation(operation.operation_id).state == "cancelling"
    script.go_on()
    assert client.wait(operation.operation_id, 20) == "canceled"
    assert script.end()[0] == 0
    # A pool of two processes has up to three more tasks on their way to them.
    assert workshop.begun() <= set(range(5 if executor == "processes" else 2))
    latest = client.operation(operation.operation_id).latest
    assert latest is not None
    assert latest.details == {"canceled": 20 - len(workshop.begun())}
    assert latest.done == len(workshop.begun())


SHUT_DOWN = """
executor_map(executor, hold, range(9), desc="shut down")
executor.shutdown(wait=False, cancel_futures=True)
open_gate()
"""


@pytest.mark.scenario("J19")
@pytest.mark.parametrize(
    ("name", "code", "state", "said"),
    [
        ("unseen", "as_completed(futures, 'unseen')", "completed", None),
        ("unseen failure", "executor_map(executor, broken, range(5), desc='unseen failure')", "failed", "three"),
        ("left", "for _ in as_completed(futures, 'left'): break", "canceled", None),
        ("dying", "for f in as_completed([executor.submit(broken, 3)], 'dying'): f.result()", "failed", "three"),
        ("raising", "list(executor_map(executor, broken, range(5), desc='raising'))", "failed", "three"),
        ("late", "list(as_completed([Future()], 'late', timeout=0.01))", "failed", "1 of 1 futures are not done"),
        ("empty", "print(list(as_completed([], 'empty')))", "completed", None),
        ("shut down", SHUT_DOWN, "canceled", None),
    ],
)
def test_futures_end_as_they_do(
    workshop: Workshop, client: Client, name: str, code: str, state: str, said: str | None
) -> None:
    script = workshop.script(
        f"""
{EXECUTORS["threads"]}
from concurrent.futures import Future
{FUTURES}
with make(2) as executor:
    futures = [executor.submit(square, number) for number in range(5)]
    for future in futures: future.result()
{textwrap.indent(code, "    ")}
"""
    )
    script.end()
    operation = ended(client, name)
    assert operation.state == state
    if said is not None:
        assert operation.error is not None
        assert said in operation.error.message


JOBLIB = """
import threading
from rfm_runtime import OperationCanceled
from rfm_runtime.integrations.joblib import Parallel, delayed
"""


@pytest.mark.scenario("J19")
@pytest.mark.parametrize(("backend", "jobs"), [("loky", 2), ("threading", 2), ("multiprocessing", 2), ("threading", 1)])
def test_tasks_of_joblib_are_counted(workshop: Workshop, client: Client, backend: str, jobs: int) -> None:
    name = f"{backend} {jobs}"
    # The pool of multiprocessing gives out nothing before it has all.
    form = "list" if backend == "multiprocessing" else "generator_unordered"
    script = workshop.script(
        f"""
{JOBLIB}
with Parallel(n_jobs={jobs}, backend={backend!r}, desc={name!r}) as parallel:
    print(sum(parallel(delayed(square)(number) for number in range(50))))
asked = Parallel(n_jobs={jobs}, backend={backend!r}, desc={name!r} + " asked", return_as={form!r})
print(sum(asked([delayed(square)(number) for number in range(10)])))
try:
    Parallel(n_jobs={jobs}, backend={backend!r}, desc={name!r} + " failed")(delayed(broken)(n) for n in range(5))
except ValueError as error: print(error)
"""
    )
    status, out, _ = script.end(60)
    assert (status, out) == (0, "40425\n285\nthree\n")
    for of, count in (("", 50), (" asked", 10)):
        operation = ended(client, name + of)
        assert (operation.kind, operation.state) == ("joblib", "completed")
        assert operation.latest is not None
        assert (operation.latest.done, operation.latest.total) == (count, count)
    assert ended(client, name + " failed").state == "failed"


@pytest.mark.scenario("J19")
@pytest.mark.parametrize(("backend", "jobs"), [("loky", 2), ("threading", 2), ("multiprocessing", 2), ("threading", 1)])
@pytest.mark.parametrize("dispatched", ["all", "2*n_jobs"])
def test_a_cancel_keeps_tasks_of_joblib_from_beginning(
    workshop: Workshop, client: Client, backend: str, jobs: int, dispatched: str
) -> None:
    name = f"stopped {backend} {jobs} {dispatched}"
    script = workshop.script(
        f"""
{JOBLIB}
parallel = Parallel(n_jobs={jobs}, backend={backend!r}, pre_dispatch={dispatched!r}, desc={name!r}, batch_size=1)
def items():
    parallel.operation.on_cancel(open_gate)
    for number in range(20): yield delayed(hold)(number)
try: parallel(items())
except OperationCanceled: print("canceled")
"""
    )
    operation = named(client, name)
    eventually(lambda: workshop.begun() == set(range(jobs)), what="tasks that hold")
    client.cancel(operation.operation_id)
    assert client.wait(operation.operation_id, 20) == "canceled"
    status, out, _ = script.end()
    assert (status, out) == (0, "canceled\n")
    assert workshop.begun() == set(range(jobs))


DASK = """
import dask
from rfm_runtime import OperationCanceled
from rfm_runtime.integrations.dask import ProgressCallback
"""


@pytest.mark.scenario("J19")
@pytest.mark.parametrize("scheduler", ["threads", "processes", "synchronous"])
def test_tasks_of_dask_are_counted(workshop: Workshop, client: Client, scheduler: str) -> None:
    script = workshop.script(
        f"""
{DASK}
squares = [dask.delayed(square)(number, dask_key_name=f"square-{{number}}") for number in range(20)]
with ProgressCallback("dask {scheduler}"):
    print(dask.delayed(sum)(squares).compute(scheduler={scheduler!r}, num_workers=2, optimize_graph=False))
try:
    with ProgressCallback("dask {scheduler} failed"):
        dask.compute([dask.delayed(broken)(number) for number in range(5)], scheduler={scheduler!r}, num_workers=2)
except ValueError as error: print(error)
"""
    )
    status, out, err = script.end(60)
    assert status == 0, err
    # From another process it may come with its traceback.
    assert out.startswith("2470\nthree\n")
    operation = ended(client, f"dask {scheduler}")
    assert (operation.kind, operation.state) == ("dask", "completed")
    assert operation.latest is not None
    assert operation.latest.done == operation.latest.total
    assert operation.latest.done >= 21
    failed = ended(client, f"dask {scheduler} failed")
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error.message.startswith("ValueError: three")


@pytest.mark.scenario("J19")
@pytest.mark.parametrize(("scheduler", "workers"), [("threads", 2), ("processes", 2), ("synchronous", 1)])
def test_a_cancel_keeps_tasks_of_dask_from_beginning(
    workshop: Workshop, client: Client, scheduler: str, workers: int
) -> None:
    name = f"dask stopped {scheduler}"
    script = workshop.script(
        f"""
{DASK}
class Opened(ProgressCallback):
    def _pretask(self, *arguments):
        if self.operation is not None and not self.told:
            self.told = True
            self.operation.on_cancel(open_gate)
        super()._pretask(*arguments)
    told = False

# In this order: each waits for the one two before it.
tasks = []
for number in range(20):
    tasks.append(dask.delayed(lambda number, _: hold(number))(number, tasks[-2] if number > 1 else None))
try:
    with Opened({name!r}):
        dask.compute(*tasks, scheduler={scheduler!r}, num_workers={workers}, chunksize=1, optimize_graph=False)
except OperationCanceled: print("canceled")
"""
    )
    operation = named(client, name)
    eventually(lambda: len(workshop.begun()) == workers, what="tasks that hold")
    client.cancel(operation.operation_id)
    assert client.wait(operation.operation_id, 20) == "canceled"
    status, out, err = script.end()
    assert (status, out) == (0, "canceled\n"), err
    assert len(workshop.begun()) == workers


@pytest.mark.parametrize("library", ["joblib", "dask"])
def test_a_library_that_is_missing_is_named_with_what_installs_it(running: Runtime, library: str) -> None:
    code = f"import sys\nsys.modules[{library!r}] = None\nimport rfm_runtime.integrations.futures"
    assert run(code, running) == ""
    status, _, err = Script(f"{code}\nimport rfm_runtime.integrations.{library}", environment(running)).end()
    assert status == 1
    assert re.search(rf"SetupError: rfm_runtime.integrations.{library} needs {library}, which is not installed", err)
