"""What is said of an operation in a row."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.text import local_time
from rfm_runtime.protocol.operation import ErrorInfo, Eta, Operation, OperationState, ProgressUpdate
from rfm_ui.model.lines import about, line

RUNNING = Operation(
    operation_id="op-1",
    kind="render.escape_time",
    name="seahorse",
    owner="ann",
    state="running",
    at_seq=3,
    created_at_ms=0,
    started_at_ms=1_000,
    priority=5,
    latest=ProgressUpdate(
        operation_id="op-1",
        rev=(1, 7),
        at_seq=3,
        measured_at_ms=5_000,
        done=2_500.0,
        total=10_000.0,
        unit="rows",
        progress=25.0,
        rate=625.0,
        eta_ms=Eta(p50=12_000, p90=20_000),
        step="reading",
        steps=(1, 3),
    ),
)


def test_a_running_operation() -> None:
    shown = line(RUNNING, 5_000)

    assert (shown.title, shown.state, shown.tone, shown.percent) == ("seahorse", "running", "running", 25.0)
    assert shown.facts == ("12.0 s–20.0 s left", "625 rows/s", "2.5 k/10 k rows", "for 4.00 s")
    assert (shown.remark, shown.priority) == ("reading (1 of 3)", 5)


def test_a_silent_one_promises_no_time() -> None:
    shown = line(msgspec.structs.replace(RUNNING, stale=True), 5_000)

    assert (shown.state, shown.tone) == ("silent", "stale")
    assert not any("left" in fact for fact in shown.facts)


def test_why_one_failed() -> None:
    error = ErrorInfo(code="worker_lost", message="its program\nended", hint="look at its log")
    failed = msgspec.structs.replace(RUNNING, state="failed", error=error, ended_at_ms=8_000)

    shown = line(failed, 99_000)

    assert (shown.state, shown.tone, shown.facts) == ("failed", "bad", ("after 7.00 s",))
    assert shown.remark == "error[worker_lost]: its program?ended"


@pytest.mark.parametrize(
    ("state", "word", "percent"),
    [("completed", "completed", 100.0), ("canceled", "cancelled", 25.0), ("paused", "paused", 25.0)],
)
def test_states_as_people_say_them(state: OperationState, word: str, percent: float) -> None:
    shown = line(msgspec.structs.replace(RUNNING, state=state), 5_000)

    assert (shown.state, shown.percent) == (word, percent)


def test_nobody_knows_how_far_one_without_a_total_is() -> None:
    latest = ProgressUpdate(operation_id="op-1", rev=(1, 1), at_seq=3, measured_at_ms=0, done=7.0, unit="files")

    shown = line(msgspec.structs.replace(RUNNING, latest=latest), 5_000)

    assert (shown.percent, shown.facts[0]) == (None, "7 files")


@pytest.mark.scenario("J94")
def test_what_a_row_has_no_room_for() -> None:
    shown = about(msgspec.structs.replace(RUNNING, labels={"site": "b"}), 5_000).splitlines()

    assert shown[:2] == ["seahorse", "render.escape_time of ann"]
    half, most = local_time(17_000)[11:], local_time(25_000)[11:]
    assert shown[2] == f"as likely before {half} as after it; with 90 % before {most}"
    assert shown[3:] == ["reading (1 of 3)", "site: b"]
    ended = about(msgspec.structs.replace(RUNNING, state="completed", ended_at_ms=8_000), 20_000).splitlines()
    assert ended[2] == f"ended {local_time(8_000)}, 12.0 s ago"


def test_a_unit_that_cannot_be_printed_breaks_no_line() -> None:
    latest = ProgressUpdate(
        operation_id="op-1", rev=(1, 1), at_seq=3, measured_at_ms=0, done=7.0, rate=2.0, unit="fi\nles\u202e"
    )
    facts = line(msgspec.structs.replace(RUNNING, latest=latest), 5_000).facts
    assert any("fi" in fact for fact in facts)
    assert all(fact.isprintable() for fact in facts)
