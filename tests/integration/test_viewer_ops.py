"""The page of operations against a real server: what can be done to what is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PySide6.QtCore import QItemSelectionModel, QSettings, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.testing.hosts import free_ports
from rfm_ui.model.saved import SavedView
from rfm_ui.view.confirming import Confirming
from rfm_ui.view.doings import doings
from rfm_ui.view.operations_page import OperationsPage
from rfm_ui.view.search_bar import SearchBar
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened

pytestmark = pytest.mark.integration
AUTHENTICATOR = JWTAuthenticator(secret_key="0123456789abcdef0123456789abcdef")


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTHENTICATOR) as running:
        yield running


@pytest.fixture
def lasting_server(tmp_path: Path) -> Iterator[ProgressReportingServer]:
    """One that knows when it comes back what it knew."""
    with ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "state", authenticator=AUTHENTICATOR
    ) as running:
        yield running


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> ViewerWindow:
    """Of the server's own user, whose operations the reporters' are."""
    return opened(qtbot, tmp_path, server.url, server.token)


@pytest.fixture
def reporters(server: ProgressReportingServer) -> Iterator[list[ProgressReporter]]:
    assert server.url
    with ExitStack() as open_ones:
        yield [open_ones.enter_context(ProgressReporter("copying", f"photos {k}")) for k in range(3)]


def row(page: OperationsPage, name: str) -> int:
    return next(row for row in range(len(page.board)) if page.board.at(row).name == name)


def choose(page: OperationsPage, *names: str) -> None:
    page.list.clearSelection()
    for name in names:
        page.list.selectionModel().select(
            page.model.index(row(page, name)), QItemSelectionModel.SelectionFlag.Select
        )  # fmt: skip
    page.list.setFocus()


def all_there(qtbot: QtBot, page: OperationsPage, count: int) -> None:
    qtbot.waitUntil(lambda: len(page.board) == count, timeout=MOST_MS)


def looked_at(page: OperationsPage) -> Confirming:
    found = page.wishes.confirming
    assert found is not None
    assert found.isVisible()
    return found


@pytest.mark.scenario("J92")
def test_several_are_looked_at_before_they_are_cancelled(
    qtbot: QtBot, window: ViewerWindow, reporters: list[ProgressReporter]
) -> None:
    page = window.operations
    all_there(qtbot, page, 3)
    choose(page, "photos 0", "photos 1")
    assert page.cancel.text() == "Cancel 2"
    qtbot.keyClick(page.list, Qt.Key.Key_Delete)
    dialog = looked_at(page)
    assert dialog.confirm.text() == "Cancel 2 operations"
    assert [dialog.list.item(k).text() for k in range(dialog.list.count())] == [
        f"{page.board.at(k).name} · running" for k in sorted((row(page, "photos 0"), row(page, "photos 1")))
    ]

    qtbot.keyClick(dialog, Qt.Key.Key_Escape)

    assert page.told.text() == ""
    assert not any(one.should_cancel() for one in reporters)
    qtbot.keyClick(page.list, Qt.Key.Key_Delete)
    # One that ends while it is looked at.
    reporters[1].report_completed()
    qtbot.waitUntil(lambda: page.board.at(row(page, "photos 1")).state == "completed", timeout=MOST_MS)
    qtbot.keyClick(looked_at(page), Qt.Key.Key_Return)
    assert page.told.text() == "Asked to cancel 1 operation."
    qtbot.waitUntil(reporters[0].should_cancel, timeout=MOST_MS)
    assert not reporters[2].should_cancel(), "what was not chosen goes on"


@pytest.mark.scenario("J92")
def test_priorities_by_key_and_by_number(qtbot: QtBot, window: ViewerWindow, reporters: list[ProgressReporter]) -> None:
    page = window.operations
    all_there(qtbot, page, len(reporters))
    choose(page, "photos 0")

    def priority(name: str) -> int:
        return page.board.at(row(page, name)).priority

    qtbot.keyClick(page.list, "+")
    qtbot.waitUntil(lambda: priority("photos 0") == 10, timeout=MOST_MS)
    qtbot.keyClick(page.list, "-")
    qtbot.waitUntil(lambda: priority("photos 0") == 0, timeout=MOST_MS)
    choose(page, "photos 0", "photos 2")
    page.wishes.priority.trigger()
    assert page.wishes.number is not None
    page.wishes.number.setIntValue(-40)
    page.wishes.number.accept()
    assert looked_at(page).confirm.text() == "Change the priority of 2 operations to -40"
    qtbot.keyClick(looked_at(page), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: priority("photos 0") == priority("photos 2") == -40, timeout=MOST_MS)
    assert priority("photos 1") == 0


@pytest.mark.scenario("J92")
def test_what_cannot_be_done_says_why(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.operations
    assert page.cancel.toolTip() == "Nothing is chosen."
    ProgressReporter("copying", "photos").report_failed("the disk is full")
    qtbot.waitUntil(lambda: len(page.board) == 1 and page.board.at(0).state == "failed", timeout=MOST_MS)

    choose(page, "photos")

    assert not page.cancel.isEnabled()
    assert page.cancel.toolTip() == "photos has ended."
    qtbot.waitUntil(lambda: "no engine offers" in page.retry.toolTip(), timeout=MOST_MS)
    assert not page.retry.isEnabled()
    offered = [one.text() for one in page.wishes.menu().actions() if one.isEnabled() and one.text()]
    assert offered == ["Report …", "Copy ids"]
    qtbot.keyClick(page.list, "C", Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == page.board.at(0).operation_id


@pytest.mark.scenario("J92")
def test_a_server_that_refuses_is_told(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, reporters: list[ProgressReporter]
) -> None:
    admin = opened(qtbot, tmp_path, server.url, server.token)
    all_there(qtbot, admin.operations, len(reporters))
    page = admin.operations
    choose(page, "photos 0")
    # A program that has not said that it can pause.
    qtbot.keyClick(page.list, "P")
    qtbot.waitUntil(lambda: page.told.text().startswith("Could not pause photos 0: "), timeout=MOST_MS)


@pytest.mark.scenario("J92")
def test_what_somebody_else_owns_is_not_offered_to_who_may_not(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, reporters: list[ProgressReporter]
) -> None:
    window = opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("bob", ["operator"]))
    page = window.operations
    all_there(qtbot, page, len(reporters))

    choose(page, "photos 0")

    assert not page.cancel.isEnabled()
    assert page.cancel.toolTip() == "photos 0 belongs to local."
    choose(page, "photos 0", "photos 1")
    assert page.cancel.toolTip() == "Of 2 chosen, 2 belong to local."


def typed(qtbot: QtBot, page: OperationsPage, text: str) -> list[str]:
    """What is shown then, from the top."""
    page.search.clear()
    qtbot.keyClicks(page.search, text)
    return [page.board.at(row).name for row in range(len(page.board))]


@pytest.mark.scenario("J93")
@pytest.mark.usefixtures("reporters")
def test_a_search_is_typed_chosen_and_kept(qtbot: QtBot, window: ViewerWindow, tmp_path: Path) -> None:
    page = window.operations
    all_there(qtbot, page, 3)
    assert set(typed(qtbot, page, "photos -name:1 owner:me")) == {"photos 2", "photos 0"}
    assert typed(qtbot, page, "kind:render") == []
    assert "Nothing matches" in page.empty.text()
    assert len(typed(qtbot, page, "colour:red")) == 3
    assert page.bar.problem.isVisible()
    assert page.bar.problem.text().startswith('There is no "colour:".')
    page.search.clear()
    assert not page.bar.problem.isVisible()

    menu = page.bar.filters.menu()
    menu.aboutToShow.emit()
    kinds = next(one for one in menu.actions() if one.text() == "Kind").menu()
    assert [one.text() for one in kinds.actions()] == ["copying"]
    kinds.actions()[0].trigger()

    assert page.search.text() == "kind:copying"
    page.bar.order.setCurrentText("Name")
    assert [page.board.at(row).name for row in range(3)] == ["photos 0", "photos 1", "photos 2"]
    page.bar.ask_name()
    assert page.bar.asking is not None
    page.bar.asking.setTextValue("copies by name")
    page.bar.asking.accept()
    page.bar.show_view(SavedView())
    assert page.search.text() == ""
    assert "View: copies by name" in [one.entry.name for one in doings(window, {page: "Operations"})]
    assert page.bar.order.currentText() == "Newest"
    # Another window of the same user.
    settings = QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)
    other = OperationsPage(window.operations.session, settings)
    qtbot.addWidget(other)
    saved = other.bar.saved.menu()
    saved.aboutToShow.emit()
    assert saved.actions()[0].text() == "copies by name"
    saved.actions()[0].trigger()
    assert (other.search.text(), other.bar.order.currentText()) == ("kind:copying", "Name")
    other.bar.remove("copies by name")
    assert SearchBar(settings, list, other).views == []


@pytest.mark.scenario("J94")
def test_rows_are_sorted_and_do_not_move_under_the_pointer(
    qtbot: QtBot, window: ViewerWindow, reporters: list[ProgressReporter]
) -> None:
    page = window.operations
    for reporter, percent in zip(reporters, (20.0, 60.0, 40.0), strict=True):
        reporter.report_progress(percent)

    def shown() -> list[str]:
        return [page.board.at(row).name for row in range(len(page.board))]

    def percents() -> set[float]:
        return {one.latest.progress for one in page.board.operations.values() if one.latest is not None}

    qtbot.waitUntil(lambda: percents() == {20.0, 60.0, 40.0}, timeout=MOST_MS)

    page.bar.order.setCurrentText("Progress")

    assert shown() == ["photos 1", "photos 2", "photos 0"]
    # As the window system has it while the pointer is over the list.
    page.list.viewport().setAttribute(Qt.WidgetAttribute.WA_UnderMouse, True)
    reporters[0].report_progress(90.0)
    qtbot.waitUntil(lambda: 90.0 in percents(), timeout=MOST_MS)
    assert not page.board.is_settled
    page.settle_rows()
    assert shown() == ["photos 1", "photos 2", "photos 0"]
    page.list.viewport().setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)
    page.settle_rows()
    assert shown() == ["photos 0", "photos 1", "photos 2"]


@pytest.mark.scenario("J97")
@pytest.mark.usefixtures("reporters")
def test_every_action_is_found_by_a_few_letters(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.operations
    all_there(qtbot, page, 3)
    choose(page, "photos 0")
    window.turn_to(window.timeline)

    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    palette = window.commands.palette
    assert palette is not None
    qtbot.keyClicks(palette.field, "prup")
    shown = palette.model.entry(0)
    assert (shown.name, shown.place, shown.keys) == ("Priority up", "Operations", "+")
    qtbot.keyClick(palette.field, Qt.Key.Key_Return)

    assert window.pages.currentWidget() is page
    qtbot.waitUntil(lambda: page.board.at(row(page, "photos 0")).priority == 10, timeout=MOST_MS)
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=MOST_MS)
    qtbot.keyClick(window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    again = window.commands.palette
    assert again is not None
    assert again.model.entry(0).name == "Priority up", "what was used last comes first"
    qtbot.keyClicks(again.field, "retry")
    assert again.model.entry(0).why_not == "photos 0 has not ended."
    qtbot.keyClick(again.field, Qt.Key.Key_Return)
    assert again.isVisible(), "what cannot be done is not"
    qtbot.keyClick(again.field, Qt.Key.Key_Escape)
    assert window.pages.currentWidget() is page


@pytest.mark.scenario("J97")
def test_all_keys_are_on_one_page(qtbot: QtBot, window: ViewerWindow) -> None:
    qtbot.keyClick(window, Qt.Key.Key_F1)

    keys = window.commands.keys
    assert keys is not None
    assert keys.isVisible()
    assert ("Operations", "Del", "Cancel") in keys.shown
    assert ("Window", "Ctrl+2", "Go to Explorer") in keys.shown
    assert ("Explorer", "Shift+drag", "A frame that is to fill the picture") in keys.shown
    assert ("Explorer", "Alt+Left", "Back") in keys.shown
    # No two do the same thing where both are heard.
    heard = [(place, key) for place, key, _what in keys.shown]
    assert len(heard) == len(set(heard))


@pytest.mark.scenario("J97")
def test_what_stands_on_pages_is_found_too(qtbot: QtBot, window: ViewerWindow) -> None:
    window.explorer.show_panel(2)
    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    palette = window.commands.palette
    assert palette is not None
    known = {(one.place, one.name): one for one in palette.model.entries}
    assert len(known) == len(palette.model.entries), "each is there once"
    assert ("Timeline", "The last 5 min") in known
    assert ("Explorer", "Preset: seahorse") in known
    # A plain button, and one of an action that says more.
    assert known["Explorer", "Give it another name"].why_not == "It does not apply now."
    assert known["Explorer", "Forth"].why_not == "There is no view after this one."
    assert known["Operations", "Retry"].why_not == "Nothing is chosen."
    assert ("Window", "Sign in …") in known

    qtbot.keyClicks(palette.field, "how much ran when")
    qtbot.keyClick(palette.field, Qt.Key.Key_Return)

    assert window.pages.currentWidget() is window.timeline
    assert window.timeline.is_heatmap


@pytest.mark.scenario("J92")
def test_more_than_the_server_takes_at_once_are_cancelled(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.operations
    # A hundred and a few commands are let through at once, and fifty a second.
    many = [ProgressReporter("copying", f"photos {k}") for k in range(150)]
    all_there(qtbot, page, len(many))
    page.list.setFocus()
    told: list[str] = []
    page.wishes.told.connect(told.append)

    qtbot.keyClick(page.list, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(page.list, Qt.Key.Key_Delete)
    assert looked_at(page).confirm.text() == "Cancel 150 operations"
    qtbot.keyClick(looked_at(page), Qt.Key.Key_Return)

    qtbot.waitUntil(lambda: all(one.should_cancel() for one in many), timeout=MOST_MS)
    assert told == [
        "Asked to cancel 150 operations.",
        "Asked to cancel 150 operations. 64 of them so far.",
        "Asked to cancel 150 operations. 128 of them so far.",
    ]
    for one in many:
        one.report_canceled()


@pytest.mark.scenario("J92")
def test_what_is_wished_while_the_server_is_away_waits(
    qtbot: QtBot, tmp_path: Path, lasting_server: ProgressReportingServer
) -> None:
    server = lasting_server
    reporters = [ProgressReporter("copying", f"photos {k}") for k in range(3)]
    window = opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("ann", ["admin"]))
    page = window.operations
    all_there(qtbot, page, len(reporters))
    server.stop()
    qtbot.waitUntil(lambda: page.session.link.state not in ("live", "stale"), timeout=MOST_MS)
    choose(page, "photos 0", "photos 2")
    qtbot.keyClick(page.list, Qt.Key.Key_Delete)
    qtbot.keyClick(looked_at(page), Qt.Key.Key_Return)
    choose(page, "photos 1")
    qtbot.keyClick(page.list, "+")
    waiting = [(one.command.action, one.command.name, one.command.value) for one in page.session.pending.all]
    assert waiting[2:] == [("priority", "photos 1", 10)]
    assert {name for action, name, _value in waiting[:2] if action == "cancel"} == {"photos 0", "photos 2"}
    assert page.told.text() == "Waits for the server: change the priority of 1 operation."

    server.start()
    page.session.retry_now()

    qtbot.waitUntil(lambda: reporters[0].should_cancel() and reporters[2].should_cancel(), timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.board.at(row(page, "photos 1")).priority == 10, timeout=MOST_MS)
    assert len(page.session.pending) == 0
    assert not reporters[1].should_cancel()
    for one in reporters:
        one.report_canceled()


@pytest.mark.scenario("J92", "J95")
def test_what_the_details_offer_is_looked_at_as_well(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, reporters: list[ProgressReporter]
) -> None:
    window = opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("ann", ["admin"]))
    page = window.operations
    all_there(qtbot, page, len(reporters))
    choose(page, "photos 0")
    details = page.details

    qtbot.mouseClick(details.bar.cancel, Qt.MouseButton.LeftButton)

    dialog = details.carrier.confirming
    assert dialog is not None
    assert dialog.isVisible()
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert details.bar.cancel.isEnabled(), "it can be thought over"
    assert not reporters[0].should_cancel()
    qtbot.mouseClick(details.bar.cancel, Qt.MouseButton.LeftButton)
    again = details.carrier.confirming
    assert again is not None
    qtbot.keyClick(again, Qt.Key.Key_Return)
    assert details.said.text() == "Asked to cancel 1 operation."
    qtbot.waitUntil(reporters[0].should_cancel, timeout=MOST_MS)

    other = opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("bob", ["operator"]))
    all_there(qtbot, other.operations, len(reporters))
    choose(other.operations, "photos 1")
    assert not other.operations.details.bar.cancel.isEnabled()
    assert other.operations.details.bar.cancel.toolTip() == "photos 1 belongs to local."


def test_letters_are_keys_and_choose_nothing(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.operations
    with ProgressReporter("copying", "photos", bar=False), ProgressReporter("copying", "rows", bar=False):
        qtbot.waitUntil(lambda: len(page.board) == 2, timeout=MOST_MS)
        page.board.settle()
        chosen = next(row for row in range(2) if page.board.at(row).name == "photos")
        page.list.setCurrentIndex(page.model.index(chosen))

        # Nothing that runs can be retried, and "rows" begins with that letter.
        qtbot.keyClick(page.list, Qt.Key.Key_R)

        assert [one.name for one in page.chosen()] == ["photos"]
