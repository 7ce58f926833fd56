"""The viewer's way to its server: who signs in how, what is said of certificates, and what becomes of what is shown."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer, SecureProgressServer
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.security.users import add_user
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_ui.view.access import last_server, options_of
from rfm_ui.view.session import Session
from rfm_ui.view.sign_in import SignInDialog
from rfm_ui.view.window import ViewerWindow
from tests.certificates import authority, make
from tests.screens import MOST_MS
from tests.tokens import SECRET, signed

pytestmark = pytest.mark.integration

GRACE_S = 25
"""So long after its end a token is taken still, and a session goes on."""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE", "RFM_CA_FILE", "RFM_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=free_ports(1), memory=True, authenticator=JWTAuthenticator(SECRET)) as running:
        yield running


def shown(qtbot: QtBot, folder: Path, url: str, token: str = "", **options: object) -> ViewerWindow:
    """A window that has begun to connect."""
    session = Session(url=url, token=token, initial_delay=0.05, **options)
    window = ViewerWindow(session, QSettings(str(folder / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(window, before_close_func=lambda one: one.explorer.leave())
    session.start()
    window.show()
    return window


def live(qtbot: QtBot, window: ViewerWindow) -> None:
    qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=MOST_MS)


def dialog_of(qtbot: QtBot, window: ViewerWindow) -> SignInDialog:
    """The dialog that is open by itself."""
    qtbot.waitUntil(lambda: any(one.isVisible() for one in window.findChildren(SignInDialog)), timeout=MOST_MS)
    return next(one for one in window.findChildren(SignInDialog) if one.isVisible())


def written(folder: Path) -> str:
    """Everything that is kept in readable files."""
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.scenario("J110")
def test_who_has_no_token_is_asked_and_let_in_without_a_restart(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    window = shown(qtbot, tmp_path, server.url)
    dialog = dialog_of(qtbot, window)
    assert "wants to know who you are" in dialog.why.text()
    assert window.indicator.word == "not signed in"
    assert window.operations.empty.text() == "Sign in to see what runs here."
    dialog.reject()
    qtbot.mouseClick(window.indicator, Qt.MouseButton.LeftButton)
    dialog = dialog_of(qtbot, window)

    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    assert dialog.isVisible()
    assert "there is no token" in dialog.told.text()
    wrong = signed("x" * 32)
    dialog.token.setText(wrong)
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    again = dialog_of(qtbot, window)
    qtbot.waitUntil(lambda: "does not take this token" in again.why.text(), timeout=MOST_MS)
    right = signed()
    again.token.setText(right)
    qtbot.mouseClick(again.accept_button, Qt.MouseButton.LeftButton)

    live(qtbot, window)
    assert window.access.strip.isHidden()
    window.close()
    kept = written(tmp_path)
    assert wrong not in kept
    assert right not in kept, "nobody has asked for it to be kept"
    said = caplog.text + "".join(repr(record.args) for record in caplog.records)
    assert wrong not in said
    assert right not in said
    assert right not in repr(window._session.link)


@pytest.mark.scenario("J110", "J112", "G2")
def test_a_token_that_expires_is_told_and_another_one_goes_on(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    with ProgressReporter("copying", "photos") as reporter, Client(url=server.url, token=signed()) as looking:
        reporter.report_progress(40.0)
        eventually(looking.operations, timeout_s=30, what="the server knows it")
        # It is taken for six seconds more: time to see what there is.
        window = shown(qtbot, tmp_path, server.url, signed(exp=int(time.time()) - GRACE_S + 6))
        live(qtbot, window)
        board = window.operations.board
        qtbot.waitUntil(lambda: len(board) == 1, timeout=MOST_MS)

        strip = window.access.strip
        qtbot.waitUntil(lambda: strip.isVisible() and strip.title.text() == "Your sign-in has expired", timeout=MOST_MS)
        qtbot.waitUntil(lambda: "What is shown is as of" in strip.text.text(), timeout=MOST_MS)
        assert window.access.veil.isVisible(), "what is old is grey"
        assert len(board) == 1, "and stays to be read"
        assert not window.findChildren(SignInDialog), "nothing opens over it by itself"
        qtbot.mouseClick(strip.buttons["sign_in"], Qt.MouseButton.LeftButton)
        dialog = dialog_of(qtbot, window)
        assert "has expired" in dialog.why.text()
        dialog.token.setText(signed())
        qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)

        live(qtbot, window)
        assert len(board) == 1
        assert window.access.veil.isHidden()
        reporter.report_progress(60.0)
        qtbot.waitUntil(lambda: (board.at(0).latest or board.at(0)).progress == 60.0, timeout=MOST_MS)


@pytest.mark.scenario("J110", "G2")
def test_a_fresh_token_is_shown_on_the_connection_that_there_is(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    states = []
    window = shown(qtbot, tmp_path, server.url, signed(exp=int(time.time()) - GRACE_S + 3))
    live(qtbot, window)
    began_s = time.monotonic()
    window._session.news.connect(lambda news: states.append(news.link and news.link.state))
    strip = window.access.strip
    qtbot.waitUntil(lambda: strip.title.text().startswith("Your sign-in ends at"), timeout=MOST_MS)

    qtbot.mouseClick(strip.buttons["sign_in"], Qt.MouseButton.LeftButton)
    dialog = dialog_of(qtbot, window)
    dialog.token.setText(signed())
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)

    qtbot.waitUntil(strip.isHidden, timeout=MOST_MS)
    qtbot.waitUntil(lambda: time.monotonic() - began_s > 5.0, timeout=MOST_MS)
    assert window.indicator.word == "live", "the first one has ended by now"
    assert set(states) <= {None, "live"}


@pytest.mark.scenario("J110")
def test_a_file_that_has_another_token_needs_no_word(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    file = tmp_path / "token"
    window = shown(qtbot, tmp_path, server.url)
    dialog = dialog_of(qtbot, window)
    dialog.turn_to("Token file")
    dialog.file.show_path(str(file))
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    assert f"cannot read {file}" in dialog.told.text()
    file.write_text(signed(exp=int(time.time()) - GRACE_S + 3))
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    live(qtbot, window)
    began_s = time.monotonic()

    file.write_text(signed())

    strip = window.access.strip
    qtbot.waitUntil(lambda: time.monotonic() - began_s > 6.0, timeout=MOST_MS)
    live(qtbot, window)
    assert strip.isHidden()
    assert not window.findChildren(SignInDialog)


@pytest.mark.scenario("J110")
def test_a_token_is_kept_only_where_that_is_asked_for_and_nobody_else_can_read_it(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = shown(qtbot, tmp_path, server.url)
    dialog = dialog_of(qtbot, window)
    token = signed()
    dialog.token.setText(token)
    dialog.keep.setChecked(True)
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    live(qtbot, window)

    file = Path(window.access.server.token_file)
    assert file.is_relative_to(tmp_path / "config-home")
    assert file.read_text() == token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    window.close()
    assert token not in (tmp_path / "viewer.ini").read_text()
    settings = QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)
    found = last_server(settings, server.url)
    assert found.token_file == str(file), "the next window finds it"
    assert options_of(found)["token"] == token


@pytest.mark.scenario("J110", "J58")
def test_a_link_lets_in_and_its_token_goes_on(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    code = secrets.token_urlsafe(32)
    digest = hashlib.sha256(code.encode()).hexdigest()
    with Client(url=server.url, token=signed(sub="root", roles=["admin"])) as admin:
        admin.sign_in_link(SignInLink(digest=digest, user="ann", roles=["operator"]))
    window = shown(qtbot, tmp_path, server.url)
    dialog = dialog_of(qtbot, window)
    dialog.turn_to("Sign-in link")
    dialog.link.setText("nonsense")
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    assert "that is no sign-in link" in dialog.told.text()
    dialog.link.setText(f"{server.url.replace('ws', 'http', 1)}/#code={code}")
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    live(qtbot, window)

    # A code is good for once, so it is the token that finds the server again.
    session = window._session
    before_s = session.link.at_s
    session.use()
    qtbot.waitUntil(lambda: session.link.state == "live" and session.link.at_s > before_s, timeout=MOST_MS)

    again = window.access.ask_to_sign_in()
    again.turn_to("Sign-in link")
    again.link.setText(f"{server.url.replace('ws', 'http', 1)}/#code={code}")
    qtbot.mouseClick(again.accept_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.access.strip.title.text() == "That link is not taken", timeout=MOST_MS)
    window.close()
    assert code not in written(tmp_path)


@pytest.mark.scenario("J110")
def test_a_token_of_a_link_that_cannot_be_kept_lets_in_all_the_same(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    code = secrets.token_urlsafe(32)
    digest = hashlib.sha256(code.encode()).hexdigest()
    with Client(url=server.url, token=signed(sub="root", roles=["admin"])) as admin:
        admin.sign_in_link(SignInLink(digest=digest, user="ann", roles=["operator"]))
    # Where the folder should be.
    (tmp_path / "config-home").write_text("")
    window = shown(qtbot, tmp_path, server.url)
    dialog = dialog_of(qtbot, window)
    dialog.turn_to("Sign-in link")
    dialog.link.setText(f"{server.url.replace('ws', 'http', 1)}/#code={code}")
    dialog.keep.setChecked(True)
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)

    live(qtbot, window)
    strip = window.access.strip
    qtbot.waitUntil(lambda: strip.title.text() == "You are signed in, and the token is not kept", timeout=MOST_MS)
    assert "cannot be kept" in strip.text.text()


@pytest.mark.scenario("J110")
def test_a_token_that_was_entered_counts_and_not_the_file_of_before(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    file = tmp_path / "token"
    file.write_text(signed(sub="bob", exp=int(time.time()) - GRACE_S + 3))
    window = shown(qtbot, tmp_path, server.url)
    dialog = dialog_of(qtbot, window)
    dialog.turn_to("Token file")
    dialog.file.show_path(str(file))
    qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
    live(qtbot, window)
    entered = window.access.ask_to_sign_in()
    entered.token.setText(signed(exp=int(time.time()) - GRACE_S + 6))
    qtbot.mouseClick(entered.accept_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: getattr(window._session.server, "user", "") == "ann", timeout=MOST_MS)
    file.write_text(signed(sub="bob"))

    qtbot.waitUntil(lambda: window.access.strip.title.text() == "Your sign-in has expired", timeout=MOST_MS)
    assert window.indicator.word == "not signed in", "nobody has said that it should be bob again"


@pytest.mark.scenario("J110", "J62")
def test_a_certificate_is_as_good_as_a_token(qtbot: QtBot, tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    add_user(ca.users, "ann", "ann", ["operator"])
    certificate, key = ca.client("ann")
    with SecureProgressServer(
        port=0, memory=True, ssl_cert_file=ca.server, ssl_key_file=ca.server_key, client_ca=ca.certificate,
        users=ca.users,
    ) as server:  # fmt: skip
        window = shown(qtbot, tmp_path, server.url)
        strip = window.access.strip
        qtbot.waitUntil(lambda: "vouches for" in strip.title.text(), timeout=MOST_MS)
        qtbot.mouseClick(strip.buttons["choose_ca"], Qt.MouseButton.LeftButton)
        window.access.choose_ca(str(ca.certificate))
        dialog = dialog_of(qtbot, window)
        dialog.turn_to("Certificate")
        dialog.certificate.show_path(str(certificate))
        dialog.key.show_path(str(key))
        qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
        live(qtbot, window)
        window.close()


@contextlib.contextmanager
def listening(certificate: Path, key: Path) -> Iterator[str]:
    """Somebody who makes handshakes with this certificate, which our own server would not start with. Its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _address = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), peer:
                peer.settimeout(10.0)
                context.wrap_socket(peer, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"wss://localhost:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.scenario("J110", "G5")
@pytest.mark.parametrize(
    ("signs", "hosts", "days", "title", "offer"),
    [
        (False, ("localhost",), (-1, 30), "Nobody whom this computer trusts vouches for localhost", "choose_ca"),
        (None, ("localhost",), (-1, 30), "localhost vouches for itself alone", "choose_ca"),
        (True, ("localhost",), (-30, -1), "The certificate of localhost has expired", "retry"),
        (True, ("localhost",), (1, 30), "The certificate of localhost is not valid yet", "retry"),
        (True, ("other.example",), (-1, 30), "Whoever answers is not localhost", "edit_address"),
    ],
)
def test_a_certificate_that_is_not_good_is_explained(
    qtbot: QtBot,
    tmp_path: Path,
    signs: bool | None,
    hosts: tuple[str, ...],
    days: tuple[int, int],
    title: str,
    offer: str,
) -> None:
    ca = authority(tmp_path / "ca")
    pair = make(tmp_path / "odd", "server", signer=None if signs is None else ca, hosts=hosts, days=days)
    known = {"ca_file": str(ca.certificate)} if signs else {}
    with listening(*pair) as url:
        window = shown(qtbot, tmp_path, url, signed(), **known)
        strip = window.access.strip
        qtbot.waitUntil(strip.isVisible, timeout=MOST_MS)
        assert strip.title.text() == title
        assert "Nothing was sent to it." in strip.text.text()
        assert strip.buttons[offer].isVisible()
        assert window.indicator.word == "not connected"
        window.close()


@pytest.mark.scenario("J110", "J62")
def test_a_server_that_wants_a_certificate_says_so(qtbot: QtBot, tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    add_user(ca.users, "ann", "ann", ["operator"])
    certificate, key = ca.client("ann")
    with SecureProgressServer(
        port=0, memory=True, ssl_cert_file=ca.server, ssl_key_file=ca.server_key, client_ca=ca.certificate,
        users=ca.users, client_auth=True,
    ) as server:  # fmt: skip
        window = shown(qtbot, tmp_path, server.url, signed(), ca_file=str(ca.certificate))
        strip = window.access.strip
        qtbot.waitUntil(lambda: strip.title.text().endswith("does not take your certificate"), timeout=MOST_MS)
        qtbot.mouseClick(strip.buttons["choose_certificate"], Qt.MouseButton.LeftButton)
        dialog = dialog_of(qtbot, window)
        dialog.certificate.show_path(str(key))
        qtbot.mouseClick(dialog.accept_button, Qt.MouseButton.LeftButton)
        # A file that is none is told as well.
        qtbot.waitUntil(lambda: "has no certificate in PEM" in strip.text.text(), timeout=MOST_MS)
        again = window.access.ask_to_sign_in()
        again.turn_to("Certificate")
        again.certificate.show_path(str(certificate))
        again.key.show_path(str(key))
        qtbot.mouseClick(again.accept_button, Qt.MouseButton.LeftButton)
        live(qtbot, window)
        assert strip.isHidden()
        window.close()


@pytest.mark.scenario("J110", "J63")
def test_tls_where_there_is_none_and_none_where_it_is_expected(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = shown(qtbot, tmp_path, server.url.replace("ws:", "wss:"), signed())
    strip = window.access.strip
    qtbot.waitUntil(lambda: strip.title.text() == "127.0.0.1 does not speak TLS there", timeout=MOST_MS)
    assert strip.buttons["edit_address"].isVisible()
    window.close()
    ca = authority(tmp_path / "ca")
    with SecureProgressServer(port=0, memory=True, ssl_cert_file=ca.server, ssl_key_file=ca.server_key) as secure:
        plain = shown(qtbot, tmp_path, secure.url.replace("wss:", "ws:"), signed())
        strip = plain.access.strip
        qtbot.waitUntil(lambda: strip.title.text().endswith("most likely wants TLS"), timeout=MOST_MS)
        plain.close()
