"""Programs that report their own operations: real scripts beside a real runtime, killed, forked, cancelled, alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.errors import UnsupportedError
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.programs import Script, ended, environment, named, run
from tests.whole import Recorder

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


@pytest.fixture
def recorder(running: Runtime) -> Iterator[Recorder]:
    recorder = Recorder(running)
    eventually(lambda: any(type(notice).__name__ == "Live" for notice in recorder.notices), what="a live watcher")
    yield recorder
    recorder.close()


@pytest.mark.scenario("A1")
def test_the_basic_example_of_the_reference(running: Runtime, client: Client, recorder: Recorder) -> None:
    code = """
    from rfm_runtime import ProgressReporter

    reporter = ProgressReporter("fractal_render", "Mandelbrot Set Rendering")
    reporter.report_progress(25, "Calculating pixels", details={"pixels": 1000000})
    import time; time.sleep(0.5)
    reporter.report_completed(details={"render_time_ms": 1500})
    reporter.report_failed("Out of memory error")
    if reporter.should_cancel():
        reporter.report_canceled()
    reporter.report_failed("again")
    """
    status, out, err = Script(code, environment(running)).end()
    assert (status, out) == (0, "")
    assert err.count("is completed already") == 1
    operation = ended(client, "Mandelbrot Set Rendering")
    assert (operation.kind, operation.state) == ("fractal_render", "completed")
    assert operation.latest is not None
    assert operation.latest.details == {"render_time_ms": 1500}
    recorder.await_end(operation.operation_id)
    recorder.check_story(operation.operation_id)
    assert recorder.types(operation.operation_id) == ["accepted", "started", "completed"]
    first = recorder.progress(operation.operation_id)[-1]
    assert (first.progress, first.step, first.details) == (25.0, "Calculating pixels", {"pixels": 1000000})


@pytest.mark.scenario("B6")
def test_a_hundred_percent_and_completed_are_one_completion(
    running: Runtime, client: Client, recorder: Recorder
) -> None:
    run(
        """
        import time
        from rfm_runtime import ProgressReporter
        reporter = ProgressReporter("test", "full")
        reporter.report_progress(100)
        time.sleep(0.4)
        reporter.report_completed()
        """,
        running,
    )
    operation = ended(client, "full")
    recorder.await_end(operation.operation_id)
    recorder.check_story(operation.operation_id)
    assert recorder.progress(operation.operation_id)[-1].progress == 99.0
    assert operation.latest is not None
    assert operation.latest.progress == 100.0


@pytest.mark.scenario("B10")
@pytest.mark.parametrize(
    ("name", "body", "state", "said"),
    [
        ("well", "pass", "completed", None),
        ("ill", "raise ValueError('no such file')", "failed", "ValueError: no such file"),
        ("stopped", "raise OperationCanceled('enough')", "canceled", None),
    ],
)
@pytest.mark.parametrize("form", ["context", "decorator", "coroutine", "counter"])
def test_blocks_and_functions_report_how_they_end(
    running: Runtime, client: Client, form: str, name: str, body: str, state: str, said: str | None
) -> None:
    title = f"{form} {name}"
    decorated = f"@operation('test', {title!r})"
    work = f"def work():\n    current_operation().report_progress(5)\n    {body}"
    forms = {
        "context": f"with ProgressReporter('test', {title!r}):\n    {body}",
        "counter": f"with progress(total=3, desc={title!r}):\n    {body}",
        "decorator": f"{decorated}\n{work}\nwork()",
        "coroutine": f"{decorated}\nasync {work}\nasyncio.run(work())",
    }
    names = "OperationCanceled, ProgressReporter, current_operation, operation, progress"
    code = f"import asyncio\nfrom rfm_runtime import {names}\n{forms[form]}"
    script = subprocess.run(
        [sys.executable, "-c", code], env=environment(running), capture_output=True, text=True, check=False, timeout=30
    )
    assert (script.returncode == 0) == (name == "well"), script.stderr
    operation = ended(client, title)
    assert operation.state == state
    if state == "failed":
        assert operation.error is not None
        assert operation.error.message == said


@pytest.mark.scenario("B7")
def test_threads_and_coroutines_report_on_one_operation(running: Runtime, client: Client) -> None:
    run(
        """
        import asyncio, threading, time
        from rfm_runtime import progress
        with progress(total=400, desc="threads") as bar:
            def work():
                for _ in range(100):
                    bar.update()
                    time.sleep(0.003)
            async def coroutine():
                for _ in range(100):
                    bar.update()
                    await asyncio.sleep(0.003)
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads: thread.start()
            asyncio.run(coroutine())
            for thread in threads: thread.join()
            assert bar.n == 400
        """,
        running,
    )
    operation = ended(client, "threads")
    assert operation.state == "completed"
    assert operation.latest is not None
    assert operation.latest.done == 400


@pytest.mark.scenario("B7")
@pytest.mark.parametrize("method", ["fork", "spawn", "os.fork"])
def test_children_add_to_the_operation_of_their_parent(running: Runtime, client: Client, method: str) -> None:
    name = f"children by {method}"
    folder = running.folders.state / f"script-{method}"
    folder.mkdir()
    (folder / "script.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os, time
            from rfm_runtime import progress

            def work(bar, steps):
                for _ in range(steps):
                    bar.update()
                    time.sleep(0.002)

            def main():
                with progress(total=100, desc={name!r}) as bar:
                    bar.update(10)
                    if {method!r} == "os.fork":
                        pids = []
                        for _ in range(3):
                            pid = os.fork()
                            if pid == 0:
                                work(bar, 30)
                                os._exit(0)
                            pids.append(pid)
                        for pid in pids: assert os.waitpid(pid, 0)[1] == 0
                    else:
                        context = multiprocessing.get_context({method!r})
                        children = [context.Process(target=work, args=(bar, 30)) for _ in range(3)]
                        for child in children: child.start()
                        for child in children: child.join(); assert child.exitcode == 0
                    time.sleep(0.4)
                    print(bar.value)

            if __name__ == "__main__":
                main()
            """
        )
    )
    script = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment(running),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (script.returncode, script.stderr) == (0, "")
    assert script.stdout == "100.0\n"
    operation = ended(client, name)
    assert operation.state == "completed"
    assert operation.latest is not None
    assert operation.latest.done == 100


@pytest.mark.scenario("B7")
def test_a_forked_child_has_operations_of_its_own_and_a_subprocess_too(running: Runtime, client: Client) -> None:
    run(
        """
        import os, subprocess, sys
        from rfm_runtime import ProgressReporter
        with ProgressReporter("test", "parent") as parent:
            pid = os.fork()
            if pid == 0:
                with ProgressReporter("test", "forked child") as child:
                    child.report_progress(50)
                assert child.flush()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            code = "from rfm_runtime import track\\nfor _ in track(range(3), 'subprocess'): pass"
            subprocess.run([sys.executable, "-c", code], check=True)
        """,
        running,
    )
    for name in ("parent", "forked child", "subprocess"):
        assert ended(client, name).state == "completed"


@pytest.mark.scenario("B8")
@pytest.mark.parametrize("how", ["killed", "exited"])
def test_a_program_that_ends_without_an_outcome_has_failed(running: Runtime, client: Client, how: str) -> None:
    script = Script(
        f"""
        import time
        from rfm_runtime import ProgressReporter
        reporter = ProgressReporter("test", {how!r})
        reporter.report_progress(40)
        print("ready")
        time.sleep(0.5 if {how!r} == "exited" else 60)
        """,
        environment(running),
    )
    assert script.line() == "ready"
    named(client, how)
    if how == "killed":
        script.process.kill()
    script.end()
    operation = ended(client, how)
    assert operation.state == "failed"
    assert operation.error is not None
    assert operation.error.code == "worker_lost"
    assert "without saying how it went" in operation.error.message


@pytest.mark.scenario("B3")
@pytest.mark.parametrize("form", ["track", "asynchronous", "reporter", "callback"])
def test_a_loop_is_cancelled_from_elsewhere(running: Runtime, client: Client, form: str) -> None:
    name = f"cancelled {form}"
    loops = {
        "track": f"for _ in track(range(10_000), {name!r}): time.sleep(0.005)",
        "asynchronous": f"""
async def numbers():
    for number in range(10_000):
        yield number
        await asyncio.sleep(0.005)
async def main():
    async for _ in track(numbers(), {name!r}): pass
asyncio.run(main())""",
        "reporter": f"""
with ProgressReporter("test", {name!r}) as reporter:
    for step in range(10_000):
        reporter.report_progress(step / 100)
        reporter.raise_if_canceled()
        time.sleep(0.005)""",
        "callback": f"""
stop = threading.Event()
reporter = ProgressReporter("test", {name!r})
reporter.on_cancel(stop.set)
assert stop.wait(20)
assert reporter.should_cancel()
reporter.report_canceled()
raise OperationCanceled("x")""",
    }
    code = (
        "import asyncio, threading, time\nfrom rfm_runtime import OperationCanceled, ProgressReporter, track\n"
        f"try:\n{textwrap.indent(loops[form], '    ')}\nexcept OperationCanceled: print('canceled')"
    )
    script = Script(code, environment(running))
    operation = named(client, name)
    began_s = time.monotonic()
    client.cancel(operation.operation_id)
    assert client.wait(operation.operation_id, 10) == "canceled"
    assert time.monotonic() - began_s < 2.0
    assert script.end() == (0, "canceled\n", "")


@pytest.mark.scenario("B14")
def test_a_program_that_never_asks_is_seen_to_be_asked(running: Runtime, client: Client) -> None:
    script = Script(
        """
        import time
        from rfm_runtime import ProgressReporter
        with ProgressReporter("test", "deaf") as reporter:
            input()
        """,
        environment(running),
    )
    operation = named(client, "deaf")
    with pytest.raises(UnsupportedError, match="cannot be killed"):
        client.cancel(operation.operation_id, mode="hard")
    assert client.cancel(operation.operation_id) == "cancelling"
    assert client.operation(operation.operation_id).state == "cancelling"
    lines = "\n".join(client.explain(operation.operation_id))
    assert re.search(r"asked to stop and has not answered", lines), lines
    script.process.kill()
    script.end()
    eventually(lambda: client.operation(operation.operation_id).state == "canceled", what="the end of the deaf")


@pytest.mark.scenario("B12")
def test_a_loop_stands_still_while_it_is_paused(running: Runtime, client: Client) -> None:
    script = Script(
        "import time\nfrom rfm_runtime import track\nfor _ in track(range(100), 'pausable'): time.sleep(0.01)",
        environment(running),
    )
    operation = named(client, "pausable")
    client.pause(operation.operation_id)
    eventually(lambda: client.operation(operation.operation_id).state == "paused", what="a pause")

    def stands_still() -> bool:
        at = client.operation(operation.operation_id).latest
        time.sleep(0.3)
        later = client.operation(operation.operation_id).latest
        return at is not None and later is not None and at.done == later.done < 100

    eventually(stands_still, what="a loop that stands still")
    assert script.process.poll() is None
    client.resume(operation.operation_id)
    assert client.wait(operation.operation_id, 20) == "completed"
    assert script.end() == (0, "", "")


@pytest.mark.scenario("B12")
def test_a_program_that_does_not_look_cannot_be_paused(running: Runtime, client: Client) -> None:
    script = Script(
        "from rfm_runtime import ProgressReporter\nwith ProgressReporter('test', 'restless'): input()",
        environment(running),
    )
    operation = named(client, "restless")
    with pytest.raises(UnsupportedError, match="does not look whether it is to pause"):
        client.pause(operation.operation_id)
    script.process.kill()
    script.end()


@pytest.mark.scenario("B13")
def test_a_programs_priority_is_for_people_and_disturbs_nothing(running: Runtime, client: Client) -> None:
    code = """
    from rfm_runtime import progress

    with progress(100, "ranked") as bar:
        bar.update(50)
        input()
        bar.update(50)
    """
    script = Script(code, environment(running))
    operation = named(client, "ranked")
    client.set_priority(operation.operation_id, 7)
    eventually(lambda: client.operation(operation.operation_id).priority == 7, what="it is shown")
    script.go_on()
    assert script.end()[0] == 0
    final = ended(client, "ranked")
    assert (final.state, final.priority) == ("completed", 7)


@pytest.mark.scenario("J10")
def test_parts_of_an_operation_add_up(running: Runtime, client: Client, recorder: Recorder) -> None:
    run(
        """
        import time
        from rfm_runtime import ProgressReporter
        with ProgressReporter("test", "parts") as reporter:
            with reporter.step("load", 0.2):
                time.sleep(0.3)
            with reporter.step("compute", 0.8) as compute:
                with compute.step("first half", 0.5) as half:
                    half.report_progress(50)
                    time.sleep(0.3)
                time.sleep(0.3)
        """,
        running,
    )
    operation = ended(client, "parts")
    seen = [(round(update.progress), update.step) for update in recorder.progress(operation.operation_id)]
    assert (40, "compute / first half") in seen
    assert (60, "compute") in seen


@pytest.mark.scenario("B11")
def test_without_a_runtime_a_program_runs_as_it_would(tmp_path: Path) -> None:
    folders = {"RFM_RUNTIME_DIR": str(tmp_path / "r"), "HOME": str(tmp_path)}
    env = {**folders, "PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Script(
        """
        import time
        from rfm_runtime import ProgressReporter, track
        began_s = time.perf_counter()
        for _ in track(range(300), "alone"): time.sleep(0.001)
        with ProgressReporter("test", "also alone") as reporter:
            for step in range(300):
                reporter.report_progress(step / 3)
                time.sleep(0.001)
        print(time.perf_counter() - began_s)
        """,
        env,
    )
    status, out, err = script.end()
    assert status == 0
    assert float(out) < 2.0
    assert err.count("\n") == 1
    assert "no runtime is running" in err


@pytest.mark.scenario("J13")
def test_a_runtime_that_comes_later_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "rt"
    env = {
        "RFM_RUNTIME_DIR": str(folder / "run"),
        "RFM_STATE_DIR": str(folder / "state"),
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    script = Script(
        """
        from rfm_runtime import ProgressReporter
        with ProgressReporter("test", "early") as early:
            early.report_progress(30)
            with ProgressReporter("test", "earlier") as earlier:
                pass
            print("begun")
            input()
        """,
        env,
    )
    assert script.line() == "begun"
    with runtime(folder, workers=1) as started, Client(url=started.url, token=started.info.token) as client:
        operation = named(client, "early")
        assert operation.state == "running"
        assert ended(client, "earlier").state == "completed"
        script.process.kill()
        script.end()


@pytest.mark.fault
def test_the_broker_is_killed_and_the_loop_goes_on(running: Runtime, client: Client, recorder: Recorder) -> None:
    script = Script(
        """
        import time
        from rfm_runtime import track
        began_s = time.perf_counter()
        for _ in track(range(300), "survivor"): time.sleep(0.01)
        print(time.perf_counter() - began_s)
        """,
        environment(running),
    )
    operation = named(client, "survivor")
    for _ in range(2):
        running.kill("broker")
        eventually(lambda: "broker" in running.processes(), what="a new broker")
        time.sleep(0.3)
    status, out, err = script.end()
    assert (status, err) == (0, "")
    assert float(out) < 4.5
    recorder.await_end(operation.operation_id)
    recorder.check_story(operation.operation_id)
    assert recorder.types(operation.operation_id) == ["accepted", "started", "completed"]


@pytest.mark.fault
def test_an_outcome_waits_for_the_broker(running: Runtime, client: Client) -> None:
    script = Script(
        """
        from rfm_runtime import ProgressReporter
        reporter = ProgressReporter("test", "waits")
        input()
        reporter.report_completed()
        print(reporter.flush(0.5))
        print(reporter.flush(20))
        """,
        environment(running),
    )
    operation = named(client, "waits")
    broker = running.processes()["broker"]
    broker.suspend()
    script.go_on()
    assert script.line() == "False"
    broker.resume()
    assert script.end() == (0, "True\n", "")
    assert client.operation(operation.operation_id).state == "completed"


@pytest.mark.scenario("J14")
def test_a_program_frozen_for_seconds_is_stale_and_not_dead(running: Runtime, client: Client) -> None:
    script = Script(
        "import time\nfrom rfm_runtime import track\nfor _ in track(range(150), 'frozen'): time.sleep(0.01)",
        environment(running),
    )
    operation = named(client, "frozen")
    os.kill(script.process.pid, signal.SIGSTOP)
    eventually(lambda: client.operation(operation.operation_id).stale, what="a stale operation")
    os.kill(script.process.pid, signal.SIGCONT)
    assert client.wait(operation.operation_id, 20) == "completed"
    assert script.end()[0] == 0


def test_the_command_line_shows_and_cancels_programs(running: Runtime, client: Client) -> None:
    script = Script(
        "import time\nfrom rfm_runtime import track\nfor _ in track(range(10_000), 'by hand'): time.sleep(0.01)",
        environment(running),
    )
    operation = named(client, "by hand")
    command = [sys.executable, "-P", "-m", "rfm_runtime.cli"]
    listed = subprocess.run(
        [*command, "ps", "--json"], env=environment(running), capture_output=True, text=True, check=True, timeout=30
    )
    assert any(found["name"] == "by hand" for found in json.loads(listed.stdout)["operations"])
    subprocess.run(
        [*command, "cancel", operation.operation_id],
        env=environment(running),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    status, _, err = script.end()
    assert status == 1
    assert "OperationCanceled: by hand was cancelled" in err


@pytest.mark.scenario("J15")
def test_a_parent_is_as_far_as_its_parts_by_their_weights(running: Runtime, client: Client, recorder: Recorder) -> None:
    run(
        """
        import time
        from rfm_runtime import ProgressManager
        said = []
        with ProgressManager(on_start=lambda r: said.append(r.name), on_end=lambda r: said.append(r.state)) as manager:
            parent = manager.start("batch", "whole")
            light = manager.start("part", "light", parent=parent.operation_id)
            heavy = manager.start("part", "heavy", parent=parent.operation_id, weight=3)
            assert manager.get(light.operation_id) is light
            assert manager.active() == [parent, light, heavy]
            heavy.report_progress(50)
            time.sleep(0.3)
            assert round(parent.value, 1) == 37.5
            light.report_completed()
            assert round(parent.value, 1) == 62.5
            heavy.report_failed("broken")
            time.sleep(0.3)
            assert round(parent.value, 1) == 62.5
            parent.report_completed()
            assert manager.active() == []
        assert said == ["whole", "light", "heavy", "completed", "failed", "completed"]
        """,
        running,
    )
    whole = ended(client, "whole")
    assert [client.operation(ended(client, name).operation_id).parent_id for name in ("light", "heavy")] == [
        whole.operation_id
    ] * 2
    assert 62.5 in [update.progress for update in recorder.progress(whole.operation_id)]


@pytest.mark.scenario("J15")
def test_a_cancel_of_the_parent_reaches_its_parts(running: Runtime, client: Client) -> None:
    script = Script(
        """
        import time
        from rfm_runtime import ProgressManager
        manager = ProgressManager()
        parent = manager.start("batch", "parent to stop")
        parts = [manager.start("part", f"part {n}", parent=parent.operation_id) for n in range(2)]
        while not all(part.should_cancel() for part in parts):
            time.sleep(0.01)
        for part in parts: part.report_canceled()
        print(manager.shutdown(0.5), parent.state)
        """,
        environment(running),
    )
    parent = named(client, "parent to stop")
    named(client, "part 1")
    client.cancel(parent.operation_id)
    assert script.end() == (0, "False canceled\n", "")
    for name in ("parent to stop", "part 0", "part 1"):
        assert ended(client, name).state == "canceled"


@pytest.mark.scenario("J15")
def test_a_manager_cancels_what_it_has_by_itself_too(running: Runtime, client: Client) -> None:
    run(
        """
        import threading
        from rfm_runtime import OperationCanceled, ProgressManager
        from rfm_runtime.errors import BadRequestError, UnknownOperationError
        manager = ProgressManager()
        def work(reporter):
            with reporter:
                while True:
                    reporter.raise_if_canceled()
        reporters = [manager.start("work", f"worker {n}") for n in range(3)]
        threads = [threading.Thread(target=work, args=(reporter,)) for reporter in reporters]
        threading.excepthook = lambda what: None
        for thread in threads: thread.start()
        assert manager.cancel(reporters[0].operation_id)
        threads[0].join()
        assert not manager.cancel(reporters[0].operation_id)
        assert not manager.cancel("none")
        assert manager.cancel_all() == 2
        assert manager.shutdown()
        assert [reporter.state for reporter in reporters] == ["canceled"] * 3
        for wrong, error in ((lambda: manager.start("x"), BadRequestError),
                             (lambda: ProgressManager().start("x", parent="none"), UnknownOperationError)):
            try:
                wrong()
            except error as raised:
                assert raised.hint
            else:
                raise SystemExit("nothing was raised")
        """,
        running,
    )
    for number in range(3):
        assert ended(client, f"worker {number}").state == "canceled"


ENDINGS = {
    "exit 0 in a block": ("with progress(total=2, desc=NAME): sys.exit(0)", "completed"),
    "exit 1 in a block": ("with progress(total=2, desc=NAME): sys.exit(1)", "failed"),
    "exit in a loop": ("for _ in track(range(3), NAME): sys.exit(0)", "canceled"),
    "interrupt in a block": ("with progress(total=2, desc=NAME): raise KeyboardInterrupt", "canceled"),
    "interrupt in a loop": ("for _ in track(range(3), NAME): raise KeyboardInterrupt", "canceled"),
    "error in a loop": ("for _ in track(range(3), NAME): raise ValueError", "failed"),
    "error in a function": (
        "def work():\n    for _ in track(range(3), NAME): int('x')\nwork()",
        "failed",
    ),
    "break, and a later error": ("for _ in track(range(3), NAME): break\nint('x')", "canceled"),
    "return, and a later error": (
        "def find():\n    for x in track(range(3), NAME): return x\nfind()\nint('x')",
        "canceled",
    ),
    "error that is caught": (
        "try:\n    for _ in track(range(3), NAME): int('x')\nexcept ValueError: time.sleep(0.7)",
        "canceled",
    ),
    "cancelled task": (
        """
@operation('k', NAME)
async def work(): await asyncio.sleep(9)
async def main():
    try: await asyncio.wait_for(work(), 0.2)
    except TimeoutError: pass
asyncio.run(main())""",
        "canceled",
    ),
    "gone through twice": ("loop = track(range(3), NAME)\nlist(loop); list(loop)", "completed"),
    "labels of any type": ("list(track(range(3), NAME, labels={'run': 7, 5: None}))", "completed"),
    "a name that is no UTF-8": ("list(track(range(3), NAME, unit=os.fsdecode(b'caf\\xe9')))", "completed"),
}


@pytest.mark.scenario("B10")
@pytest.mark.parametrize("name", ENDINGS)
def test_what_a_program_does_is_what_watchers_are_told(running: Runtime, client: Client, name: str) -> None:
    code, state = ENDINGS[name]
    names = "operation, progress, track"
    source = f"import asyncio, os, sys, time\nfrom rfm_runtime import {names}\nNAME = {name!r}\n{code}"
    subprocess.run(
        [sys.executable, "-c", source], env=environment(running), capture_output=True, check=False, timeout=30
    )
    assert ended(client, name).state == state
    assert {o.state for o in client.operations() if o.name == name} == {state}


@pytest.mark.scenario("B7")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_has_operations_of_its_own(running: Runtime, client: Client, method: str) -> None:
    name = f"own of {method}"
    folder = running.folders.state / f"own-{method}"
    folder.mkdir()
    (folder / "script.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing
            from rfm_runtime import ProgressReporter

            def work():
                with ProgressReporter("test", {name!r}) as reporter:
                    reporter.report_progress(50)

            if __name__ == "__main__":
                child = multiprocessing.get_context({method!r}).Process(target=work)
                child.start()
                child.join()
            """
        )
    )
    subprocess.run([sys.executable, "script.py"], cwd=folder, env=environment(running), check=True, timeout=60)
    assert ended(client, name).state == "completed"


@pytest.mark.scenario("B7")
def test_grandchildren_and_classes_of_ones_own_add_too(running: Runtime, client: Client) -> None:
    out = run(
        """
        import os, pickle, time
        from rfm_runtime import Progress, ProgressReporter

        class Mine(ProgressReporter):
            def tell(self, percent):
                self.report_progress(percent)

        def forked(work):
            pid = os.fork()
            if pid == 0:
                work()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0

        with Mine("test", "mine") as mine, Progress(10, "generations") as counter:
            def child():
                mine.tell(30)
                counter.update(2)
                forked(lambda: counter.update(3))
                counter.update(1)
                copy = pickle.loads(pickle.dumps(counter))
                copy.update(4)
                assert copy.total == 10
            forked(child)
            print(mine.value, counter.value)
        """,
        running,
    )
    assert out == "30.0 10.0\n"
    assert ended(client, "generations").state == "completed"


def test_what_is_shared_with_children_is_given_back(running: Runtime, client: Client) -> None:
    del client
    run(
        """
        import os
        from rfm_runtime import progress
        def count(): return len(os.listdir("/proc/self/fd"))
        before = count()
        for number in range(200):
            with progress(total=1, desc=f"shared {number}") as bar:
                pid = os.fork()
                if pid == 0: os._exit(0)
                os.waitpid(pid, 0)
                bar.update()
            del bar
        assert count() < before + 60, (before, count())
        """,
        running,
    )


def test_one_operation_that_cannot_be_looked_at_hides_no_other(running: Runtime, client: Client) -> None:
    run(
        """
        import time
        import numpy
        from rfm_runtime import ProgressReporter
        class Rude:
            def __eq__(self, other): raise RuntimeError("no")
            __hash__ = None
        rude, polite = ProgressReporter("test", "rude"), ProgressReporter("test", "polite")
        for step in range(10):
            rude.report_progress(5, details={"x": numpy.zeros(3), "y": Rude()})
            polite.report_progress(7 * step)
            time.sleep(0.05)
        time.sleep(0.3)
        polite.report_canceled()
        rude.report_canceled()
        """,
        running,
    )
    latest = ended(client, "polite").latest
    assert latest is not None
    assert latest.done == 63


@pytest.mark.scenario("B3")
def test_what_a_callback_does_is_no_matter_of_the_others(running: Runtime, client: Client) -> None:
    script = Script(
        """
        import sys, time
        from rfm_runtime import ProgressReporter
        first = ProgressReporter("test", "calls exit")
        first.on_cancel(lambda: sys.exit(1))
        first.on_cancel(lambda: 1 / 0)
        first.on_cancel(lambda: time.sleep(60))
        with ProgressReporter("test", "beside it") as second:
            while not first.should_cancel(): time.sleep(0.01)
            time.sleep(0.3)
        first.report_canceled()
        print(second.flush(5))
        """,
        environment(running),
    )
    operation = named(client, "calls exit")
    client.cancel(operation.operation_id)
    assert script.end()[:2] == (0, "True\n")
    assert ended(client, "beside it").state == "completed"


def test_an_operation_that_is_dropped_is_over(running: Runtime, client: Client) -> None:
    run(
        """
        from rfm_runtime import ProgressReporter, progress, track
        def drop():
            ProgressReporter("dropped", "one").report_progress(5)
            progress(total=5)
            list(zip([], track(range(3))))
        for _ in range(3): drop()
        """,
        running,
    )
    assert ended(client, "one").state == "canceled"
    assert all(operation.state != "running" for operation in client.operations())


@pytest.mark.scenario("B12")
def test_a_coroutine_that_is_paused_holds_up_no_other(running: Runtime, client: Client) -> None:
    script = Script(
        """
        import asyncio, time
        from rfm_runtime import track
        longest = 0.0
        async def beat():
            global longest
            while True:
                began_s = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - began_s)
        async def numbers():
            for number in range(60):
                yield number
                await asyncio.sleep(0.01)
        async def main():
            task = asyncio.create_task(beat())
            async for _ in track(numbers(), "asynchronous pause"): pass
            task.cancel()
        asyncio.run(main())
        print(longest < 0.5)
        """,
        environment(running),
    )
    operation = named(client, "asynchronous pause")
    client.pause(operation.operation_id)
    eventually(lambda: client.operation(operation.operation_id).state == "paused", what="a pause")
    time.sleep(0.8)
    client.resume(operation.operation_id)
    assert script.end() == (0, "True\n", "")
    assert ended(client, "asynchronous pause").state == "completed"


@pytest.mark.scenario("B11")
def test_a_bar_leaves_the_output_and_the_cursor_alone(tmp_path: Path) -> None:
    code = (
        "import time\nfrom rfm_runtime import track\n"
        "for n in track(range(30), 'alone'):\n    print('DATA', n, flush=True)\n    time.sleep(0.05)"
    )
    env = {
        "RFM_RUNTIME_DIR": str(tmp_path / "r"),
        "HOME": str(tmp_path),
        "TERM": "xterm-256color",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    terminal, end = pty.openpty()
    program = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    shown = bytearray()
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    out, _ = program.communicate(timeout=30)
    assert out.splitlines() == [f"DATA {n}" for n in range(30)]
    assert b"alone" in shown
    assert b"30/30" in shown
    assert b"\x1b[?25l" not in shown


@pytest.mark.scenario("J16")
@pytest.mark.parametrize(
    "value",
    [
        "None",
        "'50'",
        "[]",
        "1j",
        "10**400",
        "float('nan')",
        "-1",
        "object()",
        "numpy.array([1, 2])",
        "numpy.float32(3)",
        "os.fsdecode(b'caf\\xe9')",
        "Bad()",
        "{1: {2: Bad()}, 'x': {'a', 'b'}}",
        "[[[[[[[[[1]]]]]]]]]",
    ],
)
def test_no_value_makes_a_report_fail(running: Runtime, client: Client, value: str) -> None:
    name = f"reports {value}"
    run(
        f"""
        import os, time
        import numpy
        from rfm_runtime import ProgressReporter, progress
        class Bad:
            def __str__(self): raise RuntimeError("no text")
            __repr__ = __str__
        value = {value}
        with ProgressReporter("test", {name!r}, labels={{"a": value}}) as reporter:
            reporter.report_progress(value, value, message=value, details=value)
            time.sleep(0.25)
            reporter.report_progress(50, details={{"value": value}})
            time.sleep(0.25)
        with progress(desc={name!r} + " counted") as bar:
            bar.set_postfix(value=value)
            bar.set_description(value)
        reporter = ProgressReporter("test", {name!r} + " failed")
        reporter.report_failed(value, code=value, details=value)
        """,
        running,
    )
    shown = ended(client, name)
    assert shown.state == "completed"
    assert shown.latest is not None
    assert "value" in (shown.latest.details or {})
    assert ended(client, f"{name} counted").state == "completed"
    assert ended(client, f"{name} failed").state == "failed"


@pytest.mark.scenario("J17")
def test_thousands_of_short_operations_all_arrive(running: Runtime, client: Client) -> None:
    status, _, err = Script(
        """
        from rfm_runtime import ProgressReporter
        for number in range(3000):
            with ProgressReporter("many", f"short {number}") as reporter:
                reporter.report_progress(50)
        """,
        environment(running),
    ).end(60)
    assert (status, err) == (0, "")
    states = [operation.state for operation in client.operations(kinds=["many"])]
    assert states == ["completed"] * 3000


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from rfm_runtime import track; track(5)", "track() goes through an iterable, and this is int: 5"),
        ("from rfm_runtime import operation\n@operation\ndef f(): pass", 'write @operation("…") above the function'),
        ("from rfm_runtime import operation\n@operation('k')\ndef f(): yield", "f is a generator"),
    ],
)
def test_what_cannot_be_meant_is_told_at_once(running: Runtime, code: str, said: str) -> None:
    status, _, err = Script(code, environment(running)).end()
    assert status == 1
    assert said in err
