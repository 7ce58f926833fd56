"""What commands write never takes the place of what a runtime lives on, whatever was forced."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.cli.app import run
from rfm_runtime.store.journal import SqliteJournal

pytestmark = pytest.mark.scenario("I4")

VIEW = ["--re=0", "--im=0", "--width=3", "--size=32x32"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a journal, which a runtime may be started on at any time."""
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("RFM_STATE_DIR", str(folder))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "run"))
    SqliteJournal(folder / "journal.db").close()
    (folder / "shown").write_bytes(b"shown")
    return folder


@pytest.mark.parametrize("name", ["journal.db", "shown"])
@pytest.mark.parametrize(
    "command",
    [
        ["report", "--format", "json", "-o"],
        ["render", *VIEW, "-o"],
        ["fetch", "X", "-o"],
        ["chaos", "--report"],
        ["db", "export", "-o"],
    ],
)
def test_what_a_runtime_lives_on_is_never_replaced(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, command: list[str]
) -> None:
    # Under the name of a picture too: a link leads there, and what it leads to is what would be replaced.
    link = tmp_path / "picture.png"
    link.symlink_to(state / name)
    before = (state / name).read_bytes()
    assert run([*command, str(link), "--force"]) == 2
    said = capsys.readouterr().err
    assert (state / name).read_bytes() == before
    assert "lives on" in said
    assert "name another file" in said


@pytest.mark.parametrize("name", ["shown", "journal.reserve", "outcomes/program.last", "journal.db"])
@pytest.mark.parametrize("command", [["db", "backup"], ["db", "export", "-o"]])
def test_nor_what_another_runtime_lives_on_that_is_named(
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    command: list[str],
) -> None:
    monkeypatch.setenv("RFM_STATE_DIR", str(tmp_path / "elsewhere"))
    (state / "outcomes").mkdir()
    if name != "journal.db":
        (state / name).write_bytes(b"what it lives on")
    before = (state / name).read_bytes()
    assert run([*command, str(state / name), "--force", "--state-dir", str(state)]) == 2
    assert "name another file" in capsys.readouterr().err
    assert (state / name).read_bytes() == before
