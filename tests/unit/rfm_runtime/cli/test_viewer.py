"""The command that opens a window says why it cannot, instead of ending in Qt."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rfm_runtime.cli.app import run
from rfm_runtime.cli.screens import has_screen, unreachable
from rfm_runtime.cli.viewer import here
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import folders
from rfm_runtime.errors import ConfigError, NoRuntimeError


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine's user are found, and no server of his."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "platform", "screen"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"QT_QPA_PLATFORM": "offscreen"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_where_a_window_may_be_opened(environment: dict[str, str], platform: str, screen: bool) -> None:
    assert has_screen(environment, platform) is screen


@pytest.mark.scenario("I5")
def test_without_a_screen_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")

    assert run(["viewer"]) == 2

    what, hint = capsys.readouterr().err.splitlines()
    assert "there is no screen here" in what
    assert "rfm-runtime watch" in hint


@pytest.mark.scenario("I5")
def test_a_theme_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert run(["viewer", "--theme", "neon"]) == 2

    what, hint = capsys.readouterr().err.splitlines()
    assert "there is no theme 'neon'" in what
    assert hint == "hint: choose one of system, dark, light, contrast, safe-dark, safe-light"


@pytest.mark.scenario("I5", "J115")
@pytest.mark.parametrize("platform", ["", "xcb"])
def test_a_screen_that_cannot_be_reached_is_told_instead_of_ending_in_qt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, platform: str
) -> None:
    monkeypatch.setenv("DISPLAY", ":32198")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("QT_QPA_PLATFORM", platform)
    if not platform:
        monkeypatch.delenv("QT_QPA_PLATFORM")
    monkeypatch.setattr("sys.platform", "linux")

    assert run(["viewer"]) == 2

    what, hint = capsys.readouterr().err.splitlines()
    assert "the screen cannot be reached: DISPLAY=:32198" in what
    assert ("WAYLAND_DISPLAY" in what) is (not platform)
    assert "rfm-runtime watch" in hint


@pytest.mark.scenario("J115")
def test_one_that_lets_in_is_enough(tmp_path: Path) -> None:
    environment = {"DISPLAY": ":32198", "WAYLAND_DISPLAY": "here", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert len(unreachable(environment, "linux")) == 2
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "here"))
        listener.listen()
        assert unreachable(environment, "linux") == []
        assert unreachable({**environment, "QT_QPA_PLATFORM": "xcb"}, "linux") == ["DISPLAY=:32198"]
        assert unreachable({**environment, "QT_QPA_PLATFORM": "offscreen"}, "linux") == []
    assert unreachable(environment, "darwin") == []


@pytest.mark.scenario("I5", "J111")
def test_a_server_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")

    assert run(["viewer", "--server", "nowhere"]) == 2

    what, hint = capsys.readouterr().err.splitlines()
    assert "there is no server 'nowhere'" in what
    assert "wss://HOST:8765" in hint


def test_what_is_wrong_with_this_machine_keeps_nobody_from_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Too long for the names of sockets.
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / ("long" * 40)))

    found = here(None, is_needed=False)

    with pytest.raises(NoRuntimeError):
        ConnectionInfo.read(folders(found).connection).serving()
    with pytest.raises(ConfigError, match="too long"):
        here(None, is_needed=True)
