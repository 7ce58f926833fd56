"""What journals give out for a look from far away: all that was there in a period, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_runtime.core.operations.queries import during, matches
from rfm_runtime.core.operations.record import Batch, StoredOperation
from rfm_runtime.protocol.history import History
from rfm_runtime.protocol.operation import Operation, OperationFilter
from rfm_runtime.protocol.timeline import GetTimeline
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.store.memory import MemoryJournal
from tests.past import operation as past_operation
from tests.past import operations as past_operations

pytestmark = pytest.mark.scenario("E11", "J104")

FILTERS = [
    OperationFilter(),
    OperationFilter(kinds=["render", "<kind>"]),
    OperationFilter(owner="ana"),
    OperationFilter(states=["completed", "running"]),
    OperationFilter(text="OP-1"),
]


def filled(journal, operations):
    journal.load(history_events=10, finished_keep=1)
    journal.start(lambda _number, _s: None, lambda _reason: None)
    rows = [
        StoredOperation(operation=one, params={"p": 1}, request_key=one.operation_id, body_digest=b"")
        for one in operations
    ]
    journal.append(Batch(1, tuple(rows), (), ()))
    journal.close()
    return journal


@settings(max_examples=30, deadline=None)
@given(found=past_operations(), picked=st.data())
def test_all_that_was_there_and_nothing_else(tmp_path_factory, found: list[Operation], picked: st.DataObject):
    moments = sorted({at for one in found for at in (one.created_at_ms, one.ended_at_ms) if at is not None}) or [1]
    # At the edges themselves, where one is easily too many.
    since_ms = picked.draw(st.sampled_from(moments)) + picked.draw(st.integers(-1, 1))
    width_ms = picked.draw(st.sampled_from([1, 1000, 10**7]))
    wanted_filter = picked.draw(st.sampled_from(FILTERS))
    wanted = GetTimeline(since_ms=since_ms, width_ms=width_ms, bins=3, filter=wanted_filter)
    until_ms = since_ms + 3 * width_ms
    meant = {
        one.operation_id: (one.kind, one.owner, one.state, one.created_at_ms, one.started_at_ms, one.ended_at_ms)
        for one in found
        if during(one.created_at_ms, one.ended_at_ms, since_ms, until_ms) and matches(one, wanted_filter)
    }
    path = tmp_path_factory.mktemp("j") / "journal.db"
    for journal in (filled(MemoryJournal(), found), filled(SqliteJournal(path), found)):
        given_out = {
            one.operation_id: (one.kind, one.owner, one.state, one.created_at_ms, one.started_at_ms, one.ended_at_ms)
            for one in journal.lives(wanted)
        }
        assert given_out == meant
        page, _ = journal.history(
            History(since_ms=since_ms, until_ms=until_ms, filter=wanted_filter, during=True, limit=500)
        )
        assert {one.operation_id for one in page} == set(meant)


def test_a_look_that_is_broken_off_holds_nothing(tmp_path):
    journal = filled(SqliteJournal(tmp_path / "journal.db"), [past_operation(f"op-{number}") for number in range(600)])
    looked = journal.lives(GetTimeline(since_ms=0, width_ms=2**40, bins=4))
    assert next(looked).kind == "render"
    looked.close()
    assert journal.performance("op-1") is not None
