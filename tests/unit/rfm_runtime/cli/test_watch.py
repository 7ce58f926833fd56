"""Which notices are shown, and the connection in words."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.cli.watch import Connection, chosen
from rfm_runtime.protocol.messages import Live, OperationList
from rfm_runtime.protocol.operation import Operation, OperationEvent, ProgressUpdate


def listed(operation_id: str) -> Operation:
    values: dict[str, Any] = {"kind": "k", "name": "", "owner": "o", "state": "running", "at_seq": 1}
    return Operation(operation_id=operation_id, created_at_ms=0, **values)


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
