"""What `db` writes never takes the place of the journal that it reads."""

from __future__ import annotations

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
    assert "is the journal itself" in capsys.readouterr().err
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert run(["db", *command, str(tmp_path / "other"), "--state-dir", str(tmp_path)]) == 0
