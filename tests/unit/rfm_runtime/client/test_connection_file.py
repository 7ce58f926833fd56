"""The connection file: private, whole, and believed only while its runtime lives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.errors import NoRuntimeError, SetupError
from rfm_runtime.observe.alive import start_time_s


def info(pid: int | None = None, start_time: float | None = None) -> ConnectionInfo:
    pid = os.getpid() if pid is None else pid
    return ConnectionInfo(
        url="ws://127.0.0.1:8765/",
        token="s3cret",
        pid=pid,
        start_time=start_time_s(pid) or 0.0 if start_time is None else start_time,
        version="0.1",
        state_dir="/s",
    )


def test_what_is_written_is_read_and_nobody_else_may(tmp_path: Path) -> None:
    path = tmp_path / "connection.json"
    path.write_text("of an earlier runtime")
    path.chmod(0o644)
    info().write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert ConnectionInfo.read(path) == info()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777, 0o610])
def test_a_file_that_others_can_open_is_refused_with_what_to_do_and_without_its_token(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "connection.json"
    info().write(path)
    path.chmod(mode)
    with pytest.raises(SetupError, match="can be read by others") as caught:
        ConnectionInfo.read(path)
    assert str(path) in (caught.value.hint or "")
    assert "s3cret" not in caught.value.message + (caught.value.hint or "")


def test_without_a_file_nothing_runs_here(tmp_path: Path) -> None:
    with pytest.raises(NoRuntimeError, match="does not exist"):
        ConnectionInfo.read(tmp_path / "connection.json")


def test_the_file_of_a_runtime_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    path = tmp_path / "connection.json"
    info(ended.pid).write(path)
    with pytest.raises(NoRuntimeError, match=rf"pid {ended.pid}\) is gone") as caught:
        ConnectionInfo.read(path)
    assert caught.value.hint


def test_a_process_of_somebody_else_runs(tmp_path: Path) -> None:
    # Process 1 always is; where this is run without rights over it, asking gives PermissionError.
    path = tmp_path / "connection.json"
    info(1).write(path)
    assert ConnectionInfo.read(path).pid == 1


def test_a_number_that_another_process_has_now_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "connection.json"
    info(start_time=1.5).write(path)
    with pytest.raises(NoRuntimeError, match="is gone"):
        ConnectionInfo.read(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runtime") / "connection.json"
    path.touch(0o600)
    return path


WHOLE = msgspec.json.encode(info())


@given(
    st.binary(max_size=100)
    | st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3)).map(
        lambda change: WHOLE[: change[0]] + change[1]
    )
)
def test_anything_else_in_the_file_is_no_runtime(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    with pytest.raises(NoRuntimeError):
        ConnectionInfo.read(place)


@pytest.mark.parametrize("pid", [0, -1, 2**31, 10**30, 1.5, "1", None])
def test_a_number_that_no_process_has_is_no_runtime(place: Path, pid: object) -> None:
    place.write_bytes(msgspec.json.encode(msgspec.structs.asdict(info()) | {"pid": msgspec.Raw(repr(pid).encode())}))
    with pytest.raises(NoRuntimeError):
        ConnectionInfo.read(place)
