"""What was shown outlives the process, whenever it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.protocol.limits import ID_LIMIT
from rfm_runtime.store.shown import FIRST_ENTRIES, Shown

PROGRAM = """
import os, sys
from pathlib import Path
from rfm_runtime.store.shown import Shown
shown = Shown(Path(sys.argv[1]), "log")
for number in range(100_000):
    shown.put(f"op-{number % 300}", float(number))
    if number == 90_000:
        print("now", flush=True)
        os.kill(os.getpid(), 9)
"""


def before(path: Path, epoch: str = "log") -> dict[str, float]:
    shown = Shown(path, epoch)
    shown.close()
    return shown.before


@pytest.mark.scenario("F2")
def test_a_killed_process_leaves_the_newest_of_each(tmp_path: Path) -> None:
    path = tmp_path / "shown"
    subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=False, capture_output=True)
    assert before(path) == {f"op-{number % 300}": float(number) for number in range(90_001 - 300, 90_001)}


def test_what_has_ended_is_gone_and_its_place_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "shown"
    shown = Shown(path, "log")
    size = path.stat().st_size
    for number in range(5 * FIRST_ENTRIES):
        shown.put(f"op-{number}", 1.0)
        shown.drop(f"op-{number}")
    shown.drop("never")
    shown.put("last", 2.0)
    shown.close()
    assert before(path) == {"last": 2.0}
    assert path.stat().st_size == size


def test_the_newest_event_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "shown"
    shown = Shown(path, "log")
    assert shown.head == 0
    shown.head = 2**40
    shown.put("op", 1.0)
    shown.close()
    again = Shown(path, "log")
    assert (again.head, again.before) == (2**40, {"op": 1.0})
    again.close()
    other = Shown(path, "other")
    assert other.head == 0
    other.close()


def test_another_log_begins_with_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shown"
    shown = Shown(path, "log")
    shown.put("op", 5.0)
    shown.close()
    assert before(path, "other") == {}
    assert before(path) == {}


@pytest.mark.parametrize("content", [b"", b"x", b"rfmshow1", bytes(1000), b"\xff" * 40_000])
def test_a_file_that_is_none_begins_with_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shown"
    path.write_bytes(content)
    assert before(path) == {}


def test_it_is_private(tmp_path: Path) -> None:
    before(tmp_path / "shown")
    assert (tmp_path / "shown").stat().st_mode & 0o777 == 0o600


ids = st.text("abcXYZ09-_.:@", min_size=1, max_size=ID_LIMIT)


@given(st.lists(st.tuples(ids, st.none() | st.floats(0.0, 1e18)), max_size=40))
def test_it_says_what_a_dictionary_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float | None]]
) -> None:
    path = tmp_path_factory.mktemp("shown") / "shown"
    known: dict[str, float] = {}
    shown = Shown(path, "log")
    for operation_id, done in steps:
        if done is None:
            shown.drop(operation_id)
            known.pop(operation_id, None)
        else:
            shown.put(operation_id, done)
            known[operation_id] = done
    shown.close()
    assert before(path) == known
