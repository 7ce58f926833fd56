"""Every journal keeps the same promises; the SQLite one keeps them over restarts and refuses what is not its own."""

from __future__ import annotations

import queue
import sqlite3

import pytest

from rfm_runtime.core.operations.record import Batch, JournalFailed, StoredOperation
from rfm_runtime.errors import JournalError
from rfm_runtime.protocol.internal import Source
from rfm_runtime.protocol.notifying import Rule, Rules, UserRules
from rfm_runtime.protocol.operation import Operation, OperationEvent
from rfm_runtime.protocol.revocation import Revocation
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.store.memory import MemoryJournal
from rfm_runtime.store.schema import APPLICATION_ID

LIMITS = {"history_events": 1000, "finished_keep": 1000}
CLAIM = Source("engine-0", "host", "boot", 7, 1.5, 1)


def row(operation_id, state="queued", *, ended_at_ms=None, key=None, owner="ann"):
    operation = Operation(
        operation_id=operation_id,
        kind="k",
        name="n",
        owner=owner,
        state=state,
        at_seq=1,
        created_at_ms=5,
        ended_at_ms=ended_at_ms,
    )
    return StoredOperation(
        operation=operation,
        params={"x": [1, 2.5, "é"], "deep": {"b": b"\x00"}},
        request_key=key or f"key-{operation_id}",
        body_digest=b"d",
        claim=CLAIM,
        ended_by=("engine-0", 3),
    )


def event(seq, operation_id="a"):
    return OperationEvent(seq=seq, ts_ms=9, type="operation_queued", operation_id=operation_id, state="queued")


class Written:
    """Collects what the journal calls back with."""

    def __init__(self, journal):
        self.numbers: queue.Queue[int] = queue.Queue()
        self.failures: queue.Queue[JournalFailed] = queue.Queue()
        journal.start(lambda number, _: self.numbers.put(number), self.failures.put)

    def until(self, number):
        while self.numbers.get(timeout=10) < number:
            pass


class OneMemory:
    """A memory journal lives as long as its object: `open` gives the same one again."""

    def __init__(self):
        self.journal = MemoryJournal()

    def open(self):
        return self.journal


class OneFile:
    def __init__(self, path):
        self.path = path

    def open(self):
        return SqliteJournal(self.path)


@pytest.fixture(params=["memory", "sqlite"])
def place(request, tmp_path):
    return OneMemory() if request.param == "memory" else OneFile(tmp_path / "journal.db")


def put(journal, *batches):
    written = Written(journal)
    for batch in batches:
        journal.append(batch)
    written.until(batches[-1].number)


def test_a_new_journal_is_empty(place):
    journal = place.open()
    loaded = journal.load(**LIMITS)
    assert (loaded.head, loaded.floor, loaded.rows, loaded.events) == (0, 0, (), ())
    assert loaded.incarnation == 1
    assert loaded.epoch
    journal.close()


def test_what_was_written_is_there_again_with_the_same_epoch_and_a_higher_incarnation(place):
    journal = place.open()
    first = journal.load(**LIMITS)
    put(journal, Batch(1, (row("a"),), (event(1), event(2))), Batch(2, (row("b"),), (event(3, "b"),)))
    journal.close()

    again = place.open()
    loaded = again.load(**LIMITS)
    again.close()
    assert loaded.epoch == first.epoch
    assert loaded.incarnation == first.incarnation + 1
    assert loaded.rows == (row("a"), row("b"))
    assert loaded.events == (event(1), event(2), event(3, "b"))
    assert (loaded.floor, loaded.head) == (0, 3)


def test_the_last_row_of_an_operation_counts(place):
    journal = place.open()
    journal.load(**LIMITS)
    put(journal, Batch(1, (row("a"),), ()), Batch(2, (row("a", "completed", ended_at_ms=7),), ()))
    journal.close()
    again = place.open()
    assert again.load(**LIMITS).rows == (row("a", "completed", ended_at_ms=7),)
    again.close()


def test_only_the_newest_finished_operations_and_events_are_loaded_but_all_live_ones(place):
    journal = place.open()
    journal.load(**LIMITS)
    rows = [row(f"done-{i}", "completed", ended_at_ms=i) for i in range(5)] + [row("live-1"), row("live-2")]
    put(journal, Batch(1, tuple(rows), tuple(event(seq) for seq in range(1, 11))))
    journal.close()
    again = place.open()
    loaded = again.load(history_events=4, finished_keep=2)
    again.close()
    assert [r.operation.operation_id for r in loaded.rows] == ["done-3", "done-4", "live-1", "live-2"]
    assert [e.seq for e in loaded.events] == [7, 8, 9, 10]
    assert (loaded.floor, loaded.head) == (6, 10)


def test_every_batch_is_confirmed_in_order_even_an_empty_one(place):
    journal = place.open()
    journal.load(**LIMITS)
    written = Written(journal)
    for number in range(1, 51):
        journal.append(Batch(number, (), () if number % 5 else (event(number // 5),)))
    seen = []
    while not seen or seen[-1] < 50:
        seen.append(written.numbers.get(timeout=10))
    assert seen == sorted(set(seen))
    journal.close()


def test_closing_writes_what_was_appended(place):
    journal = place.open()
    journal.load(**LIMITS)
    Written(journal)
    for number in range(1, 101):
        journal.append(Batch(number, (row(f"op-{number}"),), (event(number),)))
    journal.close()
    journal.close()
    again = place.open()
    assert again.load(**LIMITS).head == 100
    again.close()


def test_operations_are_found_by_key_of_their_owner_and_by_id(place):
    journal = place.open()
    journal.load(**LIMITS)
    put(journal, Batch(1, (row("a", key="k1"), row("b", key="k1", owner="bob"), row("c"), row("d")), ()))

    def found(owner, keys, ids):
        return sorted(r.operation.operation_id for r in journal.find(owner, keys, ids))

    assert found("ann", ["k1"], []) == ["a"]
    assert found("ann", ["k1"], ["d", "nobody"]) == ["a", "d"]
    assert found("eve", ["k1"], []) == []
    journal.close()


# --- SQLite alone -----------------------------------------------------------------------------


def refused(path):
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        SqliteJournal(path)
    assert path.read_bytes() == before
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.scenario("F11")
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database" * 100)
    refused(path)


@pytest.mark.scenario("F11")
def test_a_truncated_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"SQLite format 3\0")
    refused(path)


@pytest.mark.scenario("F11")
def test_the_database_of_another_program_is_refused_and_kept(tmp_path):
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    assert "another program" in refused(path)


@pytest.mark.scenario("F11")
def test_damaged_pages_are_found_at_the_start(tmp_path):
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.load(**LIMITS)
    put(journal, Batch(1, tuple(row(f"op-{i}") for i in range(200)), tuple(event(i) for i in range(1, 200))))
    journal.close()
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096 - 1):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)
    refused(path)


@pytest.mark.scenario("D13")
def test_a_newer_schema_is_refused_and_named(tmp_path):
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    assert "99" in refused(path)


def test_a_new_journal_is_marked_as_ours_before_its_first_checkpoint(tmp_path):
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    # As after kill -9: nothing was closed, our number may stand in the WAL alone.
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            copy.with_name(copy.name + suffix).write_bytes(source.read_bytes())
    again = SqliteJournal(copy)
    assert again.load(**LIMITS).incarnation == 2
    again.close()
    journal.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


@pytest.mark.scenario("F7")
def test_while_it_cannot_be_written_it_says_why_and_goes_on_by_itself_afterwards(tmp_path):
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.load(**LIMITS)
    written = Written(journal)
    # A real refusal of SQLite: another process holds the lock for longer than its time-out.
    blocker = sqlite3.connect(path, timeout=0)
    blocker.execute("BEGIN IMMEDIATE")
    journal.append(Batch(1, (row("a"),), (event(1),)))
    assert written.failures.get(timeout=20).reason
    assert written.numbers.empty()
    blocker.rollback()
    blocker.close()
    assert written.failures.get(timeout=20).reason is None
    written.until(1)
    journal.close()
    again = SqliteJournal(path)
    assert again.load(**LIMITS).head == 1
    again.close()


def test_ten_thousand_operations_take_few_statements_and_load_completely(tmp_path):
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.load(**LIMITS)
    rows = tuple(row(f"op-{i:05}", "completed" if i % 2 else "queued", ended_at_ms=i) for i in range(10_000))
    put(journal, Batch(1, rows, tuple(event(i) for i in range(1, 10_001))))
    journal.close()
    again = SqliteJournal(path)
    loaded = again.load(history_events=10_000, finished_keep=10_000)
    again.close()
    assert len(loaded.rows) == 10_000
    assert len(loaded.events) == 10_000


@pytest.mark.scenario("J56")
def test_revoked_tokens_are_kept_as_they_were_last_and_forgotten_when_told(place):
    def revoked(version, token_id="t", **fields):
        return Revocation(version=version, token_id=token_id, **fields)

    journal = place.open()
    put(
        journal,
        Batch(1, (), (), revocations=(revoked(1), revoked(2, "u", expires_at_ms=9))),
        # Of one commit, in their order.
        Batch(2, (), (), unrevoked=("token:u",)),
        Batch(3, (), (), revocations=(revoked(3, reason="lost"), revoked(4, "u"), revoked(5, "", user="ann"))),
        Batch(4, (), (), unrevoked=("token:nobody",)),
    )
    journal.close()
    again = place.open()
    loaded = again.load(**LIMITS)
    again.close()
    expected = [revoked(3, reason="lost"), revoked(4, "u"), revoked(5, "", user="ann")]
    assert sorted(loaded.revocations, key=lambda entry: entry.version) == expected


@pytest.mark.scenario("J118")
def test_rules_are_kept_as_they_were_last_and_forgotten_when_told(place):
    def rules(version, user="ann", word="x"):
        return UserRules(user=user, version=version, rules=Rules(rules=(Rule(rule_id=word, when=("failed",)),)))

    journal = place.open()
    put(
        journal,
        Batch(1, (), (), rules=(rules(1), rules(2, "bob"))),
        Batch(2, (), (), rules=(rules(3, word="y"), UserRules(user="bob", version=4))),
        Batch(3, (), (), rules=(rules(5, "eve"), UserRules(user="nobody", version=6))),
    )
    journal.close()
    again = place.open()
    loaded = again.load(**LIMITS)
    again.close()
    assert sorted(loaded.rules, key=lambda entry: entry.version) == [rules(3, word="y"), rules(5, "eve")]
