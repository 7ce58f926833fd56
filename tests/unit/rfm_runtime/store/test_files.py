"""A file that cannot be trusted is refused, kept, and said what to do about; no empty one is begun in its place."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from rfm_runtime.config import folders, load
from rfm_runtime.core.operations.record import Batch, StoredOperation
from rfm_runtime.errors import JournalError, OutputExistsError
from rfm_runtime.protocol.history import History
from rfm_runtime.protocol.notifying import Rule, Rules, UserRules
from rfm_runtime.protocol.operation import Operation, OperationEvent
from rfm_runtime.store import files
from rfm_runtime.store.backup import backup, restore
from rfm_runtime.store.journal import SqliteJournal, open_journal
from rfm_runtime.store.look import looked_at
from rfm_runtime.testing.disk import CANNOT_MOUNT, can_mount, small_disk
from rfm_runtime.testing.runtime import eventually

GOLDEN = Path(__file__).parents[3] / "data" / "journals" / "schema-1.db"
LIMITS = {"history_events": 1000, "finished_keep": 1000}

pytestmark = pytest.mark.scenario("F11")


@pytest.fixture
def path(tmp_path):
    """A journal of this release, closed in order."""
    path = tmp_path / "journal.db"
    shutil.copy(GOLDEN, path)
    SqliteJournal(path).close()
    for beside in tmp_path.iterdir():
        if beside != path:
            beside.unlink()
    return path


def refused(path, what):
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    with pytest.raises(JournalError, match=what) as caught:
        SqliteJournal(path)
    after = {one.name: one.read_bytes() for one in path.parent.iterdir() if not one.name.endswith("-shm")}
    assert {name: after.get(name) for name in before} == before
    assert set(after) <= {*before, "journal.db-wal"}
    return caught.value


def tells_what_to_do(error):
    assert "db check" in error.hint
    assert "db restore" in error.hint
    assert "--new-journal" in error.hint


def test_cut_off_at_any_length_it_is_refused(path):
    whole = path.read_bytes()
    for size in (0, 1, 15, 16, 99, 100, 512, 4096, 4097, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        path.write_bytes(whole[:size])
        tells_what_to_do(refused(path, "is damaged"))


def test_a_header_of_zeros_is_refused(path):
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)
    path.write_bytes(content)
    tells_what_to_do(refused(path, "all zeros"))


def test_pages_with_flipped_bits_are_refused_or_do_no_harm(path):
    """Wherever they are: what opens gives every operation as it was, or says that a row cannot be read."""
    before = SqliteJournal(path)
    done = threading.Event()
    before.start(lambda *_: done.set(), lambda _: None)
    rule = Rule(
        rule_id="of-mine", name="what is mine has failed", when=("failed", "stalled"), kinds=("render.*", "copy")
    )
    many = Rules(rules=tuple(replace(rule, rule_id=f"rule-{number}") for number in range(12)))
    before.append(Batch(1, (), (), rules=tuple(UserRules(user=user, version=7, rules=many) for user in ("ann", "bob"))))
    assert done.wait(10)
    rows = {row.operation.operation_id: row for row in before.load(**LIMITS).rows}
    before.close()
    whole = path.read_bytes()
    chance = random.Random(11)
    refusals = 0
    for _ in range(120):
        content = bytearray(whole)
        page = chance.randrange(len(content) // 4096)
        # A sector of it, as a failing disk does.
        place = 4096 * page + 512 * chance.randrange(8)
        content[place : place + 512] = chance.randbytes(512)
        path.write_bytes(content)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        try:
            journal = SqliteJournal(path)
        except JournalError:
            refusals += 1
            assert path.read_bytes() == content
            continue
        try:
            found = {row.operation.operation_id for row in journal.load(**LIMITS).rows}
        except JournalError:
            refusals += 1
        else:
            assert found == set(rows)
        finally:
            journal.close()
    assert refusals > 60


def test_what_is_left_of_a_journal_that_is_gone_is_not_dropped(path):
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("UPDATE meta SET value = '7' WHERE key = 'incarnation'")
    writer.commit()
    wal = path.with_name("journal.db-wal")
    kept = wal.read_bytes()
    writer.close()
    path.unlink()
    wal.write_bytes(kept)
    tells_what_to_do(refused(path, "it is gone"))


def test_a_folder_in_its_place_is_refused(tmp_path):
    path = tmp_path / "journal.db"
    path.mkdir()
    with pytest.raises(JournalError, match="Is a directory"):
        SqliteJournal(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="file systems cannot be mounted here")
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_file_of_somebody_else_is_refused_and_says_whose_it_should_be(path, mode):
    for folder in path.parents:
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    path.parent.chmod(0o755)
    path.chmod(mode)
    program = (
        "import os, sys; from pathlib import Path; from rfm_runtime.store.files import check_header;"
        "from rfm_runtime.errors import JournalError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: check_header(Path(sys.argv[1]))\n"
        "except JournalError as error: print(error.message, error.hint)"
    )
    told = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True).stdout
    assert "Permission denied" in told
    assert "chown 65534" in told


def test_killed_while_it_is_made_there_is_none(tmp_path):
    path = tmp_path / "journal.db"
    (tmp_path / ".journal.db.new").write_bytes(b"half")
    SqliteJournal(path).close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["journal.db"]


def test_a_large_journal_is_served_before_it_is_looked_through_and_damage_is_said_then(path, monkeypatch):
    monkeypatch.setattr(files, "CHECKED_AT_ONCE_BYTES", 1000)
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'operations_owned'").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 * (page - 1) + 8 : 4096 * page] = bytes(4096 - 8)
    path.write_bytes(content)
    journal = SqliteJournal(path)
    loaded = journal.load(**LIMITS)
    failures, written = [], []
    journal.start(lambda number, _: written.append(number), failures.append)
    eventually(lambda: failures, what="damage is said")
    assert "damaged" in failures[0].reason
    # What runs can still say how it ended.
    assert failures[0].outcomes
    assert "db check" in failures[0].hint
    live = next(row for row in loaded.rows if row.operation.state == "running")
    journal.append(Batch(1, (live,), ()))
    eventually(lambda: written or len(failures) > 1, what="an outcome is written, or refused")
    journal.close()


def test_a_row_that_is_found_damaged_while_others_are_served_is_said_to_all(path):
    journal = SqliteJournal(path)
    failures = []
    journal.start(lambda *_: None, failures.append)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE operations SET row = x'c1c1' WHERE operation_id = 'op-bob'")
    connection.close()
    with pytest.raises(JournalError, match="damaged"):
        journal.history(History(since_ms=0, limit=100))
    assert "damaged" in failures[0].reason
    journal.close()
    with looked_at(path) as look:
        checked = look.check()
    assert any("op-bob" in one for one in checked.rows)


def test_set_aside_keeps_all_that_belongs_to_it(path, tmp_path):
    shown = tmp_path / "shown"
    shown.write_bytes(b"s")
    content = path.read_bytes()
    kept = files.set_aside(path, shown)
    again = files.set_aside(path, shown)
    assert again is None
    assert kept.read_bytes() == content
    assert kept.with_name("shown").read_bytes() == b"s"
    assert not path.exists()
    assert not shown.exists()


@pytest.mark.parametrize("name", ["a b", "a?b", "a#b", "a%20b", "a&mode=ro", "ä'b"])
def test_a_folder_may_have_any_name(tmp_path, name):
    path = tmp_path / name / "journal.db"
    path.parent.mkdir()
    SqliteJournal(path).close()
    backup(path, path.with_name("copy.db"))
    restore(path.with_name("copy.db"), path)
    with looked_at(path) as look:
        assert look.check().fine
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_journal_and_its_copies_are_for_their_user_alone_whatever_the_umask(path):
    fresh, copied = path.with_name("fresh.db"), path.with_name("copied.db")
    before = os.umask(0o022)
    try:
        journal = SqliteJournal(fresh)
        modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir() if one.name != path.name}
        journal.close()
        files.private(copied)
        assert copied.stat().st_mode & 0o777 == 0o600
        backup(path, copied, force=True)
    finally:
        os.umask(before)
    assert "fresh.db-wal" in modes
    assert set(modes.values()) == {0o600}
    assert copied.stat().st_mode & 0o777 == 0o600


def test_a_file_for_one_user_is_never_one_that_another_has_put_there(tmp_path):
    trap = tmp_path / "trap"
    trap.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot be made"):
        files.private(trap)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("link", [False, True])
def test_a_backup_never_takes_the_place_of_the_journal_that_it_copies(path, link):
    target = path
    if link:
        target = path.with_name("link.db")
        target.symlink_to(path)
    before, inode = path.read_bytes(), path.stat().st_ino
    with pytest.raises(OutputExistsError, match="is the journal itself"):
        backup(path, target, force=True)
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_killed_while_it_is_set_aside_it_is_whole_or_refused(path, monkeypatch, moved):
    journal = SqliteJournal(path)
    journal.load(**LIMITS)
    killed = path.parent / "killed"
    killed.mkdir()
    # What a broker that is killed leaves: the start's number is in the write-ahead log alone.
    for one in (path, path.with_name("journal.db-wal")):
        shutil.copy(one, killed)
    journal.close()
    left = killed / path.name
    (killed / "shown").touch()
    renames = iter([Path.rename] * moved)

    def killed_then(one, target):
        try:
            return next(renames)(one, target)
        except StopIteration:
            raise KeyboardInterrupt from None

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed_then)
        if moved < 3:
            with pytest.raises(KeyboardInterrupt):
                files.set_aside(left, killed / "shown")
        else:
            files.set_aside(left, killed / "shown")
    if moved < 2:
        with looked_at(left) as look:
            assert look.figures().incarnation == asked_incarnation(path)
    elif moved == 2:
        with pytest.raises(JournalError, match=r"it is gone, and journal\.db-wal"):
            SqliteJournal(left)
    else:
        assert not files.check_header(left)


def asked_incarnation(path):
    with looked_at(path) as look:
        return look.figures().incarnation


STEPS = ("link", "rename", "replace", "unlink", "mkdir", "fsync")


def killed_at(step, *arguments):
    """A child restores, and is killed before its n-th change to the folder; whether it came to that."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status)
    try:
        count = iter(range(1000))

        def counted(change):
            def changes(*given, **named):
                if next(count) == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*given, **named)

            return changes

        # `Path`'s methods are these, too.
        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        restore(*arguments)
    finally:
        os._exit(0)


def operations_of(path):
    """How many operations the journal has that is there. Raises JournalError."""
    with looked_at(path) as look:
        assert look.check().fine
        return sum(look.figures().operations.values())


def left_by_a_kill(path):
    """What a broker leaves that is killed: the newest operation is in the write-ahead log alone."""
    journal = SqliteJournal(path)
    done = []
    journal.start(lambda number, _: done.append(number), lambda _: None)
    seq = journal.load(**LIMITS).head + 1
    new = Operation(operation_id="new", kind="k", name="n", owner="ann", state="pending", at_seq=seq, created_at_ms=1)
    row = StoredOperation(operation=new, params={}, request_key="new", body_digest=b"")
    event = OperationEvent(seq=seq, ts_ms=1, type="operation_accepted", operation_id="new", state="pending")
    journal.append(Batch(1, (row,), (event,)))
    eventually(lambda: done == [1], what="it is written")
    away = path.parent / "away"
    away.mkdir()
    for one in (path, path.with_name("journal.db-wal")):
        shutil.copy(one, away)
    journal.close()
    for one in away.iterdir():
        one.replace(path.parent / one.name)
    away.rmdir()


class Restored:
    """A state folder with a journal of 22 operations, which a child restores to 21; `was` says how it was left."""

    def __init__(self, folder, path, was):
        folder.mkdir()
        self.journal, self.shown = folder / "journal.db", folder / "shown"
        for one in (path, path.with_name("journal.db-wal")):
            if one.exists():
                shutil.copy(one, folder)
        self.shown.write_bytes(b"bars")
        self.is_usable = was in ("stopped", "killed")
        if was == "damaged":
            with self.journal.open("r+b") as file:
                file.write(b"damaged " * 20)
        if was == "gone":
            self.journal.unlink()
        self.before = {one.name: one.read_bytes() for one in folder.iterdir()}
        self.was = was

    def is_new(self):
        """Whether the backup is in its place; what is there otherwise is what was, or refused as that was."""
        try:
            number = operations_of(self.journal)
        except JournalError:
            assert not self.is_usable
            with pytest.raises(JournalError, match="damaged"):
                SqliteJournal(self.journal)
            return False
        if number == 21:
            return True
        assert self.is_usable
        assert number == 22
        assert self.shown.exists()
        return False

    def kept(self):
        """All that was there is in a folder beside it, once it is replaced."""
        (shown,) = self.journal.parent.glob("journal-kept-*/shown")
        assert shown.read_bytes() == b"bars"
        kept = shown.with_name("journal.db")
        if self.is_usable:
            assert operations_of(kept) == 22
        else:
            names = {one.name for one in shown.parent.iterdir()}
            assert names == set(self.before)
            assert all(shown.with_name(name).read_bytes() == content for name, content in self.before.items())


@pytest.mark.scenario("J24")
@pytest.mark.parametrize("was", ["stopped", "killed", "damaged", "gone"])
def test_a_restore_that_is_killed_at_any_step_leaves_a_journal(path, tmp_path, was):
    copied = tmp_path / "copy.db"
    backup(path, copied)
    left_by_a_kill(path)
    if was == "stopped":
        SqliteJournal(path).close()
    steps, killed = [], True
    while killed:
        state = Restored(tmp_path / f"state-{len(steps)}", path, was)
        killed = killed_at(len(steps), copied, state.journal, state.shown)
        steps.append(state.is_new())
        if steps[-1]:
            state.kept()
        # Whatever was left, it can be done again.
        restore(copied, state.journal, state.shown)
        assert operations_of(state.journal) == 21
        assert not state.shown.exists()
        assert not list(state.journal.parent.glob(".*"))
    assert steps == sorted(steps)
    assert steps.count(False) > 5
    assert steps.count(True) > 2


def test_a_restore_that_was_interrupted_is_said_and_nothing_is_begun(path):
    files.placeholder(path)
    tells_what_to_do(refused(path, "a restore was interrupted; what was there before is in .*journal-kept-"))


def test_a_journal_that_somebody_has_open_is_not_replaced(path, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUSY_S", 0.1)
    backup(path, tmp_path / "copy.db")
    left_by_a_kill(path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM operations").fetchall()
        with pytest.raises(JournalError, match="somebody else has it open"):
            restore(tmp_path / "copy.db", path)
    assert operations_of(path) == 22
    assert not list(tmp_path.glob("journal-kept-*"))


def test_where_files_cannot_have_two_names_the_journal_before_is_copied(path, tmp_path, monkeypatch):
    backup(path, tmp_path / "copy.db")
    left_by_a_kill(path)

    def refuses(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuses)
    kept = restore(tmp_path / "copy.db", path)
    assert (operations_of(path), operations_of(kept)) == (21, 22)


def test_a_backup_is_restored_from_where_nothing_can_be_written(path, tmp_path):
    if not can_mount(tmp_path):
        pytest.skip(CANNOT_MOUNT)
    with small_disk(tmp_path / "disk", 1024 * 1024) as disk:
        backup(path, disk.path / "copy.db")
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        restore(disk.path / "copy.db", path)
    with looked_at(path) as look:
        assert sum(look.figures().operations.values()) == 21


@pytest.mark.scenario("J24")
def test_a_backup_that_contradicts_itself_takes_the_place_of_nothing(path, tmp_path):
    """Its pages are whole, and no broker could start from it."""
    copied = tmp_path / "copy.db"
    backup(path, copied)
    with closing(sqlite3.connect(copied)) as connection, connection:
        assert connection.execute("UPDATE operations SET row = CAST('x' AS BLOB)").rowcount > 0
    before = path.read_bytes()
    with pytest.raises(JournalError, match="cannot be restored") as caught:
        restore(copied, path)
    assert "choose another backup" in caught.value.hint
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*partial*"))


@pytest.mark.scenario("F11")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_while_it_is_written_is_said_and_nothing_is_lost_in_it(path, replaced):
    """SQLite alone would go on in a file without a name, and everything would look well until the next start."""
    journal = SqliteJournal(path)
    written, troubles = [], []
    journal.start(lambda number, _s: written.append(number), lambda trouble: troubles.append(trouble.reason))
    journal.append(Batch(1, (), ()))
    eventually(lambda: written == [1], what="the first is written")
    away = path.with_name("away.db")
    path.rename(away)
    if replaced:
        shutil.copy(away, path)
    journal.append(Batch(2, (), ()))
    eventually(lambda: troubles, what="it is said")
    assert "removed or replaced" in troubles[0]
    assert written == [1]
    away.replace(path)
    eventually(lambda: written == [1, 2], what="what waited is written")
    assert troubles[-1] is None
    journal.close()


def no_room(_path):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.scenario("F11")
@pytest.mark.parametrize("left", ["shown", "journal.reserve", "outcomes/program.last"])
def test_where_one_was_no_empty_one_is_begun(tmp_path, left):
    """Somebody has removed it, moved it, or not mounted its disk: nothing of it may be taken for never having been."""
    settings = load({"state_dir": str(tmp_path / "state")}, environ={"HOME": str(tmp_path)}).settings
    where = folders(settings)
    where.last_words.mkdir(parents=True)
    (where.state / left).write_bytes(b"x")
    with pytest.raises(JournalError, match="is gone") as caught:
        open_journal(settings)
    assert left in caught.value.message
    assert "put it back" in caught.value.hint
    assert "db restore" in caught.value.hint
    assert "--new-journal" in caught.value.hint
    assert not where.journal.exists()

    # Without room for an empty one nothing is moved.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "sync", no_room)
        where.journal.write_bytes(b"a journal that is to be kept")
        with pytest.raises(OSError, match="No space"):
            files.begin_anew(where.journal, where.shown)
    assert where.journal.read_bytes() == b"a journal that is to be kept"
    where.journal.unlink()
    # The way on: an empty one, which is there from then on.
    assert files.begin_anew(where.journal, where.shown) is None
    assert where.journal.exists()
    open_journal(settings).close()


@pytest.mark.scenario("F11")
def test_where_none_was_one_is_begun(tmp_path):
    settings = load({"state_dir": str(tmp_path / "state")}, environ={"HOME": str(tmp_path)}).settings
    where = folders(settings)
    where.last_words.mkdir(parents=True)
    open_journal(settings).close()
    open_journal(settings).close()
