"""Which notices are shown, and the connection in words."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.cli.watch import FINISHED_SHOWN, Connection, Lines, chosen
from rfm_runtime.protocol.messages import Live, OperationList, Throttled
from rfm_runtime.protocol.operation import Operation, OperationEvent, OperationState, ProgressUpdate


def listed(operation_id: str, state: OperationState = "running", ended_at_ms: int | None = None) -> Operation:
    values: dict[str, Any] = {"kind": "k", "name": "n", "owner": "o", "at_seq": 1, "created_at_ms": 0}
    return Operation(operation_id=operation_id, state=state, ended_at_ms=ended_at_ms, **values)


EVENT = OperationEvent(seq=1, ts_ms=0, type="operation_started", operation_id="a", state="running")
PROGRESS = ProgressUpdate(operation_id="a", rev=(1, 1), at_seq=1, measured_at_ms=0, done=0.0)
LIST = OperationList(operations=[listed("a"), listed("b")], more=False, first=True)


def test_everything_is_shown_by_default() -> None:
    for notice in (EVENT, PROGRESS, LIST, Live("e", 1)):
        assert chosen(notice, None, events=False) is notice


def test_events_only() -> None:
    assert chosen(PROGRESS, None, events=True) is None
    assert chosen(EVENT, None, events=True) is EVENT


def test_one_operation_alone() -> None:
    assert chosen(EVENT, "b", events=False) is None
    assert chosen(PROGRESS, "b", events=False) is None
    assert chosen(EVENT, "a", events=False) is EVENT
    kept = chosen(LIST, "b", events=False)
    assert isinstance(kept, OperationList)
    assert [operation.operation_id for operation in kept.operations] == ["b"]


def told(lines: Lines, capsys: pytest.CaptureFixture[str], *operations: Operation, first: bool = True) -> list[str]:
    """What is said of a list, without the time."""
    lines.show(OperationList(operations=list(operations), more=False, first=first))
    lines.show(Live("e", 1))
    return [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]


def test_lines_begin_with_the_newest_of_what_is_over_and_what_lives(capsys: pytest.CaptureFixture[str]) -> None:
    over = [listed(f"over-{n:03}", "completed", n) for n in reversed(range(100))]
    said = told(Lines(), capsys, listed("lives"), *over)
    assert len(said) == FINISHED_SHOWN + 1
    assert said[0] == f"over-{100 - FINISHED_SHOWN:03} n is completed"
    assert said[-2:] == ["over-099 n is completed", "lives n is running"]


def test_lines_after_a_gap_say_what_has_ended_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    assert told(lines, capsys, listed("a"), listed("old", "completed", 1)) == ["old n is completed", "a n is running"]
    again = [listed("a", "failed", 5), listed("old", "completed", 1)]
    assert told(lines, capsys, *again) == ["a n is failed"]
    assert told(lines, capsys, *again) == []


def test_a_lost_connection_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    connection = Connection()
    connection.aloud = True
    connection.changed("live", {})
    connection.changed("reconnecting", {"reason": "gone"})
    connection.changed("reconnecting", {"reason": "still gone"})
    assert connection.trouble == "no connection, trying again: still gone"
    connection.changed("live", {})
    assert connection.trouble == ""
    assert capsys.readouterr().err.splitlines() == ["no connection, trying again: gone", "connected again"]


@pytest.mark.parametrize("state", ["unauthorised", "closed"])
def test_an_end_is_no_news_of_the_connection(capsys: pytest.CaptureFixture[str], state: str) -> None:
    connection = Connection()
    connection.aloud = True
    connection.changed(state, {"reason": "closed by the server (4503: the token was revoked)"})
    connection.changed("reconnecting", {"reason": "gone"})
    connection.changed(state, {"reason": "there is no other token"})
    assert connection.trouble == ""
    assert capsys.readouterr().err.splitlines() == ["no connection, trying again: gone"]


@pytest.mark.scenario("J28")
def test_a_slow_watcher_is_told_once_and_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for hz in (5.0, 20.0):
        lines.show(Throttled(hz, 20.0))
    slow, over = capsys.readouterr().out.splitlines()
    assert "5 times a second" in slow
    assert "keeps up again" in over
