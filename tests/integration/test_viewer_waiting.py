"""Commands that wait for a connection: however many they are, and whoever is signed in when it comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_ui.model.actions import Wish
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET, signed

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J112", "E2")]

MANY = 1_200
"""More than a client keeps for a connection."""
RETRY = Wish("retry")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgressReportingServer]:
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE", "RFM_CA_FILE", "RFM_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    with ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "state", authenticator=JWTAuthenticator(SECRET)
    ) as running:
        yield running


def admin() -> str:
    return signed(sub="root", roles=["admin"])


def signed_out(qtbot: QtBot, window: ViewerWindow, server: ProgressReportingServer) -> Session:
    """It is the connection that is away, and not the server."""
    window._session.connect_to(url=server.url, token="nonsense")
    qtbot.waitUntil(lambda: window.indicator.word == "not signed in", timeout=MOST_MS)
    return window._session


@pytest.mark.fault
@pytest.mark.slow
def test_more_than_a_client_keeps_are_all_asked_for(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    page, strip = window.operations, window.access.strip
    reporters = [ProgressReporter("copying", f"photos {number}") for number in range(MANY)]
    qtbot.waitUntil(lambda: len(page.board) == MANY, timeout=60_000)
    session = signed_out(qtbot, window, server)
    page.list.selectAll()
    page.wishes.cancel.trigger()
    confirming = page.wishes.confirming
    assert confirming is not None
    told: list[str] = []
    session.told.connect(told.append)
    changes: list[None] = []
    session.pending_changed.connect(lambda: changes.append(None))
    confirming.accept()
    assert len(session.pending) == MANY
    qtbot.waitUntil(lambda: "1,200 commands will be sent" in strip.text.text(), timeout=MOST_MS)
    assert len(changes) == 1, "of all together"

    session.sign_in(admin())

    qtbot.waitUntil(lambda: len(session.pending) == 0, timeout=MOST_MS)
    qtbot.waitUntil(
        lambda: all(one.state == "cancelling" or one.cancel_requested for one in page.board.operations.values()),
        timeout=60_000,
    )
    assert told == []
    assert all(reporter.should_cancel() for reporter in reporters[::100])
    for reporter in reporters:
        reporter.report_canceled()


def test_they_are_not_sent_in_the_name_of_another_user(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, signed(sub="ann", roles=["operator"]))
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(10.0)
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        page = window.operations
        page.list.setCurrentIndex(page.model.index(0))
        session = signed_out(qtbot, window, server)
        page.wishes.wish(Wish("cancel"))
        assert [one.command.name for one in session.pending.all] == ["photos"]
        told: list[str] = []
        session.told.connect(told.append)

        session.sign_in(admin())

        qtbot.waitUntil(lambda: told == ["They were asked for by ann: cancel photos."], timeout=MOST_MS)
        assert window.indicator.word == "live"
        assert len(session.pending) == 0
        # What is asked for now comes after whatever has been sent.
        qtbot.waitUntil(lambda: len(page.board) == 1, timeout=MOST_MS)
        page.list.setCurrentIndex(page.model.index(0))
        page.wishes.wish(Wish("prioritise", to=7))
        qtbot.waitUntil(lambda: page.board.at(0).priority == 7, timeout=MOST_MS)
        assert not page.board.at(0).cancel_requested
        assert not reporter.should_cancel()


def test_a_retry_waits_where_it_can_be_taken_back_and_a_refusal_is_told(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    page = window.operations
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_failed("no room")
    qtbot.waitUntil(lambda: len(page.board) == 1 and page.board.at(0).state == "failed", timeout=MOST_MS)
    page.list.setCurrentIndex(page.model.index(0))
    session = signed_out(qtbot, window, server)
    # As if an engine had offered it when it was there.
    page.wishes._carrier.kinds = frozenset({"copying"})
    told: list[str] = []
    page.wishes.told.connect(told.append)
    page.wishes.wish(RETRY)
    page.wishes.wish(RETRY)
    assert [(one.command.action, one.command.name) for one in session.pending.all] == [("retry", "photos")]
    assert told == ["Waits for the server: retry 1 operation."] * 2
    session.take_back(session.pending.all[0].number)
    assert len(session.pending) == 0
    page.wishes.wish(RETRY)

    session.sign_in(admin())

    qtbot.waitUntil(lambda: told[-1].startswith("Could not retry photos: "), timeout=MOST_MS)
    assert len(session.pending) == 0
    assert len(page.board) == 1


def test_what_the_connection_has_gone_before_waits_too(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    page, session = window.operations, window._session
    with contextlib.ExitStack() as open_ones:
        reporters = [open_ones.enter_context(ProgressReporter("copying", f"photos {number}")) for number in range(40)]
        qtbot.waitUntil(lambda: len(page.board) == 40, timeout=MOST_MS)
        page.list.selectAll()
        # Nothing is told to the window meanwhile, which takes it for live.
        server.stop()
        client = session._bridge._client
        assert client is not None
        eventually(lambda: client.state not in ("live", "stale"))
        assert session.is_there
        told: list[str] = []
        page.wishes.told.connect(told.append)
        page.wishes.cancel.trigger()
        assert page.wishes.confirming is not None
        page.wishes.confirming.accept()
        assert told == ["Asked to cancel 40 operations."]

        qtbot.waitUntil(lambda: told[-1] == "Waits for the server: cancel 40 operations.", timeout=MOST_MS)
        assert len(session.pending) == 40
        assert client.waiting == [], "there it would run out"

        server.start()
        session.retry_now()
        qtbot.waitUntil(lambda: all(reporter.should_cancel() for reporter in reporters), timeout=MOST_MS)
        assert not any("refusal" in words for words in told)
        for reporter in reporters:
            reporter.report_canceled()


def test_what_nobody_looks_at_is_cancelled_when_the_server_is_back(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    with ProgressReporter("render.escape_time", "explorer") as reporter:
        reporter.report_progress(10.0)
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        operation_id = window.operations.board.at(0).operation_id
        session = signed_out(qtbot, window, server)

        window.explorer.rendering._cancel(operation_id)

        assert len(session.pending) == 0, "nobody has asked for it"
        session.sign_in(admin())
        qtbot.waitUntil(reporter.should_cancel, timeout=MOST_MS)
        reporter.report_canceled()
