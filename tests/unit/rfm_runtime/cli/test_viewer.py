"""The command that opens a window says why it cannot, instead of ending in Qt."""

from __future__ import annotations

import pytest

from rfm_runtime.cli.app import run
from rfm_runtime.cli.viewer import has_screen


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
def test_a_theme_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["viewer", "--theme", "neon"]) == 2

    what, hint = capsys.readouterr().err.splitlines()
    assert "there is no theme 'neon'" in what
    assert hint == "hint: choose one of system, dark, light"
