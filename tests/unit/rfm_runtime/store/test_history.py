"""What journals tell of the past: pages of a period, in order, filtered; how one operation went."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rfm_runtime.core.operations.queries import cursor_after, history_page
from rfm_runtime.core.operations.record import Batch, StoredOperation
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.history import History, Performance, Point
from rfm_runtime.protocol.operation import Operation, OperationEvent, OperationFilter, ProgressUpdate
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.store.memory import MemoryJournal

pytestmark = pytest.mark.scenario("B9")


def row(operation_id, created_ms=5, state="completed", kind="k", owner="ann", **fields):
    operation = Operation(
        operation_id=operation_id,
        kind=kind,
        name=f"name {operation_id}",
        owner=owner,
        state=state,
        at_seq=1,
        created_at_ms=created_ms,
        **fields,
    )
    return StoredOperation(operation=operation, params={"p": 1}, request_key=operation_id, body_digest=b"")


def filled(journal, rows, events=(), performance=()):
    journal.load(history_events=10, finished_keep=1)
    written = []
    journal.start(lambda number, _s: written.append(number), lambda _reason: None)
    journal.append(Batch(1, tuple(rows), tuple(events), tuple(performance)))
    return journal


@pytest.fixture(params=["memory", "sqlite"])
def make(request, tmp_path):
    def made(*content):
        journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
        filled(journal, *content)
        # What was appended is written when it is closed; a reader needs nothing but the file.
        journal.close()
        return journal

    return made


def ids(operations):
    return [operation.operation_id for operation in operations]


def test_newest_first_within_the_period(make):
    journal = make([row("a", 10), row("b", 20), row("c", 20), row("d", 30)])
    assert ids(journal.history(History())[0]) == ["d", "b", "c", "a"]
    assert ids(journal.history(History(since_ms=20, until_ms=30))[0]) == ["b", "c"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (OperationFilter(kinds=["x", "y"]), ["b", "a"]),
        (OperationFilter(states=["failed"]), ["c"]),
        (OperationFilter(owner="bob"), ["b"]),
        (OperationFilter(labels={"run": "1"}), ["a"]),
        (OperationFilter(text="NAME c"), ["c"]),
    ],
)
def test_filtered(make, wanted, found):
    journal = make(
        [row("a", 1, kind="x", labels={"run": "1"}), row("b", 2, kind="y", owner="bob"), row("c", 3, state="failed")]
    )
    assert ids(journal.history(History(filter=wanted))[0]) == found


def test_a_page_has_one_more_so_that_it_is_known_whether_there_is_one(make):
    journal = make([row(str(number), number) for number in range(5)])
    assert len(journal.history(History(limit=3))[0]) == 4
    assert len(journal.history(History(limit=5))[0]) == 5


@pytest.mark.parametrize("cursor", ["", "x", "1", "-1:a", "²:a", "9" * 40 + ":a"])
def test_what_is_no_cursor_is_refused(make, cursor):
    journal = make([row("a")])
    if cursor == "1":
        assert journal.history(History(cursor=cursor))[0] == []
        return
    with pytest.raises(BadRequestError):
        journal.history(History(cursor=cursor))[0]


def _look(journal, limit, cursor):
    found, stopped_at = journal.history(History(limit=limit, cursor=cursor))
    return found, limit, stopped_at


def test_a_look_that_finds_nothing_stops_and_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr("rfm_runtime.store.journal.SCAN_LIMIT", 10)
    journal = filled(SqliteJournal(tmp_path / "journal.db"), [row(f"op-{number:03}", number) for number in range(35)])
    journal.close()
    wanted, looks, found = History(filter=OperationFilter(text="op-003"), limit=5), 0, []
    cursor = ""
    while cursor is not None:
        operations, stopped_at = journal.history(
            History(filter=wanted.filter, limit=5, cursor=cursor) if cursor else wanted
        )
        page = history_page(operations, 5, stopped_at)
        found += page.operations
        cursor, looks = page.cursor, looks + 1
    assert (ids(found), looks) == (["op-003"], 4)


@settings(max_examples=30, deadline=None)
@given(created=st.lists(st.integers(0, 5), max_size=12), limit=st.integers(1, 4))
def test_pages_are_the_whole_without_gap_or_repetition(tmp_path_factory, created, limit):
    rows = [row(f"op-{number:02}", at_ms) for number, at_ms in enumerate(created)]
    path = tmp_path_factory.mktemp("j") / "journal.db"
    for journal in (filled(MemoryJournal(), rows), filled(SqliteJournal(path), rows)):
        journal.close()
        whole = ids(journal.history(History(limit=500))[0])
        assert sorted(whole) == sorted(r.operation.operation_id for r in rows)
        paged, cursor = [], None
        while True:
            page = history_page(*_look(journal, limit, cursor))
            paged += ids(page.operations)
            cursor = page.cursor
            if cursor is None:
                break
        assert paged == whole


def test_a_page_is_without_what_makes_it_long():
    latest = ProgressUpdate(operation_id="a", rev=(1, 1), at_seq=1, measured_at_ms=0, done=1.0, details={"x": 1})
    operation = row("a", latest=latest).operation
    (shown,) = history_page([operation], 5).operations
    assert shown.latest.details is None
    assert shown.latest.done == 1.0
    assert cursor_after(operation) == "5:a"


def test_how_an_operation_went(make):
    performance = Performance(points=(Point(0, 1.0), Point(1000, 2.0, 0.5, 7, 9, 2)), total=2.0, unit="px", slots=2)
    events = [
        OperationEvent(seq=seq, ts_ms=9, type="operation_queued", operation_id=operation_id, state="queued")
        for seq, operation_id in ((1, "a"), (2, "b"), (3, "a"))
    ]
    journal = make([row("a"), row("b")], events, [("a", Performance()), ("a", performance)])
    past = journal.performance("a")
    assert (past.row, past.performance) == (row("a"), performance)
    assert [event.seq for event in past.events] == [1, 3]
    assert journal.performance("b").performance == Performance()
    assert journal.performance("nobody") is None


def test_a_new_broker_is_told_how_the_last_ones_went_oldest_first(tmp_path):
    rows = [row("a", ended_at_ms=9), row("b", ended_at_ms=7), row("c", state="failed", ended_at_ms=8)]
    series = [(name, Performance(total=float(number))) for number, name in enumerate("abc")]
    path = tmp_path / "journal.db"
    filled(SqliteJournal(path), rows, (), series).close()
    again = SqliteJournal(path)
    loaded = again.load(history_events=10, finished_keep=10)
    again.close()
    memory = filled(MemoryJournal(), rows, (), series).load(history_events=10, finished_keep=10)
    for past in (loaded.past, memory.past):
        assert [(kind, name, went.total) for kind, name, went in past] == [("k", "name b", 1.0), ("k", "name a", 0.0)]


def test_only_of_what_lives_it_is_loaded(tmp_path):
    performance = Performance(points=(Point(0, 1.0),))
    rows = [row("live", state="running"), row("over", ended_at_ms=7)]
    series = [("live", performance), ("over", performance)]
    path = tmp_path / "journal.db"
    filled(SqliteJournal(path), rows, (), series).close()
    again = SqliteJournal(path)
    assert again.load(history_events=10, finished_keep=10).performance == {"live": performance}
    again.close()
    memory = filled(MemoryJournal(), rows, (), series)
    assert memory.load(history_events=10, finished_keep=10).performance == {"live": performance}
