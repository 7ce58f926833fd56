"""Workers as rows: what each column says, and what is not said of what is not known."""

from __future__ import annotations

import pytest

from rfm_runtime.protocol.crew import CrewUsage, WorkerUsage
from rfm_ui.model.crew import deaths_line, summary, worker_rows
from tests.past import operation

pytestmark = pytest.mark.scenario("E14", "J105")

BUSY = WorkerUsage(
    number=2, pid=31, state="computing", operation_id="op", phase="tile", index=12, tile=(512, 64, 64, 48), tiles=1234,
    iterations_per_s=1.25e9, cpu_percent=98.7, memory_bytes=80 << 20, starts=3, last_death="SIGSEGV (Fatal)",
)  # fmt: skip
IDLE = WorkerUsage(number=1, pid=30, state="idle", starts=1)
CREW = CrewUsage(engine="engine-0", measured_at_ms=0, workers=(IDLE, BUSY), deaths={"SIGSEGV": 2, "exit": 1})


def test_a_row_of_each() -> None:
    idle, busy = worker_rows([CREW], {"op": operation("op", "running", name="seahorse\x1b[2J")})
    assert idle[:10] == ("worker 1", "30", "idle", "", "", "0", "", "0 %", "0 MiB", "")
    assert busy[:3] == ("worker 2", "31", "computing")
    assert "\x1b" not in busy.what
    assert busy.what.startswith("seahorse")
    assert busy.tile == "tile 12: 64×48 at 512, 64"
    assert (busy.tiles, busy.cpu, busy.restarts) == ("1,234", "99 %", "2")
    assert busy.speed.endswith("/s")
    assert "died of SIGSEGV" in busy.about
    assert busy.operation_id == "op"


def test_what_is_not_known_is_another_operation() -> None:
    assert worker_rows([CREW], {})[1].what == "another operation"


def test_one_that_starts_has_no_figures() -> None:
    (row,) = worker_rows([CrewUsage(engine="e", measured_at_ms=0, workers=(WorkerUsage(number=1),))], {})
    assert row[:10] == ("worker 1", "", "starting", "", "", "0", "", "", "", "")


def test_of_several_engines_each_has_its_name() -> None:
    other = CrewUsage(engine="engine-0@far", measured_at_ms=0, workers=(IDLE,))
    assert [row.name for row in worker_rows([other, CREW], {})] == [
        *("engine-0, worker 1", "engine-0, worker 2", "engine-0@far, worker 1")
    ]
    assert summary([other, CREW]) == "3 workers: 1 computing, 2 idle"
    assert deaths_line([other, CREW]) == "3 workers ended since the engine came up: 2 SIGSEGV, 1 exit"


def test_none() -> None:
    assert "No engine is connected" in summary([])
    assert deaths_line([CrewUsage(engine="e", measured_at_ms=0, workers=(IDLE,))]) == ""
