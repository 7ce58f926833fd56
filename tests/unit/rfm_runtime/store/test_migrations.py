"""A journal of the first schema opens and is migrated; a migration that fails leaves it as it was, byte for byte."""

from __future__ import annotations

import resource
import select
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rfm_runtime.core.operations.record import Batch
from rfm_runtime.errors import JournalError
from rfm_runtime.protocol.notifying import Rule, Rules, UserRules
from rfm_runtime.protocol.revocation import Revocation
from rfm_runtime.store import schema
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.store.look import looked_at
from rfm_runtime.store.migrate import backup_of
from rfm_runtime.testing.disk import CANNOT_MOUNT, can_mount, small_disk

GOLDEN = Path(__file__).parents[3] / "data" / "journals" / "schema-1.db"
LIMITS = {"history_events": 1000, "finished_keep": 1000}

pytestmark = pytest.mark.scenario("D13")


@pytest.fixture
def old(tmp_path):
    """A journal of the first schema, in the place that it was always in, as far as it knows."""
    path = tmp_path / "journal.db"
    shutil.copy(GOLDEN, path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'inode'", (str(path.stat().st_ino),))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture
def newer(tmp_path):
    """A journal of the second schema."""
    path = tmp_path / "journal.db"
    shutil.copy(GOLDEN.with_name("schema-2.db"), path)
    return path


def asked(path, query):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def is_whole(path):
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]
    counts = asked(path, "SELECT (SELECT count(*) FROM operations), (SELECT count(*) FROM events)")
    assert counts == [(21, 81)]


def files_of(path):
    return sorted(one.name for one in path.parent.iterdir() if not one.name.endswith(("-shm", "-wal")))


def test_the_first_schema_opens_with_all_that_it_had_and_its_name(old):
    epoch = asked(old, "SELECT value FROM meta WHERE key = 'epoch'")[0][0]
    journal = SqliteJournal(old)
    loaded = journal.load(**LIMITS)
    journal.close()
    assert loaded.epoch == epoch
    assert (loaded.floor, loaded.head, len(loaded.rows), len(loaded.events)) == (0, 81, 21, 81)
    rows = {row.operation.operation_id: row for row in loaded.rows}
    assert rows["op-parent"].operation.name == "whole – größer"
    assert rows["op-parent"].params == {"x": [1, 2.5, "é"]}
    assert rows["op-running"].claim is not None
    assert rows["op-failed"].operation.error.code == "out_of_memory"
    assert {row.operation.state for row in rows.values()} == {
        *("completed", "failed", "canceled", "running", "paused", "queued")
    }
    assert asked(old, "SELECT operation_id, parent_id FROM operations WHERE parent_id IS NOT NULL ORDER BY 1") == [
        ("op-child-1", "op-parent"),
        ("op-child-2", "op-parent"),
    ]
    is_whole(old)


@pytest.mark.scenario("J56")
def test_the_second_schema_opens_with_all_that_it_had_and_tokens_can_be_revoked_in_it(newer):
    journal = SqliteJournal(newer)
    loaded = journal.load(**LIMITS)
    assert (loaded.head, len(loaded.rows), len(loaded.events), loaded.revocations) == (81, 21, 81, ())
    done = threading.Event()
    journal.start(lambda *_: done.set(), lambda _: None)
    revoked = Revocation(version=1, token_id="t-1", at_ms=5, by="root")
    journal.append(Batch(1, (), (), revocations=(revoked,)))
    assert done.wait(10)
    journal.close()
    is_whole(newer)
    assert asked(newer, "SELECT count(*) FROM performance") == [(16,)]
    assert asked(backup_of(newer, 2), "PRAGMA user_version") == [(2,)]
    again = SqliteJournal(newer)
    assert again.load(**LIMITS).revocations == (revoked,)
    again.close()


@pytest.mark.scenario("J118")
def test_the_third_schema_opens_with_what_was_revoked_and_users_can_have_rules_in_it(tmp_path):
    path = tmp_path / "journal.db"
    shutil.copy(GOLDEN.with_name("schema-3.db"), path)
    journal = SqliteJournal(path)
    loaded = journal.load(**LIMITS)
    assert (loaded.head, len(loaded.rows), len(loaded.events), loaded.rules) == (81, 21, 81, ())
    assert [entry.token_id for entry in loaded.revocations] == ["t-1"]
    done = threading.Event()
    journal.start(lambda *_: done.set(), lambda _: None)
    rules = UserRules(user="ann", version=5, rules=Rules(rules=(Rule(rule_id="mine", when=("failed",)),)))
    journal.append(Batch(1, (), (), rules=(rules,)))
    assert done.wait(10)
    journal.close()
    is_whole(path)
    assert asked(backup_of(path, 3), "PRAGMA user_version") == [(3,)]
    again = SqliteJournal(path)
    loaded = again.load(**LIMITS)
    assert (loaded.rules, [entry.token_id for entry in loaded.revocations]) == ((rules,), ["t-1"])
    again.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_journal_that_is_not_migrated_yet_is_looked_at_as_it_is(tmp_path, version):
    path = tmp_path / "journal.db"
    shutil.copy(GOLDEN.with_name(f"schema-{version}.db"), path)
    with looked_at(path) as look:
        assert look.figures().schema == version
        assert look.check().count == 0


def test_it_is_kept_as_it_was_beside_the_new_one_and_is_never_taken_for_it(old):
    epoch = asked(old, "SELECT value FROM meta WHERE key = 'epoch'")[0][0]
    SqliteJournal(old).close()
    kept = backup_of(old, 1)
    assert files_of(old) == ["journal.db", "journal.db.schema-1"]
    assert asked(kept, "PRAGMA user_version") == [(1,)]
    is_whole(kept)
    old.unlink()
    kept.rename(old)
    journal = SqliteJournal(old)
    assert journal.load(**LIMITS).epoch != epoch
    journal.close()


def test_a_migrated_file_has_the_schema_of_a_new_one(old, tmp_path):
    SqliteJournal(old).close()
    fresh = tmp_path / "fresh.db"
    SqliteJournal(fresh).close()
    for table in schema.metadata.tables:
        about = f"PRAGMA table_info({table})"
        assert asked(old, about) == asked(fresh, about)
        about = f"SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}') ORDER BY name"
        assert asked(old, about) == asked(fresh, about)
    indexes = (
        "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND tbl_name != 'alembic_version' ORDER BY 1"
    )
    assert asked(old, indexes) == asked(fresh, indexes)
    for pragma in ("user_version", "application_id", "auto_vacuum", "journal_mode"):
        assert asked(old, f"PRAGMA {pragma}") == asked(fresh, f"PRAGMA {pragma}")
    assert asked(old, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]


def test_what_a_killed_broker_left_in_the_log_beside_the_file_is_migrated_as_well(old, tmp_path):
    writer = sqlite3.connect(old)
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("UPDATE operations SET request_key = 'late' WHERE operation_id = 'op-bob'")
    writer.commit()
    killed = tmp_path / "killed" / "journal.db"
    killed.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(old.with_name(old.name + suffix), killed.with_name(killed.name + suffix))
    writer.close()
    assert killed.with_name("journal.db-wal").stat().st_size > 0
    SqliteJournal(killed).close()
    late = "SELECT operation_id FROM operations WHERE request_key = 'late'"
    assert asked(killed, late) == asked(backup_of(killed, 1), late) == [("op-bob",)]


def test_alembic_is_loaded_to_migrate_and_for_nothing_else(old):
    program = (
        "import sys; from pathlib import Path; from rfm_runtime.store.journal import SqliteJournal;"
        "SqliteJournal(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )

    def loads_it():
        command = [sys.executable, "-c", program, str(old)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert [loads_it(), loads_it()] == ["True", "False"]


# --- failures ---------------------------------------------------------------------------------


def test_without_room_it_says_how_much_is_needed_and_leaves_the_old_one(old, tmp_path):
    if not can_mount(tmp_path):
        pytest.skip(CANNOT_MOUNT)
    with small_disk(tmp_path / "disk", 224 * 1024) as disk:
        path = disk.path / "journal.db"
        shutil.copy(old, path)
        before = path.read_bytes()
        with pytest.raises(JournalError, match=f"schema 1 to {schema.SCHEMA_VERSION}") as caught:
            SqliteJournal(path)
        assert "make room" in caught.value.hint
        assert path.read_bytes() == before
        assert files_of(path) == ["journal.db"]
        is_whole(path)
        disk.resize(4 * 1024 * 1024)
        SqliteJournal(path).close()
        assert asked(path, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
        is_whole(path)


@pytest.mark.parametrize("limit_bytes", [0, 20_000, 60_000, 100_000])
def test_a_write_that_is_refused_leaves_the_old_one(old, limit_bytes, monkeypatch):
    # Half a compiled module would be left for every later test.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = old.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        with pytest.raises(JournalError):
            SqliteJournal(old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert old.read_bytes() == before
    assert files_of(old) == ["journal.db"]
    SqliteJournal(old).close()
    is_whole(old)


def test_a_row_that_nobody_can_read_leaves_the_old_one(old):
    with sqlite3.connect(old) as connection:
        connection.execute("UPDATE operations SET row = x'c1c1c1' WHERE operation_id = 'op-bob'")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = old.read_bytes()
    with pytest.raises(JournalError) as caught:
        SqliteJournal(old)
    assert "db check" in caught.value.hint
    assert old.read_bytes() == before
    assert files_of(old) == ["journal.db"]


@pytest.mark.integration
@pytest.mark.fault
def test_killed_at_any_moment_there_is_the_old_one_or_the_new_one(old, tmp_path):
    with sqlite3.connect(old) as connection:
        for number in range(300):
            connection.execute(
                "INSERT INTO operations SELECT operation_id || ?, state, kind, owner, request_key || ?, created_at_ms,"
                " ended_at_ms, row FROM operations WHERE operation_id NOT LIKE '%+%'",
                (f"+{number}", f"+{number}"),
            )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    program = (
        "import sys; from pathlib import Path; from rfm_runtime.store.migrate import migrate;"
        "print('begins', flush=True); migrate(Path(sys.argv[1])); print('done', flush=True); sys.stdin.read()"
    )
    source = old.read_bytes()
    ends = set()
    wait_s = 0.0
    while "new" not in ends:
        path = tmp_path / f"at-{wait_s:.3f}" / "journal.db"
        path.parent.mkdir()
        path.write_bytes(source)
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"begins\n"
            told = select.select([process.stdout], [], [], wait_s)[0]
            process.kill()
        version = asked(path, "PRAGMA user_version")[0][0]
        assert bool(told) <= (version == schema.SCHEMA_VERSION)
        assert version == schema.SCHEMA_VERSION or path.read_bytes() == source
        ends.add("new" if told else "old")
        assert asked(path, "SELECT count(*) FROM operations") == [(21 * 301,)]
        SqliteJournal(path).close()
        assert asked(path, "PRAGMA user_version; ") == [(schema.SCHEMA_VERSION,)]
        assert asked(path, "PRAGMA integrity_check") == [("ok",)]
        assert asked(path, "SELECT count(*) FROM operations") == [(21 * 301,)]
        assert {"journal.db", "journal.db.schema-1"} == set(files_of(path))
        wait_s += 0.08
    assert ends == {"old", "new"}
