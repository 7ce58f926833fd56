"""Key files: private, made once, and a list that is read again when it has changed."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rfm_runtime.errors import ConfigError, SetupError
from rfm_runtime.security import curve_keys
from rfm_runtime.security.curve_keys import ALLOWED, OWN, AllowList


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys"


@pytest.mark.scenario("G11")
def test_a_key_pair_is_for_this_user_alone(folder: Path) -> None:
    public = curve_keys.init(folder)
    curve_keys.allow(folder, "left", "1" * 64)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert curve_keys.own_pair(folder).public == public


@pytest.mark.scenario("G10")
def test_a_key_pair_does_not_show_its_secret(folder: Path) -> None:
    curve_keys.init(folder)
    pair = curve_keys.own_pair(folder)
    for shown in (repr(pair), str(pair), f"{pair}"):
        assert repr(pair.secret) not in shown
        assert pair.secret.hex() not in shown


def test_a_second_pair_is_made_only_when_it_is_meant(folder: Path) -> None:
    first = curve_keys.init(folder)
    with pytest.raises(ConfigError, match="has a key pair") as caught:
        curve_keys.init(folder)
    assert "--replace" in (caught.value.hint or "")
    assert curve_keys.own_pair(folder).public == first
    assert curve_keys.init(folder, replace=True) != first


def test_without_keys_it_is_said_how_to_make_them(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no key pair") as caught:
        curve_keys.own_pair(folder)
    assert "rfm-runtime keys init" in (caught.value.hint or "")


def test_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    curve_keys.init(folder)
    (folder / OWN).chmod(0o640)
    with pytest.raises(SetupError, match="can be read by others") as caught:
        curve_keys.own_pair(folder)
    assert "chmod 600" in (caught.value.hint or "")


@pytest.mark.parametrize("content", [b"", b"secret", b"\xff\xfe", b"1" * 63])
def test_a_damaged_key_is_refused_without_showing_it(folder: Path, content: bytes) -> None:
    curve_keys.init(folder)
    (folder / OWN).write_bytes(content)
    with pytest.raises(ConfigError, match="is no key") as caught:
        curve_keys.own_pair(folder)
    assert "secret" not in caught.value.message.removeprefix(str(folder / OWN))


def test_a_list_follows_its_file_and_a_damaged_one_changes_nothing(folder: Path) -> None:
    known = AllowList(folder)
    assert known.allowed == {}
    curve_keys.allow(folder, "left", "1" * 64)
    assert known.refresh()
    assert not known.refresh()
    curve_keys.allow(folder, "right", "2" * 64)
    (folder / ALLOWED).write_text("left\n")
    assert not known.refresh()
    assert known.problem is not None
    assert "line 1" in known.problem
    assert known.allowed == {"left": "1" * 64}
    (folder / ALLOWED).unlink()
    assert known.refresh()
    assert known.problem is None
    assert known.allowed == {}


def test_commands_at_once_do_not_undo_each_other(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: curve_keys.allow(folder, f"host-{n}", f"{n:064x}"), range(1, 30)))
    assert AllowList(folder).allowed == {f"host-{n}": f"{n:064x}" for n in range(1, 30)}
    curve_keys.revoke(folder, "host-3")
    assert "host-3" not in AllowList(folder).allowed
    with pytest.raises(ConfigError, match="no host 'host-3'"):
        curve_keys.revoke(folder, "host-3")
