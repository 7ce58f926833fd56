"""Files that the viewer is pointed at and that are none: the window goes on, and says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from rfm_runtime.errors import BadRequestError, SetupError
from rfm_ui.model.servers import Server, Servers
from rfm_ui.model.thumbnails import THUMBNAIL_PX
from rfm_ui.view import kept_tokens, theme
from rfm_ui.view.access import options_of
from rfm_ui.view.appearance_page import AppearancePage
from rfm_ui.view.looks import Looks
from rfm_ui.view.opening import view_in
from rfm_ui.view.server_dialogs import ServersDialog
from rfm_ui.view.session import Session
from rfm_ui.view.sign_in import SignInDialog
from rfm_ui.view.thumbnails import reduced
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3 * MOST_MS / 1000)]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


def pipe(path: Path) -> Path:
    """Opening it to read waits for who writes; nobody does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.scenario("J110")
def test_a_token_is_read_from_a_plain_file_alone(qtbot: QtBot, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_text("x" * 20_000)
    for path in (str(pipe(tmp_path / "pipe")), "/dev/zero", "a\0b", str(large), str(tmp_path)):
        with pytest.raises(BadRequestError, match="cannot read") as refused:
            kept_tokens.from_file(path)
        assert "None" not in refused.value.message
        assert options_of(Server("a", url="wss://a.invalid", token_file=path))["token"] == ""
    dialog = SignInDialog(Server("a", url="wss://a.invalid"), lambda _entry: None)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.ways.button(1).click()
    dialog.file.show_path(str(tmp_path / "pipe"))
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    assert dialog.isVisible()
    assert "it is no plain file" in dialog.told.text()
    good = tmp_path / "good"
    good.write_text("abc.def.ghi\n")
    assert kept_tokens.from_file(str(good)) == "abc.def.ghi"


@pytest.mark.scenario("J111")
def test_a_server_whose_token_cannot_be_removed_stays_and_it_is_said(qtbot: QtBot, tmp_path: Path) -> None:
    server = Server("a", url="wss://a.invalid")
    window = ViewerWindow(Session(), QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(window, before_close_func=lambda one: one.explorer.leave())
    access = window.access
    access.keep(Servers((server,)))
    # What stands in its place is no file, and is not removed.
    there = Path(kept_tokens.keep(server.url, "abc.def.ghi"))
    there.unlink()
    there.mkdir()
    dialog = ServersDialog(lambda: access.servers, access.keep, lambda _one: None, server, window)
    dialog.list.setCurrentRow(1)
    dialog.remove.click()
    assert "cannot be removed" in dialog.told.text()
    assert not dialog.told.isHidden()
    assert dialog.list.count() == 2
    there.rmdir()
    dialog.remove.click()
    assert dialog.told.isHidden()
    assert dialog.list.count() == 1


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("/nonexistent/theme")


def unreadable(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def nested(path: Path) -> None:
    path.write_text("x = " + "[" * 5000)


def digits(path: Path) -> None:
    path.write_text("x = " + "9" * 6000)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.scenario("J113")
@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize("made", [folder, dangling, unreadable, nested, digits, endless, pipe])
def test_what_is_no_theme_is_said_and_settings_open(
    qtbot: QtBot, tmp_path: Path, made: Callable[[Path], object]
) -> None:
    before = theme.current()
    looks = Looks(QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat))
    looks.folder.mkdir(parents=True)
    made(looks.folder / "odd.toml")
    assert ("odd", "odd") in looks.names()
    for name in ("odd", "nosuch", "a\0b"):
        with pytest.raises(BadRequestError) as refused:
            looks.check(name)
        assert refused.value.hint
    page = AppearancePage(looks, lambda: None)
    qtbot.addWidget(page)
    page.theme.setCurrentIndex(page.theme.findData("odd"))
    page.theme.activated.emit(page.theme.currentIndex())
    assert "odd" in page.told.text()
    assert theme.current() is before


@pytest.mark.scenario("J113")
def test_letters_change_though_the_file_of_the_theme_has_gone(tmp_path: Path, qapp: QApplication) -> None:
    before, font = theme.current(), qapp.font()
    looks = Looks(QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat))
    try:
        looks.begin(qapp, "dark")
        path = looks.write_example()
        path.write_text('window = "#001020"\n')
        looks.choose("mine")
        path.unlink()
        looks.resize(125)
        assert theme.current().window == "#001020"
        assert qapp.font().pointSizeF() == pytest.approx(1.25 * font.pointSizeF())
    finally:
        qapp.setFont(font)
        theme.put_on(qapp, before)


@pytest.mark.scenario("J101")
def test_pictures_of_places_are_as_small_as_they_are_shown(tmp_path: Path) -> None:
    for width, height in ((3000, 2000), (4000, 1), (1, 4000)):
        path = tmp_path / f"{width}.png"
        image = QImage(width, height, QImage.Format.Format_RGB888)
        image.fill(0)
        assert image.save(str(path))
        for found in (reduced(path), reduced(path.read_bytes())):
            assert not found.isNull()
            assert found.width() <= THUMBNAIL_PX[0]
            assert found.height() <= THUMBNAIL_PX[1]
    small = QImage(100, 50, QImage.Format.Format_RGB888)
    small.fill(0)
    assert small.save(str(tmp_path / "small.png"))
    assert reduced(tmp_path / "small.png").width() == 100
    assert reduced(pipe(tmp_path / "pipe.png")).isNull()
    assert reduced(b"no picture").isNull()


@pytest.mark.scenario("J103")
def test_of_what_is_dropped_the_file_that_fits_is_opened(qtbot: QtBot, tmp_path: Path) -> None:
    session = Session()
    window = ViewerWindow(session, QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(window, before_close_func=lambda one: one.explorer.leave())
    session.start()
    window.turn_to(window.explorer)
    window.show()
    view = tmp_path / "view.toml"
    view.write_text('re = "-0.5"\nim = "0.25"\nwidth = "0.125"\n')
    held = QMimeData()
    held.setUrls([QUrl.fromLocalFile(str(tmp_path / name)) for name in ("notes.txt", "view.toml")])
    anywhere, copies, left, none = (
        QPoint(5, 5), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    entering = QDragEnterEvent(anywhere, copies, held, left, none)
    window.explorer.dragEnterEvent(entering)
    assert entering.isAccepted()
    window.explorer.dropEvent(QDropEvent(QPointF(anywhere), copies, held, left, none))
    assert window.explorer.exploring.view.re == "-0.5"
    with pytest.raises(SetupError, match="no plain file"):
        view_in(pipe(tmp_path / "pipe.toml"))
