"""A program ends while the server is away, or does not answer: what it said is what is told when the server is back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rfm_runtime import Client
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.programs import Script, ended, environment, named

pytestmark = [pytest.mark.integration, pytest.mark.fault]

KEPT = "kept until it is back"

PROGRAM = """
import time
from rfm_runtime import ProgressReporter
reporter = ProgressReporter("test", "early")
reporter.report_progress(40)
print("ready", flush=True)
input()
reporter.report_progress(90)
reporter.report_completed(details={"rows": 7})
"""


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime that the test may kill."""
    with runtime(tmp_path, drain_timeout_s=1.0) as started:
        yield started


def begun(running: Runtime, code: str = PROGRAM) -> Script:
    """The program, once the runtime has heard of it."""
    script = Script(code, environment(running))
    assert script.line() == "ready"
    with Client(url=running.url, token=running.info.token) as client:
        named(client, "early")
    return script


def after(running: Runtime, *names: str) -> list[Operation]:
    """Of each name the one operation, once it has ended."""
    with Client(url=running.url, token=running.info.token) as client:

        def told() -> list[Operation] | None:
            try:
                found = [operation for operation in client.operations() if operation.name in names]
            except UnavailableError:
                # Its broker is on its way.
                return None
            return found if len(found) == len(names) and all(o.ended_at_ms for o in found) else None

        return sorted(eventually(told, timeout_s=60.0, what="the outcomes"), key=lambda o: names.index(o.name))


def left_behind(running: Runtime) -> list[str]:
    return [path.name for path in running.folders.last_words.iterdir()]


@pytest.mark.scenario("J33", "B8", "F5")
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_program_that_ends_while_the_runtime_is_away_is_told_as_it_went(alone: Runtime, how: str) -> None:
    script = begun(alone)
    if how == "killed":
        alone.kill_supervisor()
    else:
        alone.stop()
    script.go_on()
    status, _, err = script.end()
    assert (status, err.count(KEPT)) == (0, 1), err
    assert len(left_behind(alone)) == 1
    alone.start()
    (operation,) = after(alone, "early")
    assert (operation.state, operation.error) == ("completed", None)
    assert operation.latest is not None
    assert (operation.latest.progress, operation.latest.details) == (100.0, {"rows": 7})
    eventually(lambda: not left_behind(alone), what="the file is gone")


@pytest.mark.scenario("J33", "F2", "F6")
def test_a_program_that_ends_while_the_broker_is_frozen_and_then_killed(alone: Runtime) -> None:
    script = begun(alone)
    broker = alone.processes()["broker"]
    broker.send_signal(signal.SIGSTOP)
    script.go_on()
    status, _, err = script.end()
    assert (status, err.count(KEPT)) == (0, 1), err
    broker.kill()
    (operation,) = after(alone, "early")
    assert (operation.state, operation.error) == ("completed", None)


@pytest.mark.scenario("J33", "F6")
def test_a_program_that_ends_while_the_broker_is_frozen_which_then_goes_on(alone: Runtime) -> None:
    script = begun(alone)
    broker = alone.processes()["broker"]
    broker.send_signal(signal.SIGSTOP)
    script.go_on()
    assert script.end()[0] == 0
    broker.send_signal(signal.SIGCONT)
    (operation,) = after(alone, "early")
    assert (operation.state, operation.error) == ("completed", None)
    eventually(lambda: not left_behind(alone), what="the file is gone")


@pytest.mark.scenario("J33")
def test_a_program_that_is_killed_after_it_said_how_it_went(alone: Runtime) -> None:
    script = begun(alone, f"{PROGRAM}\nfor _ in range(1000): time.sleep(0.1)")
    alone.kill_supervisor()
    script.go_on()
    eventually(lambda: left_behind(alone), what="the outcome is kept")
    script.process.kill()
    script.end()
    alone.start()
    assert after(alone, "early")[0].state == "completed"


@pytest.mark.scenario("J33", "J13")
def test_what_began_and_ended_in_between_is_told_too_and_what_had_no_outcome_is_lost(alone: Runtime) -> None:
    script = begun(
        alone,
        f"""{PROGRAM}
late = ProgressReporter("test", "late")
late.report_progress(10)
late.report_failed(ValueError("no such file"))
open_end = ProgressReporter("test", "open")
open_end.report_progress(50)
print("said", flush=True)
time.sleep(60)
""".replace('print("ready"', 'silent = ProgressReporter("test", "silent")\nprint("ready"'),
    )
    alone.kill_supervisor()
    script.go_on()
    assert script.line() == "said"
    began_s = time.time()
    eventually(
        lambda: any(path.stat().st_size for path in alone.folders.last_words.iterdir()), what="the outcomes are kept"
    )
    # The second one follows the first: both are older than a second now.
    eventually(lambda: _names(alone) >= {"early", "late"}, what="both are kept")
    script.process.kill()
    script.end()
    alone.start()
    early, late, silent = after(alone, "early", "late", "silent")
    assert (early.state, late.state) == ("completed", "failed")
    assert late.error is not None
    assert late.error.code == "ValueError"
    assert late.created_at_ms / 1000 < began_s + 0.1
    assert silent.error is not None
    assert (silent.state, silent.error.code) == ("failed", "worker_lost")
    with Client(url=alone.url, token=alone.info.token) as client:
        assert not [o for o in client.operations() if o.name == "open"]


def _names(running: Runtime) -> set[str]:
    from rfm_runtime.store.last_words import read

    return {word.announce.name for path in running.folders.last_words.iterdir() for word in read(path).words}


@pytest.mark.scenario("J33")
def test_a_program_that_lives_tells_it_itself_and_leaves_nothing(alone: Runtime) -> None:
    script = begun(alone, f"{PROGRAM}\nprint('ended', flush=True)\ninput()")
    alone.kill_supervisor()
    script.go_on()
    assert script.line() == "ended"
    eventually(lambda: left_behind(alone), what="the outcome is kept")
    alone.start()
    assert after(alone, "early")[0].state == "completed"
    eventually(lambda: not left_behind(alone), what="the file is gone")
    script.go_on()
    status, _, err = script.end()
    assert (status, KEPT in err) == (0, False)


@pytest.mark.scenario("J33", "F2")
def test_an_outcome_is_heard_once_however_often_the_broker_dies_over_it(alone: Runtime) -> None:
    script = begun(alone)
    alone.stop()
    script.go_on()
    assert script.end()[0] == 0
    (path,) = alone.folders.last_words.iterdir()
    content = path.read_bytes()
    for _ in range(2):
        alone.start()
        (operation,) = after(alone, "early")
        eventually(lambda: not left_behind(alone), what="the file is gone")
        alone.stop(now=True)
        # As if the broker had been killed between the commit and the removal.
        path.write_bytes(content)
    path.write_bytes(content + b"half a rec")
    alone.start()
    assert after(alone, "early") == [operation]
    eventually(lambda: not left_behind(alone), what="the file is gone")


@pytest.mark.scenario("J33")
def test_a_file_that_is_none_harms_nobody_and_is_left(alone: Runtime) -> None:
    path = alone.folders.last_words / "reporter-1-ff.last"
    path.write_bytes(os.urandom(100))
    script = begun(alone)
    script.go_on()
    assert script.end()[0] == 0
    assert after(alone, "early")[0].state == "completed"
    eventually(lambda: "last_words_not_read" in alone.logs(), what="it is said")
    assert path.exists()
    assert psutil.pid_exists(alone.info.pid)


FAMILY = """
import os, pathlib, sys, time
from rfm_runtime import ProgressReporter

def work(name):
    with ProgressReporter("test", name) as reporter:
        reporter.report_progress(20)
        # One write: they share the pipe, and print writes each of its words by itself.
        os.write(1, f"{{name}} {{os.getpid()}}\\n".encode())
        while not pathlib.Path({go!r}).exists(): time.sleep(0.01)

if os.fork() == 0:
    work("child-{killed}")
    sys.exit()
work("parent-{killed}")
"""


@pytest.mark.scenario("B8", "B7")
@pytest.mark.parametrize("killed", ["parent", "child"])
def test_each_process_of_a_family_that_is_killed_has_its_own_outcomes(
    running: Runtime, client: Client, tmp_path: Path, killed: str
) -> None:
    go = tmp_path / "go"
    script = Script(FAMILY.format(go=str(go), killed=killed), environment(running))
    pids = dict(script.line().split() for _ in range(2))
    found = {name: named(client, name).operation_id for name in pids}
    victim = f"{killed}-{killed}"
    os.kill(int(pids[victim]), signal.SIGKILL)
    assert client.handle(found[victim]).wait(timeout_s=30) == "failed"
    error = client.operation(found[victim]).error
    assert error is not None
    assert error.code == "worker_lost"
    (other,) = pids.keys() - {victim}
    assert client.operation(found[other]).state == "running"
    go.touch()
    assert client.handle(found[other]).wait(timeout_s=30) == "completed"
    script.end()


@pytest.mark.scenario("B8")
def test_a_program_that_flushes_before_it_exits_at_once_is_told_as_it_went(running: Runtime, client: Client) -> None:
    code = """
    import os
    from rfm_runtime import ProgressReporter
    reporter = ProgressReporter("test", "at once")
    reporter.report_completed()
    assert reporter.flush(20)
    os._exit(0)
    """
    assert Script(code, environment(running)).end()[0] == 0
    assert ended(client, "at once").state == "completed"
