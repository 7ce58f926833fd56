"""What ended long ago leaves the journal in small steps, and nobody who resumes misses anything because of it."""

from __future__ import annotations

import sqlite3
import time

import pytest

from rfm_runtime.core.operations.log import Log
from rfm_runtime.core.operations.record import Batch, StoredOperation
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.operation import Operation, OperationEvent
from rfm_runtime.store import retention
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.store.memory import MemoryJournal
from rfm_runtime.store.retention import Retention
from rfm_runtime.store.schema import write_batches
from rfm_runtime.testing.runtime import eventually

LIMITS = {"history_events": 1000, "finished_keep": 1000}
YEAR_S = 365 * 86_400.0


def now_ms():
    return time.time_ns() // 1_000_000


def row(operation_id, *, ended_at_ms=None, parent_id=None, padding=0):
    operation = Operation(
        operation_id=operation_id,
        kind="k",
        name="n",
        owner="ann",
        state="running" if ended_at_ms is None else "completed",
        at_seq=1,
        created_at_ms=now_ms() if ended_at_ms is None else ended_at_ms,
        ended_at_ms=ended_at_ms,
        parent_id=parent_id,
    )
    return StoredOperation(
        operation=operation, params={"p": "x" * padding}, request_key=f"key-{operation_id}", body_digest=b"d"
    )


def event(seq, operation_id):
    return OperationEvent(seq=seq, ts_ms=9, type="operation_queued", operation_id=operation_id, state="queued")


class Filled:
    """A journal that is open; `ids` says what is in it, as another connection sees it."""

    def __init__(self, path, batches, **kept):
        self.path = path
        first = SqliteJournal(path)
        self.epoch = first.load(**LIMITS).epoch
        first.start(lambda *_: None, lambda _: None)
        for number, (rows, events) in enumerate(batches, 1):
            first.append(
                Batch(
                    number, tuple(rows), tuple(events), tuple((r.operation.operation_id, Performance()) for r in rows)
                )
            )
        first.close()
        self.journal = SqliteJournal(path, retention=Retention(**kept))
        self.written = []
        self.failures = []
        self.journal.start(lambda number, _: self.written.append(number), self.failures.append)

    def until(self, number):
        eventually(lambda: self.written and self.written[-1] == number, what="the commit")

    def look(self, query):
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def ids(self):
        return {found for (found,) in self.look("SELECT operation_id FROM operations")}

    def reopened(self):
        self.journal.close()
        again = SqliteJournal(self.path)
        loaded = again.load(**LIMITS)
        again.close()
        return loaded


@pytest.mark.scenario("J23")
def test_what_ended_before_the_time_goes_with_all_that_was_written_of_it_and_the_rest_stays(tmp_path):
    old, new = now_ms() - 7_200_000, now_ms()
    rows = [row("old-1", ended_at_ms=old), row("old-2", ended_at_ms=old), row("new", ended_at_ms=new), row("live")]
    events = [
        event(1, "old-1"),
        event(2, "live"),
        event(3, "old-2"),
        event(4, "old-1"),
        event(5, "new"),
        event(6, "live"),
    ]
    filled = Filled(tmp_path / "j.db", [(rows, events)], keep_s=3600.0, operations=1000)
    eventually(lambda: filled.ids() == {"new", "live"}, what="the old ones are gone")
    assert filled.look("SELECT count(*) FROM events WHERE operation_id LIKE 'old%'") == [(0,)]
    assert filled.look("SELECT operation_id FROM performance ORDER BY 1") == [("live",), ("new",)]
    assert filled.journal.performance("old-1") is None
    filled.journal.close()


@pytest.mark.scenario("J23")
def test_the_newest_are_kept_by_number_whatever_their_age(tmp_path):
    rows = [row(f"op-{i:03}", ended_at_ms=now_ms() - 1000 + i) for i in range(180)] + [row("live")]
    filled = Filled(tmp_path / "j.db", [(rows, ())], keep_s=YEAR_S, operations=30)
    kept = {f"op-{i:03}" for i in range(150, 180)} | {"live"}
    eventually(lambda: filled.ids() == kept, what="the newest are left")
    filled.journal.close()


@pytest.mark.scenario("J23")
def test_children_go_before_their_parents_and_a_parent_of_something_alive_stays(tmp_path):
    old = now_ms() - 7_200_000
    rows = [
        row("parent", ended_at_ms=old),
        row("child", ended_at_ms=old + 1, parent_id="parent"),
        row("grandchild", ended_at_ms=old + 2, parent_id="child"),
        row("kept", ended_at_ms=old),
        row("alive", parent_id="kept"),
    ]
    filled = Filled(tmp_path / "j.db", [(rows, ())], keep_s=3600.0, operations=1000)
    eventually(lambda: filled.ids() == {"kept", "alive"}, what="the family is gone")
    filled.journal.close()


@pytest.mark.scenario("J23")
def test_after_a_hole_in_the_log_nobody_resumes_before_it(tmp_path):
    """Watchers that were there before it get a snapshot; numbers are never given twice."""
    old = now_ms() - 7_200_000
    rows = [row("long"), row("old", ended_at_ms=old)]
    events = [event(1, "long"), event(2, "old"), event(3, "long"), event(4, "old"), event(5, "long"), event(6, "long")]
    filled = Filled(tmp_path / "j.db", [(rows, events)], keep_s=3600.0, operations=1000)
    eventually(lambda: filled.ids() == {"long"}, what="the old one is gone")
    loaded = filled.reopened()
    assert loaded.epoch == filled.epoch
    assert (loaded.floor, loaded.head) == (4, 6)
    log = Log(loaded, 1000)
    assert [log.since(seq) is None for seq in range(8)] == [True] * 4 + [False] * 3 + [True]
    assert [e.seq for e in log.since(4)] == [5, 6]


@pytest.mark.scenario("J23")
def test_when_everything_is_forgotten_the_log_goes_on_after_its_last_number(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "LOOK_EVERY_S", 0.05)
    old = now_ms()
    filled = Filled(
        tmp_path / "j.db",
        [([row("a", ended_at_ms=old), row("b", ended_at_ms=old)], [event(1, "a"), event(2, "b"), event(3, "a")])],
        keep_s=0.2,
        operations=1000,
    )
    eventually(lambda: not filled.ids(), what="all are gone")
    loaded = filled.reopened()
    assert (loaded.floor, loaded.head, loaded.events) == (3, 3, ())
    assert Log(loaded, 10).next_seq() == 4


@pytest.mark.scenario("J23")
def test_the_file_shrinks_and_commits_do_not_wait_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "SLACK_PAGES", 32)
    old = now_ms() - 7_200_000
    rows = [row("live")] + [row(f"op-{i:04}", ended_at_ms=old, padding=8000) for i in range(1500)]
    filled = Filled(tmp_path / "j.db", [(rows, ())], keep_s=3600.0, operations=1000)
    before = filled.path.stat().st_size
    assert before > 12_000_000
    number = 0
    while filled.ids():
        number += 1
        filled.journal.append(Batch(number, (row("live"),), (event(number, "live"),)))
        filled.until(number)
        if filled.ids() == {"live"}:
            break
    # Forgetting went on between commits, and never took all of it at once.
    assert number > 3
    eventually(lambda: filled.look("PRAGMA freelist_count")[0][0] <= 64, what="free pages are given back")
    filled.journal.close()
    assert filled.path.stat().st_size < before / 10
    assert not filled.failures


class Clock:
    """The wall clock and the monotonic one."""

    def __init__(self, monkeypatch, at_s):
        self.wall_s, self.mono_s = at_s, 1000.0
        monkeypatch.setattr(time, "time", lambda: self.wall_s)
        monkeypatch.setattr(time, "monotonic", lambda: self.mono_s)

    def passes(self, seconds):
        self.wall_s += seconds
        self.mono_s += seconds


DAY_S = 86_400.0


class Shelf:
    """A journal whose chores are done by hand, in processes that begin and end."""

    def __init__(self, path, monkeypatch, *, keep_s):
        self.path, self.keep_s = path, keep_s
        self.clock = Clock(monkeypatch, time.time())
        self.journal = self.chores = None
        self.start()

    def start(self):
        """A new process."""
        if self.journal is not None:
            self.journal._engine.dispose()
        self.journal = SqliteJournal(self.path, retention=Retention(self.keep_s, 1000))
        self.chores = self.journal._writer._chores

    def put(self, *rows):
        with self.journal._engine.begin() as connection:
            write_batches(connection, [Batch(1, rows, ())])

    def ends(self, operation_id):
        self.put(row(operation_id, ended_at_ms=int(1000 * self.clock.wall_s)))

    def runs(self, seconds, step_s=60.0):
        """Looks as often as the writer does."""
        for _ in range(round(seconds / step_s)):
            self.clock.passes(step_s)
            self.look()

    def look(self):
        with self.journal._engine.connect() as connection:
            self.chores.step(connection, busy=False)

    @property
    def ids(self):
        look = sqlite3.connect(self.path)
        try:
            return {found for (found,) in look.execute("SELECT operation_id FROM operations")}
        finally:
            look.close()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path / "j.db", monkeypatch, keep_s=30 * DAY_S)
    yield shelf
    shelf.journal._engine.dispose()


@pytest.mark.scenario("J23")
def test_a_start_with_a_clock_years_ahead_makes_nothing_old_nor_does_the_next_one(shelf):
    shelf.put(row("old", ended_at_ms=int(1000 * (shelf.clock.wall_s - 31 * DAY_S))))
    shelf.ends("new")
    shelf.clock.wall_s += 10 * YEAR_S
    shelf.start()
    # What is written by the wrong clock says nothing of the right one.
    shelf.ends("written with it")
    shelf.runs(1800.0)
    assert shelf.ids == {"new", "written with it"}
    shelf.start()
    shelf.runs(1800.0)
    assert shelf.ids == {"new", "written with it"}
    shelf.clock.wall_s -= 10 * YEAR_S
    shelf.start()
    shelf.runs(1800.0)
    assert shelf.ids == {"new", "written with it"}


@pytest.mark.scenario("J23")
def test_after_a_month_of_being_off_what_is_old_goes_within_days(shelf):
    shelf.ends("before")
    shelf.look()
    shelf.clock.wall_s += 31 * DAY_S
    shelf.start()
    shelf.runs(DAY_S, step_s=600.0)
    assert shelf.ids == {"before"}
    shelf.start()
    shelf.runs(DAY_S, step_s=600.0)
    assert not shelf.ids


def test_a_clock_that_is_set_ahead_while_it_runs_makes_nothing_old(shelf):
    shelf.put(row("old", ended_at_ms=int(1000 * (shelf.clock.wall_s - 31 * DAY_S))))
    shelf.ends("new")
    shelf.start()
    shelf.clock.wall_s += 10 * YEAR_S
    shelf.look()
    assert shelf.ids == {"new"}


def test_the_log_beside_the_file_is_cut_back_when_a_long_reader_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "WAL_LIMIT_BYTES", 1_000_000)
    monkeypatch.setattr(retention, "LOOK_EVERY_S", 0.05)
    filled = Filled(tmp_path / "j.db", [([row("a")], ())], keep_s=YEAR_S, operations=1000)
    wal = filled.path.with_name("j.db-wal")
    reader = sqlite3.connect(filled.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM operations").fetchall()
    number = 0
    while wal.stat().st_size < 3_000_000:
        number += 1
        filled.journal.append(Batch(number, (row("a", padding=50_000),), ()))
        filled.until(number)
    reader.rollback()
    reader.close()
    eventually(lambda: wal.stat().st_size < 1_000_000, what="it is cut back")
    filled.journal.close()


@pytest.mark.scenario("J23")
def test_a_journal_in_memory_is_bounded_as_well():
    journal = MemoryJournal(operations=20)
    journal.start(lambda *_: None, lambda _: None)
    seq = 0
    journal.append(Batch(1, (row("parent", ended_at_ms=1), row("alive", parent_id="parent")), ()))
    for number in range(200):
        rows = (row(f"op-{number:03}", ended_at_ms=number + 2),)
        journal.append(Batch(number + 2, rows, (event(seq + 1, f"op-{number:03}"), event(seq + 2, "alive"))))
        seq += 2
    loaded = journal.load(**LIMITS)
    kept = {r.operation.operation_id for r in loaded.rows}
    assert {"parent", "alive", "op-199", "op-185"} <= kept
    assert len(kept) <= 24
    assert loaded.head == 400
    assert [e.seq for e in loaded.events] == list(range(loaded.floor + 1, 401))
