"""Settings of the viewer: themes and letters while it runs, and a window that is found as it was left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication, QLabel, QMainWindow, QSplitter, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.saved import SavedView
from rfm_ui.model.themes import THEMES
from rfm_ui.view import theme
from rfm_ui.view.appearance_page import AppearancePage
from rfm_ui.view.layout import Layout, even_out, forget_layout
from rfm_ui.view.looks import Looks
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def application(qapp: QApplication) -> Iterator[QApplication]:
    font, before = qapp.font(), theme.current()
    yield qapp
    qapp.setFont(font)
    theme.put_on(qapp, before)


def kept(folder: Path) -> QSettings:
    return QSettings(str(folder / "viewer.ini"), QSettings.Format.IniFormat)


def shown(qtbot: QtBot, folder: Path, looks: Looks | None = None) -> ViewerWindow:
    """Where no runtime is."""
    window = ViewerWindow(Session(), kept(folder), looks=looks)
    qtbot.addWidget(window, before_close_func=lambda one: one.explorer.leave())
    # The first of all that is heard is that the server is another one, and what is shown goes.
    with qtbot.waitSignal(window._session.news, timeout=MOST_MS):
        window._session.start()
    window.show()
    return window


def colour(widget: QWidget, role: QPalette.ColorRole) -> str:
    return widget.palette().color(role).name()


@pytest.mark.scenario("J113")
def test_a_theme_is_put_on_while_windows_are_open_and_kept(
    qtbot: QtBot, tmp_path: Path, application: QApplication
) -> None:
    looks = Looks(kept(tmp_path))
    looks.begin(application)
    window = shown(qtbot, tmp_path, looks)
    window.turn_to(window.machine)
    qtbot.waitUntil(lambda: bool(window.machine._charts), timeout=MOST_MS)
    label = QLabel("x", window)
    theme.toned(label, "bad")
    page = window.open_settings().page("Appearance")
    assert isinstance(page, AppearancePage)

    for name in THEMES:
        page.theme.setCurrentIndex(page.theme.findData(name))
        page.theme.activated.emit(page.theme.currentIndex())

        wanted = THEMES[name]
        assert theme.current() is wanted
        assert colour(window, QPalette.ColorRole.Window) == wanted.window
        label.ensurePolished()
        assert colour(label, QPalette.ColorRole.WindowText) == wanted.links["bad"]
        assert window.machine._charts[0]._plots[0].backgroundBrush().color().name() == wanted.panel
        assert page.told.isHidden()
        # What is painted is of the theme too.
        assert window.pages.grab().toImage().pixelColor(2, 2).name() == wanted.window

    window.close()
    again = Looks(kept(tmp_path))
    again.begin(application)
    assert theme.current().name == list(THEMES)[-1]


@pytest.mark.scenario("J113")
def test_what_the_desktop_asks_for_is_followed_while_that_is_chosen(tmp_path: Path, application: QApplication) -> None:
    looks = Looks(kept(tmp_path))
    looks.begin(application)
    wanted = theme.system()
    assert theme.current() is wanted
    other = next(one for one in THEMES.values() if one is not wanted)
    # There is no desktop here that would change its mind: its word is said as it would be.
    changed = application.styleHints().colorSchemeChanged
    theme.put_on(application, other)
    changed.emit(Qt.ColorScheme.Unknown)
    assert theme.current() is wanted
    looks.choose("contrast")
    changed.emit(Qt.ColorScheme.Unknown)
    assert theme.current().name == "contrast"
    looks.choose("system")
    assert theme.current() is wanted


@pytest.mark.scenario("J113")
def test_a_theme_of_ones_own(qtbot: QtBot, tmp_path: Path, application: QApplication) -> None:
    looks = Looks(kept(tmp_path))
    looks.begin(application, "light")
    path = looks.write_example()
    assert path.is_relative_to(tmp_path)
    assert looks.write_example().read_text() == path.read_text()
    path.write_text(path.read_text().replace("#f4f6f9", "#f0f0e0"))
    (path.parent / "sea.toml").write_text('\nwindw = "#001020"\n')
    page = AppearancePage(looks, lambda: None)
    qtbot.addWidget(page)
    page.show()

    def choose(name: str) -> None:
        page.theme.setCurrentIndex(page.theme.findData(name))
        page.theme.activated.emit(page.theme.currentIndex())

    choose("mine")
    assert theme.current().window == "#f0f0e0"
    choose("sea")
    assert "sea.toml, line 2: nothing is called 'windw' – did you mean window?" in page.told.text()
    assert theme.current().name == "mine", "what is wrong changes nothing"
    assert page.theme.currentData() == "mine"
    (path.parent / "sea.toml").write_text('window = "#001020"\ntext = "#203040"\n')
    choose("sea")
    assert theme.current().window == "#001020"
    assert "text has a contrast of" in page.told.text()

    (path.parent / "sea.toml").unlink()
    again = Looks(kept(tmp_path))
    again.begin(application)
    assert theme.current().name in ("dark", "light", "contrast"), "a window there is all the same"
    with pytest.raises(BadRequestError, match="there is no theme 'sea'"):
        again.check("sea")
    with pytest.raises(BadRequestError, match="there is no theme"):
        again.check("../mine")


@pytest.mark.scenario("J114")
def test_letters_are_as_large_as_somebody_needs_them(tmp_path: Path, application: QApplication) -> None:
    before = application.font().pointSizeF()
    looks = Looks(kept(tmp_path))
    looks.begin(application)
    looks.resize(150)
    assert application.font().pointSizeF() == pytest.approx(1.5 * before)
    looks.resize(100)
    assert application.font().pointSizeF() == pytest.approx(before)
    looks.resize(100_000)
    assert looks.letters == 200
    kept(tmp_path).setValue("appearance/letters", "nonsense")
    assert Looks(kept(tmp_path)).letters == 100


def divided(qtbot: QtBot) -> tuple[QMainWindow, QWidget, QSplitter]:
    """A window with a page that is divided in two, 3 to 1."""
    window, page, splitter = QMainWindow(), QWidget(), QSplitter(Qt.Orientation.Horizontal)
    qtbot.addWidget(window)
    splitter.setChildrenCollapsible(False)
    for stretch in (3, 1):
        splitter.addWidget(QWidget())
        splitter.setStretchFactor(splitter.count() - 1, stretch)
    QVBoxLayout(page).addWidget(splitter)
    window.setCentralWidget(page)
    window.resize(700, 500)
    return window, page, splitter


@pytest.mark.scenario("J114")
def test_what_is_divided_is_found_as_it_was_left_and_as_it_was_in_the_beginning(qtbot: QtBot, tmp_path: Path) -> None:
    window, page, splitter = divided(qtbot)
    window.show()
    qtbot.waitUntil(lambda: all(splitter.sizes()), timeout=MOST_MS)
    layout = Layout(kept(tmp_path), window, {page: "One"})
    layout.keep("One", SavedView())
    assert not [key for key in kept(tmp_path).allKeys() if "splitter" in key], "nobody has moved it"
    splitter.moveSplitter(150, 1)
    sizes = splitter.sizes()
    assert sizes[0] < sizes[1]
    layout.keep("One", SavedView(search="photos"))

    again, page, splitter = divided(qtbot)
    layout = Layout(kept(tmp_path), again, {page: "One"})
    layout.restore()
    again.show()
    qtbot.waitUntil(lambda: splitter.sizes() == sizes, timeout=MOST_MS)
    assert layout.page is page
    assert layout.search == SavedView(search="photos")
    even_out(splitter)
    left, right = splitter.sizes()
    assert left == pytest.approx(3 * right, rel=0.05)

    # Another release has another page, or divides it otherwise.
    other = Layout(kept(tmp_path), again, {page: "Other"})
    other.restore()
    assert other.page is None
    assert splitter.sizes() == [left, right]
    kept(tmp_path).setValue("layout/search", "nonsense")
    assert layout.search is None


@pytest.mark.scenario("J114")
def test_a_window_is_found_as_it_was_left_and_as_it_was_in_the_beginning(qtbot: QtBot, tmp_path: Path) -> None:
    window = shown(qtbot, tmp_path)
    window.resize(window.minimumSizeHint().width() + 5, 640)
    size = window.size()
    window.turn_to(window.timeline)
    window.operations.bar.search.setText("photos")
    window.close()

    again = shown(qtbot, tmp_path)
    assert again.height() == size.height()
    assert again.pages.currentWidget() is again.timeline
    assert again.operations.bar.search.text() == "photos"
    again.reset_layout()
    assert again.operations.bar.search.text() == ""
    again.close()

    settings = kept(tmp_path)
    settings.setValue("servers/last", "Lab")
    forget_layout(settings)
    last = shown(qtbot, tmp_path)
    assert last.pages.currentWidget() is last.operations
    assert settings.value("servers/last") == "Lab", "what has to do with other things stays"


@pytest.mark.scenario("J114")
def test_each_subject_has_its_page_in_the_settings(qtbot: QtBot, tmp_path: Path) -> None:
    window = shown(qtbot, tmp_path, Looks(kept(tmp_path)))
    made: list[QLabel] = []

    def make() -> QWidget:
        made.append(QLabel("rules"))
        return made[-1]

    window.settings_pages.add("Rules", make)
    qtbot.keyClick(window, Qt.Key.Key_Comma, Qt.KeyboardModifier.ControlModifier)
    dialog = window.open_settings("Rules")
    assert [dialog.list.item(row).text() for row in range(dialog.list.count())] == window.settings_pages.names
    assert made[-1].isVisible()
    qtbot.keyClick(dialog.list, Qt.Key.Key_Up)
    assert not made[-1].isVisible()
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
