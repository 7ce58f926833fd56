"""What `db` writes never takes the place of the journal that it reads; what it refuses it says with what to do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rfm_runtime.cli.app import run
from rfm_runtime.store.journal import SqliteJournal


@pytest.mark.scenario("F11")
@pytest.mark.parametrize("command", [["export", "-o"], ["backup"]])
def test_the_journal_is_no_place_to_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    before, inode = path.read_bytes(), path.stat().st_ino
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert run(["db", *command, str(path), "--force", "--state-dir", str(tmp_path)]) != 0
    assert "lives on" in capsys.readouterr().err
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert run(["db", *command, str(tmp_path / "other"), "--state-dir", str(tmp_path)]) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """What the command says, and what to do."""
    assert run(["db", *arguments]) in (1, 2)
    what, hint = capsys.readouterr().err.splitlines()
    return what, hint


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a journal that nobody uses."""
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "runtime"))
    folder = tmp_path / "state"
    folder.mkdir()
    SqliteJournal(folder / "journal.db").close()
    return folder


@pytest.mark.scenario("J24")
@pytest.mark.parametrize("command", [["status"], ["check"], ["backup"], ["migrate"], ["restore", "x"], ["export"]])
def test_a_folder_that_is_not_there_is_said_to_be_mistyped(
    state: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    what, hint = refused(capsys, *command, "--state-dir", f"{state}s")
    assert f"there is no folder {state}s, which --state-dir names" in what
    assert "correct the name" in hint
    assert not Path(f"{state}s").exists()


@pytest.mark.scenario("J24")
def test_a_backup_to_check_that_is_not_there_is_said(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what, hint = refused(capsys, "check", str(tmp_path / "copy.db"), "--state-dir", str(state))
    assert f"there is no file {tmp_path / 'copy.db'}" in what
    assert "name a backup" in hint


@pytest.mark.scenario("J24")
def test_a_backup_that_exists_is_said_without_an_option_that_is_none(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "copy.db"
    there.write_bytes(b"mine")
    _, hint = refused(capsys, "backup", str(there), "--state-dir", str(state))
    assert "--force" in hint
    assert " -o" not in hint


@pytest.mark.scenario("J24")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "it is empty"),
        (b"a letter to my mother" * 30, "it is no SQLite file"),
        ("sqlite", "the database of another program"),
        ("folder", "is a directory"),
    ],
)
def test_what_is_no_backup_is_not_restored_and_not_called_a_damaged_journal(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | str | None, said: str
) -> None:
    source = tmp_path / "source"
    if content == "sqlite":
        with closing(sqlite3.connect(source)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    elif content == "folder":
        source.mkdir()
    elif isinstance(content, bytes):
        source.write_bytes(content)
    before = (state / "journal.db").read_bytes()
    what, hint = refused(capsys, "restore", str(source), "--state-dir", str(state))
    assert f"{source} is no backup: " in what
    assert said in what
    assert "damaged" not in what
    assert "`rfm-runtime db backup` has written" in hint
    assert (state / "journal.db").read_bytes() == before


@pytest.mark.scenario("J24")
def test_what_is_given_out_has_one_format(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what, hint = refused(capsys, "export", "--format", "csv", "--json", "--state-dir", str(state))
    assert "--json and --format csv" in what
    assert "one of them" in hint
    for options in (["--json"], ["--format", "jsonl", "--json"], ["--format", "csv"], []):
        assert run(["db", "export", *options, "--state-dir", str(state)]) == 0
