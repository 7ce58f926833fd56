"""What `doctor` says of a journal is what a broker would say that opens it, and nothing is written."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rfm_runtime import config
from rfm_runtime.cli.app import run
from rfm_runtime.errors import JournalError
from rfm_runtime.store.journal import open_journal

GOLDEN = Path(__file__).parents[3] / "data" / "journals" / "schema-1.db"
LIMITS = {"history_events": 1000, "finished_keep": 1000}

pytestmark = pytest.mark.scenario("F11")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that a runtime has used, and nobody uses now."""
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(GOLDEN, folder / "journal.db")
    monkeypatch.setenv("RFM_STATE_DIR", str(folder))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("RFM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RFM_PORT", "0")
    open_journal(config.load().settings).close()
    return folder


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str | bool]:
    """What it says of the journal."""
    capsys.readouterr()
    run(["doctor", "--json"])
    (found,) = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["what"] == "journal"]
    return dict(found)


def damaged_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096 - 1):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)


def damaged_rows(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("UPDATE operations SET row = x'c1c1'").rowcount > 0


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [damaged_pages, damaged_rows, newer, gone])
def test_what_no_broker_would_open_is_not_called_well(
    state: Path, capsys: pytest.CaptureFixture[str], harm: object
) -> None:
    assert callable(harm)
    assert told(capsys)["fine"]
    path = state / "journal.db"
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    harm(path)
    before = {one.name: one.read_bytes() for one in state.iterdir() if not one.name.endswith("-shm")}
    found = told(capsys)
    assert not found["fine"]
    after = {one.name: one.read_bytes() for one in state.iterdir() if not one.name.endswith("-shm")}
    assert {name: content for name, content in after.items() if content} == before
    with pytest.raises(JournalError) as caught:
        open_journal(config.load().settings).load(**LIMITS)
    assert found["detail"] == caught.value.message
    assert found["todo"] == caught.value.hint
    assert "`" in str(found["todo"]) or "release" in str(found["todo"])


def test_without_a_journal_there_is_nothing_to_say(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(state)
    assert told(capsys)["detail"] == "none yet"
