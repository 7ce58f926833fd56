"""The runtime's folders: private, one owner, a taken port names its holder."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from rfm_runtime import config
from rfm_runtime.app.folders import claim, listen, prepare, remove_run_files
from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import AlreadyRunningError, PortTakenError, SetupError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # Short: paths of sockets have a limit, and pytest's own folder may be deep.
    options = {name: str(tmp_path / name[0]) for name in ("state_dir", "runtime_dir", "cache_dir")}
    return config.load({**options, "port": 0}, environ={}).settings


def test_folders_are_private(settings: Settings) -> None:
    where = folders(settings)
    prepare(where)
    assert stat.S_IMODE(where.runtime.stat().st_mode) == 0o700
    where.runtime.chmod(0o755)
    prepare(where)
    assert stat.S_IMODE(where.runtime.stat().st_mode) == 0o700


@pytest.mark.scenario("I8")
def test_a_folder_that_cannot_be_made_is_a_clear_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file is in the way")
    with pytest.raises(SetupError, match=r"cannot create the folder .*/s: ") as caught:
        prepare(folders(settings))
    assert caught.value.hint


@pytest.mark.scenario("I2")
def test_folders_have_one_owner(settings: Settings) -> None:
    where = folders(settings)
    prepare(where)
    lock = claim(where)
    with pytest.raises(AlreadyRunningError, match="already running") as caught:
        claim(where)
    assert caught.value.exit_code == 3
    lock.close()
    claim(where).close()


@pytest.mark.scenario("I2")
def test_a_state_folder_has_one_owner_whatever_the_runtime_folder(settings: Settings, tmp_path: Path) -> None:
    where = folders(settings)
    other = folders(msgspec.structs.replace(settings, runtime_dir=str(tmp_path / "o")))
    prepare(where)
    prepare(other)
    lock = claim(where)
    with pytest.raises(AlreadyRunningError, match=rf"\(pid {os.getpid()}\) uses the state folder {where.state}"):
        claim(other)
    lock.close()
    claim(other).close()


@pytest.mark.scenario("I8")
def test_a_folder_that_is_open_to_others_is_refused_and_left_as_it_is(settings: Settings) -> None:
    where = folders(settings)
    where.runtime.mkdir(parents=True)
    where.runtime.chmod(0o755)
    (where.runtime / "something").touch()
    with pytest.raises(SetupError, match=r"open to other users \(mode 755\)"):
        prepare(where)
    assert stat.S_IMODE(where.runtime.stat().st_mode) == 0o755


@pytest.mark.scenario("I3")
def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"port {port} is taken by .* \(pid {os.getpid()}\)"):
            listen(config.load({"port": port}, environ={}).settings)


def test_run_files_are_removed_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    where = folders(settings)
    prepare(where)
    for name in ("command.sock", "token", "settings.json", "connection.json", ".token.123"):
        (where.runtime / name).touch()
    (where.runtime / "lock").touch()
    where.journal.touch()
    temporary = tmp_path / "temporary"
    (temporary / "pymp-1").mkdir(parents=True)
    where.temporaries("engine-0").symlink_to(temporary)
    remove_run_files(where)
    assert not temporary.exists()
    assert [path.name for path in where.runtime.iterdir()] == ["lock"]
    assert where.journal.exists()
