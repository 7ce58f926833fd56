"""The viewer's charts against a real server: what they show is what the journal has, and a click says which it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer, ResourceMonitor
from rfm_ui.view.window import ViewerWindow
from tests.commands import cli, environment
from tests.counting import check, journal
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET

pytestmark = pytest.mark.integration
AUTHENTICATOR = JWTAuthenticator(SECRET)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    monitor = ResourceMonitor(interval=0.5)
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTHENTICATOR, resource_monitor=monitor) as running:
        yield running


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> ViewerWindow:
    return opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("local-admin", ["admin"]))


def reported(kind: str, count: int, failed: int = 0) -> None:
    for number in range(count):
        with ProgressReporter(kind, f"{kind} {number}") as reporter:
            reporter.report_progress(50)
            if number < failed:
                reporter.report_failed("no disk")


@pytest.mark.scenario("E11", "J104")
def test_the_heatmap_has_what_ran_and_a_click_says_which(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.timeline
    reported("copying", 5, failed=2)
    with ProgressReporter("training", "<b>bold</b>") as reporter:
        reporter.report_progress(10)
        window.turn_to(page)
        page.show_heatmap()
        heatmap = page.heatmap

        def figures() -> dict[str | None, tuple[int, int, int]]:
            return {
                row.name: (row.buckets.operations, sum(row.buckets.failed), sum(row.buckets.completed))
                for row in heatmap.rows
            }

        # It is asked anew every few seconds, until all outcomes have been heard.
        qtbot.waitUntil(lambda: figures() == {"copying": (5, 2, 3), "training": (1, 0, 0)}, timeout=MOST_MS)
        copying = next(row.buckets for row in heatmap.rows if row.name == "copying")
        assert "5 ended, 2 failed" in page.activity.words()

        row = next(k for k, one in enumerate(heatmap.rows) if one.name == "copying")
        number = next(k for k, many in enumerate(copying.submitted) if many)
        cell = heatmap.cell_of(row, number)
        assert cell is not None
        assert f"{copying.submitted[number]} submitted" in heatmap.words(cell)
        place = heatmap.rect_of(cell).center().toPoint()
        qtbot.mouseClick(heatmap, Qt.MouseButton.LeftButton, pos=place)

        assert page.found.isVisible()
        qtbot.waitUntil(lambda: len(page.found.board) > 0, timeout=MOST_MS)
        there = [page.found.board.at(k) for k in range(len(page.found.board))]
        assert {one.kind for one in there} == {"copying"}
        assert len(there) >= copying.submitted[number]
        page.found.list.setCurrentIndex(page.found.model.index(0))
        qtbot.waitUntil(page.details.isVisible, timeout=MOST_MS)
        assert there[0].name in page.details.bar.accessibleName()


@pytest.mark.scenario("E8", "J104")
def test_the_heatmap_by_keys(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.timeline
    with ProgressReporter("training", "net"):
        window.turn_to(page)
        page.show_heatmap("owner")
        heatmap = page.heatmap
        qtbot.waitUntil(lambda: len(heatmap.rows) == 1, timeout=MOST_MS)
        qtbot.keyClick(heatmap, Qt.Key.Key_Down)
        assert heatmap.cell is not None
        assert heatmap.cell.title in heatmap.accessibleDescription()
        number = heatmap.cell.number
        qtbot.keyClick(heatmap, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
        assert heatmap.cell.number == number - 1
        qtbot.keyClick(heatmap, Qt.Key.Key_Right, Qt.KeyboardModifier.ControlModifier)
        qtbot.keyClick(heatmap, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: len(page.found.board) == 1, timeout=MOST_MS)


@pytest.mark.scenario("E11", "J104")
def test_all_of_the_page_shows_the_same_time(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.timeline
    window.turn_to(page)
    page.show_heatmap()
    qtbot.waitUntil(lambda: page.heatmap.reply is not None, timeout=MOST_MS)
    for view in (page.heatmap, page.activity, page.timeline):
        moved = view.period.moved(-0.5)
        view.show_period(moved)
        assert page.heatmap.period == page.activity.period == page.timeline.period == moved
    wide = page.timeline.period.zoomed(100.0, 0.5)
    page.activity.show_period(wide)
    qtbot.waitUntil(lambda: page.heatmap.reply.since_ms <= wide.begin_ms, timeout=MOST_MS)
    assert len(page.heatmap.reply.everything.peak) * 4 <= page.activity.width() + 4


@pytest.mark.scenario("E11", "J104")
def test_bars_that_are_too_many_give_way_to_how_many(
    qtbot: QtBot, window: ViewerWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rfm_ui.model.far.MOST_BARS", 3)
    page = window.timeline
    reported("copying", 3)
    window.turn_to(page)
    qtbot.waitUntil(lambda: len(page.timeline.spans) == 3, timeout=MOST_MS)
    assert page.timeline.isVisible()
    reported("copying", 2)
    page.timeline.show_period(page.timeline.period.zoomed(1.1, 1.0))
    qtbot.waitUntil(lambda: not page.timeline.isVisible(), timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.told.text() == "5 operations: nearer in time, each is a bar", timeout=MOST_MS)
    qtbot.waitUntil(lambda: page.activity.height() > 200, timeout=MOST_MS)
    page.show_heatmap()
    assert page.heatmap.isVisible()


@pytest.mark.scenario("E11", "J106")
def test_what_goes_through_is_drawn(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.machine
    window.turn_to(page)
    page.show_traffic()
    assert page.is_traffic
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(50)
        # In one process with its broker, the server has one name.
        qtbot.waitUntil(lambda: len(page.charted) == 1, timeout=MOST_MS)


@pytest.mark.scenario("E8", "J104")
def test_bars_and_bins_by_keys(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.timeline
    reported("copying", 2)
    window.turn_to(page)
    qtbot.waitUntil(lambda: len(page.timeline.spans) == 2, timeout=MOST_MS)
    first, second = sorted(page.timeline.spans, key=lambda span: (span.begin_ms, span.operation_id))
    control = Qt.KeyboardModifier.ControlModifier

    qtbot.keyClick(page.timeline, Qt.Key.Key_Right, control)
    assert page.timeline.pointed == second.operation_id
    qtbot.keyClick(page.timeline, Qt.Key.Key_Left, control)
    assert page.timeline.pointed == first.operation_id
    assert first.title in page.timeline.accessibleDescription()
    qtbot.keyClick(page.timeline, Qt.Key.Key_Return)
    qtbot.waitUntil(page.details.isVisible, timeout=MOST_MS)
    assert page.details.bar.accessibleName().startswith(first.title)

    qtbot.waitUntil(lambda: page.activity.reply is not None, timeout=MOST_MS)
    qtbot.keyClick(page.activity, Qt.Key.Key_Right, control)
    number = page.activity.pointed
    assert number is not None
    qtbot.keyClick(page.activity, Qt.Key.Key_Left, control)
    assert page.activity.pointed == number - 1
    qtbot.keyClick(page.activity, Qt.Key.Key_Return)
    qtbot.waitUntil(page.found.isVisible, timeout=MOST_MS)


@pytest.mark.scenario("E7", "J104")
def test_what_has_ended_long_ago_is_forgotten_and_asked_for_again(
    qtbot: QtBot, window: ViewerWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = window.timeline
    monkeypatch.setattr("rfm_ui.view.timeline_page.MOST_KNOWN", 3)
    page._room = 3
    reported("copying", 3)
    window.turn_to(page)
    qtbot.waitUntil(lambda: len(page.timeline.spans) == 3, timeout=MOST_MS)
    page.timeline.show_period(page.timeline.period.moved(5.0))
    reported("copying", 2)
    qtbot.waitUntil(lambda: len(page._known) < 3, timeout=MOST_MS)
    qtbot.keyClick(page.timeline, Qt.Key.Key_End)
    qtbot.waitUntil(lambda: len(page.timeline.spans) == 5, timeout=MOST_MS)


@pytest.mark.scenario("E11", "J104")
def test_a_seeded_run_is_shown_as_the_journal_has_it(qtbot: QtBot, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ProgressReportingServer(port=0, state_dir=state, authenticator=AUTHENTICATOR) as server:
        (tmp_path / "token").write_text(server.token)
        env = environment(tmp_path, RFM_URL=server.url, RFM_TOKEN_FILE=str(tmp_path / "token"))
        options = ("--operations", "30", "--at-once", "10", "--duration", "1", "--seed", "11", "--fail", "20")
        assert cli("simulate", *options, env=env).returncode == 0
        window = opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("local-admin", ["admin"]))
        page = window.timeline
        window.turn_to(page)
        page.show_heatmap()
        written = journal(state)
        assert len(written) >= 30
        count = len(written)
        qtbot.waitUntil(
            lambda: page.heatmap.reply is not None and page.heatmap.reply.everything.operations == count,
            timeout=MOST_MS,
        )
        reply = page.heatmap.reply
        assert reply is not None
        check(reply.everything, written, reply)
        named = {row.name for row in page.heatmap.rows}
        for row in page.heatmap.rows:
            check(
                row.buckets,
                [one for one in written if one.kind == row.name or (row.name is None and one.kind not in named)],
                reply,
            )
        assert page.activity.reply is reply
        failed = sum(one.state == "failed" for one in written)
        assert f"{count:,} ended, {failed:,} failed" in page.activity.words()
        window.close()


@pytest.mark.scenario("E2", "J104")
def test_another_server_is_counted_anew(qtbot: QtBot, window: ViewerWindow, server: ProgressReportingServer) -> None:
    page = window.timeline
    reported("copying", 2)
    window.turn_to(page)
    page.show_heatmap()
    qtbot.waitUntil(lambda: [row.name for row in page.heatmap.rows] == ["copying"], timeout=MOST_MS)
    # The same one by another connection, and then another one, while something is being asked.
    page._ask()
    page._session.use(url=server.url)
    qtbot.waitUntil(lambda: not page._is_asking, timeout=MOST_MS)
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTHENTICATOR) as other:
        page._ask()
        page._session.connect_to(url=other.url, token=other.token)
        qtbot.waitUntil(lambda: page.heatmap.reply is not None and page.heatmap.rows == [], timeout=MOST_MS)
        page._session.connect_to(url=server.url, token=server.token)
        qtbot.waitUntil(lambda: [row.name for row in page.heatmap.rows] == ["copying"], timeout=MOST_MS)


@pytest.mark.scenario("E7", "J104")
def test_time_passes_only_for_who_looks(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.timeline
    views = (page.timeline, page.activity, page.heatmap)
    assert not any(view._clock.isActive() for view in views)
    window.turn_to(page)
    qtbot.waitUntil(page.activity._clock.isActive, timeout=MOST_MS)
    assert [view._clock.isActive() for view in views] == [view.isVisible() for view in views]
    window.turn_to(window.operations)
    qtbot.waitUntil(lambda: not any(view._clock.isActive() for view in views), timeout=MOST_MS)
    assert not page._again.isActive()
