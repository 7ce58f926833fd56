"""Answers that come to what is closed by then, or that go wrong: nothing else that has happened is lost by them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer, SecureProgressServer
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import BadRequestError, RfmError
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_ui.bridge import Bridge
from rfm_ui.view.notifications.rules_page import RulesDialog
from rfm_ui.view.report_dialog import ReportDialog
from rfm_ui.view.window import ViewerWindow
from tests.certificates import authority
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET, signed

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's user is touched, or found."""
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE", "RFM_CA_FILE", "RFM_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ProgressReportingServer]:
    """On disk, so that it comes back with what it knew."""
    with ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "state", authenticator=JWTAuthenticator(SECRET)
    ) as running:
        yield running


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True, authenticator=JWTAuthenticator(SECRET)) as running:
        yield running


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> ViewerWindow:
    return opened(qtbot, tmp_path, server.url, signed(sub="root", roles=["admin"]))


@pytest.fixture
def reporter(qtbot: QtBot, window: ViewerWindow) -> Iterator[ProgressReporter]:
    with ProgressReporter("copying", "photos") as made:
        made.report_progress(40.0)
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        yield made


def in_one_frame(window: ViewerWindow, reporter: ProgressReporter) -> str:
    """The operation completes, and what was asked for is answered, while the window's thread does something else."""
    bridge, operation_id = window._session._bridge, window.operations.board.at(0).operation_id
    reporter.report_completed()
    eventually(lambda: bridge.known[operation_id].state == "completed" and bool(bridge._answers))
    # The client has it a moment before the bridge.
    eventually(lambda: operation_id in bridge._changed)
    return operation_id


@pytest.mark.scenario("A4")
@pytest.mark.qt_no_exception_capture
def test_an_answer_that_goes_wrong_takes_nothing_else_along(
    qtbot: QtBot, window: ViewerWindow, reporter: ProgressReporter
) -> None:
    heard = []

    async def question(_client: AsyncClient) -> None:
        """Is answered at once."""

    def wrong(_result: Any, _error: RfmError | None) -> None:
        raise RuntimeError("it is gone")

    window._session.ask(question, wrong)
    window._session.ask(question, lambda *_said: heard.append(True))
    with qtbot.captureExceptions() as caught:
        operation_id = in_one_frame(window, reporter)
        qtbot.waitUntil(lambda: window.operations.board.operations[operation_id].state == "completed", timeout=MOST_MS)

    assert heard == [True]
    assert [str(one[1]) for one in caught] == ["it is gone"], "it is not hidden either"


@pytest.mark.scenario("E13", "A4")
def test_a_report_that_is_closed_before_it_comes(
    qtbot: QtBot, window: ViewerWindow, reporter: ProgressReporter
) -> None:
    dialog = ReportDialog(window._session, window)
    dialog.of_operation(window.operations.board.at(0).operation_id)
    dialog.close()
    QCoreApplication.sendPostedEvents(dialog, QEvent.Type.DeferredDelete.value)
    assert not isValid(dialog)

    operation_id = in_one_frame(window, reporter)

    qtbot.waitUntil(lambda: window.operations.board.operations[operation_id].state == "completed", timeout=MOST_MS)


@pytest.mark.scenario("E12", "A4")
def test_rules_that_are_closed_before_they_are_kept(
    qtbot: QtBot, window: ViewerWindow, reporter: ProgressReporter
) -> None:
    notifications = window.notifications
    qtbot.waitUntil(lambda: notifications.known is not None, timeout=MOST_MS)
    before = notifications.known
    dialog = RulesDialog(notifications, window)
    dialog.open()
    dialog.page.copy.click()
    dialog.page.save()
    dialog.reject()
    QCoreApplication.sendPostedEvents(dialog, QEvent.Type.DeferredDelete.value)
    assert not isValid(dialog.page)

    operation_id = in_one_frame(window, reporter)

    qtbot.waitUntil(lambda: window.operations.board.operations[operation_id].state == "completed", timeout=MOST_MS)
    qtbot.waitUntil(lambda: notifications.known != before, timeout=MOST_MS)


@pytest.mark.scenario("J112")
def test_nothing_is_asked_while_nobody_looks_or_can_be_answered(
    qtbot: QtBot, tmp_path: Path, own: ProgressReportingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = opened(qtbot, tmp_path, own.url, signed(sub="root", roles=["admin"]))
    page, session = window.operations, window._session
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(40.0)
        qtbot.waitUntil(lambda: len(page.board) == 1, timeout=MOST_MS)
        page.list.setCurrentIndex(page.model.index(0))
        details = page.details
        qtbot.waitUntil(lambda: bool(details.facts.shown), timeout=MOST_MS)
        looks: list[None] = []
        details._again.timeout.connect(lambda: looks.append(None))
        details._again.setInterval(20)

        own.stop()
        qtbot.waitUntil(lambda: session.link.state == "reconnecting", timeout=MOST_MS)
        # Those that were under way as it went.
        client = session._bridge._client
        assert client is not None
        waited = len(client.waiting)
        looks.clear()
        for other in (window.machine, window.workers, window.operations):
            window.turn_to(other)
        qtbot.waitUntil(lambda: len(looks) >= 20, timeout=MOST_MS)
        assert len(client.waiting) == waited <= 3

        window.turn_to(window.timeline)
        own.start()
        session.retry_now()
        qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=MOST_MS)
        qtbot.waitUntil(lambda: not client.waiting, timeout=MOST_MS)
        asked: list[None] = []
        real = details._session.ask
        monkeypatch.setattr(session, "ask", lambda *given, **named: (asked.append(None), real(*given, **named)))
        window.timeline._again.stop()
        looks.clear()
        qtbot.waitUntil(lambda: len(looks) >= 20, timeout=MOST_MS)
        assert len(asked) <= 2, "nobody looks at it"
        details._again.setInterval(60_000)
        page.details.facts.show_rows([])

        window.turn_to(page)

        qtbot.waitUntil(lambda: bool(details.facts.shown), timeout=MOST_MS)
        reporter.report_completed()


def link_of(url: str, **options: Any) -> str:
    """The code of a sign-in link."""
    code = secrets.token_urlsafe(32)
    digest = hashlib.sha256(code.encode()).hexdigest()
    with Client(url=url, token=signed(sub="root", roles=["admin"]), **options) as admin:
        admin.sign_in_link(SignInLink(digest=digest, user="ann", roles=["operator"]))
    return code


def becomes(bridge: Bridge, state: str) -> list[str]:
    """The states until it is so."""
    states: list[str] = []

    def is_so() -> bool:
        link = bridge.take().link
        if link is not None:
            states.append(link.state)
        return state in states

    eventually(is_so, timeout_s=20.0)
    return states


@pytest.mark.scenario("J110")
def test_who_keeps_a_token_and_fails_keeps_nobody_out(
    server: ProgressReportingServer, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[str] = []

    def keep(token: str) -> None:
        given.append(token)
        raise BadRequestError("the token cannot be kept: no space left", hint="make room")

    bridge = Bridge(lambda: None, url=server.url, code=link_of(server.url), keep=keep)
    bridge.start()
    try:
        assert "closed" not in becomes(bridge, "live")
        bridge.use()
        becomes(bridge, "live")
        assert len(given) == 1, "a code is good for once"
        assert "could not be kept" in caplog.text
        assert given[0] not in caplog.text
    finally:
        bridge.close()


@pytest.mark.scenario("J110")
def test_a_token_is_kept_also_where_the_authority_was_chosen_first(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    with SecureProgressServer(
        port=0, memory=True, ssl_cert_file=ca.server, ssl_key_file=ca.server_key, authenticator=JWTAuthenticator(SECRET)
    ) as secure:
        known = {"ca_file": str(ca.certificate)}
        given: list[str] = []
        bridge = Bridge(lambda: None, url=secure.url, code=link_of(secure.url, **known), keep=given.append)
        bridge.start()
        try:
            becomes(bridge, "closed")
            assert given == []
            bridge.use(**known)
            becomes(bridge, "live")
            eventually(lambda: len(given) == 1)
        finally:
            bridge.close()
