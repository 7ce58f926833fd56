"""What stands beside the explorer's picture, against a real runtime: points, colours, places, files."""

from __future__ import annotations

import importlib.util
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import asdict, replace
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QImage, QMouseEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from rfm_runtime import Client, JWTAuthenticator, ProgressReportingServer
from rfm_runtime.protocol.messages import NOT_COMPUTED_RGB, TilePixels
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_runtime.render.files.params import read
from rfm_runtime.render.files.toml import write
from rfm_runtime.render.request import validate
from rfm_runtime.testing.runtime import Runtime, eventually
from rfm_ui.model.looking import look_of
from rfm_ui.model.picture import Part
from rfm_ui.view.explorer_page import HOME, ExplorerPage
from rfm_ui.view.picture_view import PictureView
from rfm_ui.view.window import ViewerWindow
from tests.commands import cli, environment
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET

pytestmark = pytest.mark.integration


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, running: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[ViewerWindow]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one = opened(qtbot, tmp_path, running.url, running.info.token)
    one.turn_to(one.explorer)
    qtbot.waitUntil(lambda: one.explorer.is_complete, timeout=MOST_MS)
    yield one
    one.explorer.leave()


def point_at(page: ExplorerPage, x: float, y: float) -> None:
    """Move the pointer over a part of the canvas."""
    place = QPointF(page.canvas.width() * x, page.canvas.height() * y)
    none = Qt.MouseButton.NoButton
    event = QMouseEvent(
        QEvent.Type.MouseMove, place, page.canvas.mapToGlobal(place), none, none, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(page.canvas, event)


def renders(client: Client, name: str = "explorer") -> list[Operation]:
    return client.operations(labels={"from": name})


def pixels(image: QImage) -> np.ndarray:
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    return rows[:, : 3 * rgb.width()].reshape(rgb.height(), rgb.width(), 3).copy()


@pytest.mark.scenario("J98")
def test_what_becomes_of_the_point_under_the_pointer_is_what_was_computed(
    qtbot: QtBot, window: ViewerWindow, client: Client
) -> None:
    page, panel = window.explorer, window.explorer.point
    point_at(page, 0.3, 0.3)
    for step in range(20):
        # Faster than it can be answered: of these places the last is asked for.
        point_at(page, 0.3 + step / 100, 0.4)

    last = int(page.canvas.width() * 0.49), int(page.canvas.height() * 0.4)
    qtbot.waitUntil(lambda: panel.point is not None and (panel.point.x, panel.point.y) == last, timeout=MOST_MS)

    known = panel.point
    assert known is not None
    (expected,) = client.probe_points(page.exploring.operation_id or "", [last], orbit=len(known.orbit) // 2)
    assert known == expected
    assert panel.shown[0][1] == ("never: inside" if known.n == -1 else str(known.n))
    assert page.canvas.orbit
    panel.orbit.setChecked(False)
    assert not page.canvas.orbit
    panel.orbit.setChecked(True)
    assert page.canvas.orbit
    # Whoever sets colours sees the picture alone.
    page.show_panel(1)
    assert not page.canvas.orbit
    page.show_panel(0)
    assert page.canvas.orbit
    QApplication.sendEvent(page.canvas, QEvent(QEvent.Type.Leave))
    assert not page.canvas.orbit


@pytest.mark.scenario("J100")
def test_the_julia_set_of_the_point_is_shown_and_one_finds_back(
    qtbot: QtBot, window: ViewerWindow, client: Client
) -> None:
    page, panel = window.explorer, window.explorer.point
    earlier = {one.operation_id for one in renders(client, "julia preview")}
    point_at(page, 0.35, 0.4)
    qtbot.waitUntil(lambda: panel.julia.rendering.is_complete, timeout=MOST_MS)
    first = panel.julia.rendering.exploring.operation_id
    for step in range(10):
        point_at(page, 0.35 + step / 50, 0.4)
    qtbot.waitUntil(lambda: panel.julia.rendering.is_complete, timeout=MOST_MS)
    # A pointer that passes makes none.
    made = [one for one in renders(client, "julia preview") if one.operation_id not in earlier]
    assert len(made) == 2
    assert first != panel.julia.rendering.exploring.operation_id
    assert {one.priority for one in made} == {-10}
    small = panel.julia.rendering.view

    qtbot.mouseClick(panel.julia, Qt.MouseButton.LeftButton)

    view = page.exploring.view
    assert (view.julia_re, view.julia_im) == (small.julia_re, small.julia_im)
    assert (view.width_px, view.height_px) == page.canvas.size_px()
    assert not panel.julia.isVisible()
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    qtbot.mouseClick(panel.back, Qt.MouseButton.LeftButton)
    assert (page.exploring.view.re, page.exploring.view.julia_re) == (small.julia_re, None)
    assert panel.julia.isVisible()
    # Without a pointer it is of the middle.
    QApplication.sendEvent(page.canvas, QEvent(QEvent.Type.Leave))
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    panel.julia.setFocus()
    qtbot.waitUntil(lambda: panel.julia.rendering.is_complete, timeout=MOST_MS)
    middle = page.exploring.view
    qtbot.keyClick(panel.julia, Qt.Key.Key_Return)
    assert float(page.exploring.view.julia_re or "0") == pytest.approx(float(middle.re), abs=0.01)
    page.formula.setCurrentText("newton")
    page.formula.activated.emit(page.formula.currentIndex())
    assert not panel.julia.isVisible()


@pytest.mark.scenario("J100")
def test_a_julia_set_that_nobody_looks_at_is_stopped(qtbot: QtBot, window: ViewerWindow, client: Client) -> None:
    page, julia = window.explorer, window.explorer.point.julia.rendering
    # Of the middle of the set, where no point ever ends.
    julia.go(replace(julia.view, re="0", im="0", width="0.1", max_iter=2**31 - 1, interior_tests=False))
    qtbot.waitUntil(lambda: julia.operation is not None and julia.operation.state == "running", timeout=MOST_MS)
    operation_id = julia.exploring.operation_id or ""

    page.go(replace(page.exploring.view, re="-0.6"))

    ended = eventually(
        lambda: (one := client.operation(operation_id)).state in TERMINAL_STATES and one, what="it is stopped"
    )
    assert ended.state == "canceled"


def test_what_is_not_computed_yet_lets_the_picture_before_shine_through(qtbot: QtBot) -> None:
    view = replace(HOME, width_px=16, height_px=8)
    picture = PictureView(view)
    qtbot.addWidget(picture)
    picture.show_view(view)
    red = QImage(16, 8, QImage.Format.Format_RGB888)
    red.fill(Qt.GlobalColor.red)
    picture.put_whole(red)
    picture.show_view(replace(view, max_iter=7))
    rgb = bytes((0, 0, 255)) + bytes(NOT_COMPUTED_RGB)
    pixels_of = TilePixels(operation_id="a", x=0, y=0, width=2, height=1, step=8, rgb=rgb)

    picture.put(Part(0, 0, 16, 8, 8), pixels_of)

    seen = pixels(picture.composed())
    assert (seen[:, :8] == (0, 0, 255)).all()
    assert (seen[:, 8:] == (255, 0, 0)).all()


@pytest.mark.scenario("J99")
def test_colours_and_light_change_without_computing_again(qtbot: QtBot, window: ViewerWindow, client: Client) -> None:
    page, look = window.explorer, window.explorer.look
    page.show_panel(1)
    computed = page.exploring.operation_id
    for place in range(100, 200, 4):
        look.sliders["density"].bar.setValue(place)
        qtbot.wait(5)
    look.palette_choice.setCurrentText("magma")
    look.palette_choice.activated.emit(look.palette_choice.currentIndex())

    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)

    assert page.exploring.operation_id == computed
    wanted = look_of(page.exploring.view)
    assert (wanted.palette, wanted.density) == ("magma", look.sliders["density"].slider.value(196))
    expected = QImage.fromData(client.recolour(computed or "", **asdict(wanted)))
    assert (pixels(page.canvas.composed()) == pixels(expected)).all()
    # Relief follows from distances, which this frame lacks; the next one has them.
    look.sliders["slopes"].box.setValue(1.5)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    computed = page.exploring.operation_id
    assert page.exploring.view.palette == "magma"
    before = pixels(page.canvas.composed())
    look.sliders["light_azimuth_deg"].bar.setValue(300)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    assert page.exploring.operation_id == computed
    assert not (pixels(page.canvas.composed()) == before).all()


@pytest.mark.scenario("J99")
def test_colours_are_undone_and_another_server_renders_what_is_shown(
    qtbot: QtBot, window: ViewerWindow, running: Runtime
) -> None:
    page = window.explorer
    before, computed = pixels(page.canvas.composed()), page.exploring.operation_id
    page.look.sliders["offset"].bar.setValue(200)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    assert not (pixels(page.canvas.composed()) == before).all()
    qtbot.mouseClick(page.back, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    assert (pixels(page.canvas.composed()) == before).all()
    assert page.exploring.operation_id == computed
    assert page.look.sliders["offset"].box.value() == 0.0

    # The same one, by another name: whether it knows the renders of the one before nobody can tell.
    window.explorer.session.use(url=running.url.replace("127.0.0.1", "localhost"))

    qtbot.waitUntil(lambda: page.exploring.operation_id not in (None, computed), timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    assert (pixels(page.canvas.composed()) == before).all()


@pytest.mark.scenario("J99")
def test_parameters_are_rendered_anew_and_wrong_ones_are_said(qtbot: QtBot, window: ViewerWindow) -> None:
    page, look = window.explorer, window.explorer.look
    look.fields["max_iter"].setText("12")
    qtbot.keyClick(look.fields["max_iter"], Qt.Key.Key_Return)
    assert page.exploring.view.max_iter == 12
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    look.fields["max_iter"].setText("a few")
    qtbot.keyClick(look.fields["max_iter"], Qt.Key.Key_Return)
    assert page.state.text().startswith("Iterations is 'a few', not a whole number")
    assert page.exploring.view.max_iter == 12


@pytest.mark.scenario("J101")
def test_places_are_kept_as_files_that_other_programs_read(
    qtbot: QtBot, window: ViewerWindow, running: Runtime, tmp_path: Path
) -> None:
    page, places = window.explorer, window.explorer.places
    page.show_panel(2)
    folder = tmp_path / "data" / "rfm-runtime" / "bookmarks"
    assert places.empty.isVisible()
    kept = replace(page.exploring.view, re="-0.7", palette="gold")
    page.go(kept)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    qtbot.mouseClick(places.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: places.bookmarks.count() == 1, timeout=MOST_MS)
    (path,) = folder.iterdir()
    assert validate(read(".png", path.read_bytes()).params) == kept
    page.home()

    places.bookmarks.itemActivated.emit(places.bookmarks.item(0))
    assert (page.exploring.view.re, page.exploring.view.palette) == ("-0.7", "gold")
    places.bookmarks.setCurrentRow(0)
    places.bookmarks.item(0).setText("a fine place")
    qtbot.waitUntil(lambda: [one.name for one in folder.iterdir()] == ["a fine place.png"], timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.state.text() == "Called a fine place now.", timeout=MOST_MS)

    env = environment(tmp_path, RFM_URL=running.url, RFM_TOKEN_FILE=str(token_file(tmp_path, running)))
    again = tmp_path / "again.png"
    done = cli("render", "--like", str(folder / "a fine place.png"), "--size", "64x40", "-o", str(again), env=env)
    assert done.returncode == 0, done.stderr
    assert read(".png", again.read_bytes()).params["re"] == "-0.7"

    qtbot.waitUntil(lambda: (one := places.chosen()) is not None and one.name == "a fine place", timeout=MOST_MS)
    qtbot.mouseClick(places.remove, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: places.bookmarks.count() == 0, timeout=MOST_MS)
    assert list(folder.iterdir()) == []
    qtbot.mouseClick(places.take_back, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: places.bookmarks.count() == 1, timeout=MOST_MS)
    # Of somebody else, dropped into the folder.
    again.rename(folder / "theirs.png")
    (folder / "broken.png").write_bytes(b"no picture")
    places.refresh()
    qtbot.waitUntil(lambda: places.bookmarks.count() == 3, timeout=MOST_MS)
    broken = places.bookmarks.findItems("broken", Qt.MatchFlag.MatchExactly)[0]
    places.bookmarks.itemActivated.emit(broken)
    assert page.state.text().startswith("broken: ")


def token_file(folder: Path, running: Runtime) -> Path:
    file = folder / "token"
    file.write_text(running.info.token)
    file.chmod(0o600)
    return file


@pytest.mark.scenario("J101")
def test_presets_get_their_pictures_when_they_are_looked_at(
    qtbot: QtBot, window: ViewerWindow, client: Client, tmp_path: Path
) -> None:
    page, places = window.explorer, window.explorer.places
    assert renders(client, "thumbnail") == []
    page.show_panel(2)
    places.show_list(1)
    cache = tmp_path / "cache" / "rfm-runtime" / "thumbnails"
    qtbot.waitUntil(lambda: cache.is_dir() and len(list(cache.glob("*.png"))) >= 2, timeout=MOST_MS)
    page.show_panel(0)
    places.presets.itemActivated.emit(places.presets.item(0))
    assert page.exploring.view.re == "-0.7452"
    made = renders(client, "thumbnail")
    assert {one.priority for one in made} == {-20}
    assert len(made) < places.presets.count()


@pytest.mark.scenario("J102")
def test_all_that_can_be_saved_is_saved(qtbot: QtBot, window: ViewerWindow, client: Client, tmp_path: Path) -> None:
    page = window.explorer
    page.look.palette_choice.setCurrentText("magma")
    page.look.palette_choice.activated.emit(page.look.palette_choice.currentIndex())
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    view = page.exploring.view

    def saved(name: str, chosen: str = "") -> Path:
        path = tmp_path / name
        page.save(path, chosen)
        qtbot.waitUntil(lambda: page.state.text() == f"Saved {path}.", timeout=MOST_MS)
        return path

    plain = QImage(str(saved("plain.png")))
    assert (pixels(plain) == pixels(page.canvas.composed())).all()
    deep = QImage(str(saved("deep.png", "Picture, 16 bits a channel (*.png)")))
    assert deep.depth() == 64 or deep.format() in (QImage.Format.Format_RGBX64, QImage.Format.Format_RGBA64)
    with np.load(saved("raw.npz")) as raw:
        assert raw["n"].shape == (view.height_px, view.width_px)
        request = json.loads(str(raw["request"]))
        assert (request["palette"], request["re"]) == ("magma", view.re)
    if importlib.util.find_spec("OpenEXR") is not None:
        assert saved("raw.exr").read_bytes()[:4] == b"\x76\x2f\x31\x01"
    assert validate(read(".toml", saved("view.toml").read_bytes()).params) == view
    found = read(".kfr", saved("view.kfr").read_bytes()).params
    # With as many iterations as an automatic limit has become.
    assert found["max_iter"] > 0
    assert client.parameters(page.exploring.operation_id or "").get("max_iter", 0) == 0
    saved("plain.png")
    for name, chosen in (("plain", ""), ("view", "Parameters (*.toml)")):
        page.save(tmp_path / name, chosen)
        qtbot.waitUntil(lambda: "exists and was kept" in page.state.text(), timeout=MOST_MS)
        page.state.setText("")


@pytest.mark.scenario("J102")
def test_a_full_disk_is_said_and_leaves_no_half_file(qtbot: QtBot, window: ViewerWindow, tmp_path: Path) -> None:
    page = window.explorer
    before = pixels(page.canvas.composed())
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "there.png").write_bytes(b"what was there")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # The system refuses every byte after these, as a full disk does; Python ignores the signal.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        for name in ("there.png", "raw.npz"):
            page.save(folder / name)
            qtbot.waitUntil(lambda: page.state.text().startswith("Could not save"), timeout=MOST_MS)
            assert f"cannot write {folder / name}: File too large" in page.state.text()
            assert page.state.text().endswith("make room or choose another place; the picture is still here")
            page.state.setText("")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("there.png", b"what was there")]
    for wrong, says in (
        (tmp_path / "nowhere" / "a.png", f"the folder {tmp_path / 'nowhere'} does not exist – create it first"),
        (folder / "a.jpg", "nothing is written to files that end with .jpg"),
        (Path("/proc/a.toml"), "cannot write /proc/a.toml"),
    ):
        page.save(wrong)
        qtbot.waitUntil(lambda says=says: says in page.state.text(), timeout=MOST_MS)
    # The render is there as before, and so is the picture.
    assert (pixels(page.canvas.composed()) == before).all()
    page.save(folder / "there.png")
    qtbot.waitUntil(lambda: page.state.text() == f"Saved {folder / 'there.png'}.", timeout=MOST_MS)
    assert (pixels(QImage(str(folder / "there.png"))) == before).all()


@pytest.mark.scenario("J103")
def test_the_next_window_is_where_this_one_was_left(
    qtbot: QtBot, window: ViewerWindow, running: Runtime, tmp_path: Path
) -> None:
    page = window.explorer
    page.go(replace(page.exploring.view, re="-0.7", palette="gold"))
    page.show_panel(2)
    window.close()

    other = opened(qtbot, tmp_path, running.url, running.info.token)

    assert other.pages.currentWidget() is other.explorer
    view = other.explorer.exploring.view
    assert (view.re, view.palette) == ("-0.7", "gold")
    assert other.explorer.places.isVisible()
    assert not other.explorer.exploring.can_undo
    qtbot.waitUntil(lambda: other.explorer.is_complete, timeout=MOST_MS)
    other.explorer.leave()


@pytest.mark.scenario("J103")
def test_the_explorer_fills_the_screen_and_comes_back(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.explorer
    qtbot.keyClick(page.canvas, Qt.Key.Key_F11)
    qtbot.waitUntil(window.isFullScreen, timeout=MOST_MS)
    assert not page.formula.isVisible()
    assert not page.panels.isVisible()
    assert not window.title.isVisible()
    qtbot.waitUntil(lambda: page.canvas.size() == window.size(), timeout=MOST_MS)
    size = page.canvas.size_px()
    qtbot.waitUntil(lambda: (page.canvas.view.width_px, page.canvas.view.height_px) == size, timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    qtbot.keyClick(page.canvas, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not window.isFullScreen(), timeout=MOST_MS)
    assert page.panels.isVisible()
    # As large as its window is then, with all that stands around it.
    qtbot.waitUntil(lambda: page.formula.isVisible() and window.title.isVisible(), timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.canvas.width() < window.width() - page.panels.width(), timeout=MOST_MS)


@pytest.mark.scenario("J103")
def test_a_drag_turns_the_picture_and_a_file_that_is_dropped_is_gone_to(
    qtbot: QtBot, window: ViewerWindow, tmp_path: Path
) -> None:
    page, canvas = window.explorer, window.explorer.canvas
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, middle + QPoint(100, 0))
    qtbot.mouseMove(canvas, middle + QPoint(0, -100))
    place = QPointF(middle + QPoint(0, -100))
    left, control = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier
    QApplication.sendEvent(
        canvas, QMouseEvent(QEvent.Type.MouseMove, place, canvas.mapToGlobal(place), left, left, control)
    )
    qtbot.mouseRelease(canvas, left, control, middle + QPoint(0, -100))
    # What was on the right is above: a quarter turn to the left.
    assert page.exploring.view.rotation_deg == pytest.approx(-90.0, abs=1.0)
    page.undo()

    wanted = replace(HOME, re="-1.25", width="0.5", palette="gold")
    file = tmp_path / "view.toml"
    file.write_text(write(wanted))
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    actions = Qt.DropAction.CopyAction
    event = QDropEvent(QPointF(10, 10), actions, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    page.dropEvent(event)
    assert (page.exploring.view.re, page.exploring.view.palette) == ("-1.25", "gold")
    file.write_text("re = ")
    page.dropEvent(event)
    assert page.state.text().startswith("Could not open view.toml: ")
    assert page.exploring.view.re == "-1.25"


@pytest.mark.scenario("J102")
def test_who_may_only_look_is_told_so_and_can_keep_the_place(
    qtbot: QtBot, signing_server: ProgressReportingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    window = opened(qtbot, tmp_path, signing_server.url, JWTAuthenticator(SECRET).issue("eve", ["viewer"]))
    page = window.explorer
    window.turn_to(page)
    qtbot.waitUntil(lambda: "eve (viewer) may not submit" in page.state.text(), timeout=MOST_MS)
    point_at(page, 0.4, 0.4)
    page.save(tmp_path / "picture.png")
    assert page.state.text() == "Nothing to save yet: the picture is not finished."
    page.save(tmp_path / "view.toml")
    qtbot.waitUntil(lambda: page.state.text() == f"Saved {tmp_path / 'view.toml'}.", timeout=MOST_MS)
    page.show_panel(2)
    page.places.keep()
    qtbot.waitUntil(lambda: page.places.bookmarks.count() == 1, timeout=MOST_MS)
