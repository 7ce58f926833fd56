"""What an engine tells of its workers: states as the core has them, counts that outlive a worker, causes of deaths."""

from __future__ import annotations

import pytest

from rfm_runtime.core.tiles.crew import Crew, death_word
from rfm_runtime.core.tiles.messages import Phase, Task
from rfm_runtime.core.tiles.worker import Worker
from rfm_runtime.protocol.resources import ChildUsage

pytestmark = pytest.mark.scenario("E14", "J105")


def worker(*phases: Phase, **state: object) -> Worker:
    made = Worker()
    made.tasks = [
        Task(operation_id="op", generation=1, phase=phase, index=7, attempt=0, x=64, y=0, width=32, height=16)
        for phase in phases
    ]
    for name, value in state.items():
        setattr(made, name, value)
    return made


def test_each_worker_with_its_process_and_what_it_has_in_hand() -> None:
    crew = Crew(3)
    for number in (1, 2):
        crew.ready(number, 100 + number)
    used = [ChildUsage(pid=101, cpu_percent=98.5, memory_bytes=5), ChildUsage(pid=999, cpu_percent=1.0, memory_bytes=1)]
    told = crew.usage("engine-0", {1: worker("tile", "tile"), 2: worker()}, used, 5)
    first, second, third = told.workers
    assert (told.engine, told.measured_at_ms, told.deaths) == ("engine-0", 5, {})
    assert (first.number, first.pid, first.state, first.starts) == (1, 101, "computing", 1)
    assert (first.operation_id, first.phase, first.index, first.tile) == ("op", "tile", 7, (64, 0, 32, 16))
    assert (first.cpu_percent, first.memory_bytes) == (98.5, 5)
    assert (second.state, second.operation_id, second.tile, second.cpu_percent) == ("idle", "", None, 0.0)
    assert (third.state, third.pid, third.starts) == ("starting", 0, 0)


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (worker(), "idle"),
        (worker("tile"), "computing"),
        (worker("tile", stopping={("op", 1)}), "stopping"),
        (worker("tile", kill_sent=True), "stopping"),
        (worker("tile", alone=True), "alone"),
        (worker(rests_until_s=3.0), "resting"),
        (None, "starting"),
    ],
)
def test_states(known: Worker | None, state: str) -> None:
    crew = Crew(1)
    crew.ready(1, 100)
    (told,) = crew.usage("e", {} if known is None else {1: known}, [], 0).workers
    assert told.state == state


def test_counts_go_on_over_a_death_and_its_cause_is_told() -> None:
    crew = Crew(1)
    crew.ready(1, 100)
    crew.done(1, "preview", 10, 0.5)
    crew.done(1, "tile", 90, 0.5)
    assert [(w.tiles, w.iterations_per_s) for w in crew.usage("e", {1: worker()}, [], 0).workers] == [(1, 100.0)]
    crew.died(1, "SIGKILL that this runtime did not send", wanted=False)
    (told,) = crew.usage("e", {1: worker("tile")}, [], 0).workers
    # The core may hear of it later.
    assert (told.state, told.pid, told.last_death) == ("starting", 0, "SIGKILL that this runtime did not send")
    crew.ready(1, 200)
    crew.died(1, "SIGKILL", wanted=True)
    crew.ready(1, 300)
    crew.done(1, "tile", 0, 0.0)
    told = crew.usage("e", {1: worker()}, [], 0)
    assert [(w.pid, w.tiles, w.starts, w.last_death) for w in told.workers] == [(300, 2, 3, "killed on purpose")]
    assert told.deaths == {"SIGKILL": 1, "killed on purpose": 1}


def test_the_speed_is_that_of_late() -> None:
    crew = Crew(1)
    crew.ready(1, 100)
    crew.done(1, "tile", 1_000_000, 1.0)
    speeds = []
    for _ in range(8):
        crew.done(1, "tile", 1000, 1.0)
        speeds.append(crew.usage("e", {1: worker()}, [], 0).workers[0].iterations_per_s or 0.0)
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] < 10_000 < speeds[0]


@pytest.mark.parametrize(
    ("cause", "wanted", "word"),
    [
        ("SIGSEGV (Fatal Python error)", False, "SIGSEGV"),
        ("out-of-memory kill (SIGKILL by the kernel)", False, "out-of-memory"),
        ("exit code 3", False, "exit"),
        ("SIGKILL", True, "killed on purpose"),
    ],
)
def test_a_cause_in_a_word(cause: str, wanted: bool, word: str) -> None:
    assert death_word(cause, wanted) == word
