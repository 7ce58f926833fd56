"""Which server a window shows, how one signs in there, and what is said while it is away.

Its parts are put into the window: a button with the servers, a strip, a veil over what is old, and actions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from PySide6.QtCore import QObject, QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDialog, QFileDialog, QMenu, QToolButton, QWidget

from rfm_runtime.core.text import shortened
from rfm_runtime.errors import BadRequestError
from rfm_ui.bridge import News
from rfm_ui.model.freshness import Freshness, as_of
from rfm_ui.model.servers import LOCAL, Server, Servers, of_text, options, to_text
from rfm_ui.model.sign_in import refusal
from rfm_ui.model.strip import Offer, Situation, strip_of
from rfm_ui.view import kept_tokens
from rfm_ui.view.pending_dialog import PendingDialog
from rfm_ui.view.server_dialogs import ServerDialog, ServersDialog
from rfm_ui.view.session import Session
from rfm_ui.view.sign_in import Entry, SignInDialog
from rfm_ui.view.strip import StripBar, Veil
from rfm_ui.view.words import set_tip

__all__ = ["Access", "last_server", "options_of"]

CLOCK_MS = 500
LETTERS = 28
"""Of a name in the head of a window."""
KNOWN, LAST = "servers/known", "servers/last"


def options_of(server: Server) -> dict[str, Any]:
    """Of the client, with the token from the server's file; without one where that cannot be read: it is asked for."""
    token = ""
    if server.token_file:
        try:
            token = kept_tokens.from_file(server.token_file)
        except BadRequestError:
            token = ""
    found = options(server, token)
    if server.token_file:
        found["get_token"] = kept_tokens.source_of(server.token_file)
    return found


def last_server(settings: QSettings, wanted: str = "") -> Server:
    """The one by this name or address; "": the last that was shown, if it is known still. Raises BadRequestError."""
    servers = of_text(str(settings.value(KNOWN, "")))
    if wanted:
        return servers.found(wanted)
    return servers.named(str(settings.value(LAST, ""))) or LOCAL


class Access(QObject):
    """Of one window. pages: what is greyed while it is old. server: which the session shows. local: options of the
    client for the runtime of this machine.
    """

    changed = Signal()
    _given = Signal(str, str)
    _not_kept = Signal(str)

    def __init__(
        self,
        session: Session,
        settings: QSettings,
        pages: QWidget,
        server: Server | None = None,
        local: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(pages)
        self._session, self._settings, self._pages = session, settings, pages
        self._local = dict(local or {})
        shown = Server(_host(session.url), url=session.url, ca_file=session.ca_file) if session.url else LOCAL
        self.server = server or shown
        self.servers = of_text(str(settings.value(KNOWN, "")))
        self._freshness = Freshness()
        self._told = self._told_of = ""
        self._by_link = False
        self._has_token = session.has_token
        self._dialog: QDialog | None = None
        self._turns: list[QAction] = []
        self.strip = StripBar()
        self.strip.wanted.connect(self.take_up)
        self.veil = Veil(pages)
        self.button = QToolButton()
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setMenu(QMenu(self.button))
        self.sign_in_action = QAction("Sign in …", self)
        self.sign_in_action.triggered.connect(self.ask_to_sign_in)
        self.servers_action = QAction("Servers …", self)
        self.servers_action.triggered.connect(self.ask_for_servers)
        self._clock = QTimer(self)
        self._clock.setInterval(CLOCK_MS)
        self._clock.timeout.connect(self._refresh)
        self._given.connect(self._token_kept)
        self._not_kept.connect(lambda words: self._tell(words, "You are signed in, and the token is not kept"))
        session.news.connect(self._heard)
        session.pending_changed.connect(self._refresh)
        session.told.connect(self._tell)
        self._show_servers()

    @property
    def actions(self) -> list[QAction]:
        """All that one can do here, for menus and palettes."""
        return [self.sign_in_action, self.servers_action, *self._turns]

    # --- what can be done -------------------------------------------------------------------

    def connect_to(self, server: Server) -> None:
        """Show another server, or the same one anew."""
        if server.is_local:
            self._turn(server, self._local)
        else:
            found = options_of(server)
            self._turn(server, found, has_token=bool(found["token"]))

    def sign_in(self, entry: Entry) -> None:
        """Go on with what somebody has entered. Raises BadRequestError if it cannot be kept."""
        server = replace(entry.server, name=entry.server.name or _host(entry.server.url))
        if server.url != self.server.url:
            # A link of another server.
            server = self.servers.at(server.url) or Server(_host(server.url), url=server.url, ca_file=server.ca_file)
        if entry.is_kept:
            # What is kept for it is to be found again.
            self._make_known(server)
        if entry.is_kept and entry.token:
            server = replace(server, token_file=kept_tokens.keep(server.url, entry.token))
        is_same = not entry.code and replace(server, token_file="") == replace(self.server, token_file="")
        if is_same and entry.token and not server.token_file:
            self._remember(server)
            self._has_token, self._by_link = True, False
            self._session.sign_in(entry.token)
            return
        found = options(server, entry.token)
        if server.token_file:
            found["get_token"] = kept_tokens.source_of(server.token_file)
        if entry.code:
            found |= {"code": entry.code}
            if entry.is_kept:
                found["keep"] = self.keeper_of(server.url)
        self._turn(server, found, has_token=bool(entry.token), by_link=bool(entry.code))

    def keeper_of(self, url: str) -> Callable[[str], None]:
        """What keeps a token that this server has given, in whichever thread it is called."""
        return partial(self._keep_given, url)

    def keep(self, servers: Servers) -> None:
        """These are known from now on."""
        for gone in {one.url for one in self.servers.others} - {one.url for one in servers.others}:
            kept_tokens.forget(gone)
        self.servers = servers
        self._settings.setValue(KNOWN, to_text(servers))
        now = servers.at(self.server.url)
        if now is not None and now != self.server:
            self.connect_to(now)
        self._show_servers()

    def choose_ca(self, path: str) -> None:
        """Take the authorities in this file for those of the server."""
        self._remember(replace(self.server, ca_file=path))
        self._session.use(ca_file=path)

    def take_up(self, offer: Offer) -> None:
        """What a button of the strip offers."""
        match offer:
            case "retry":
                self._session.retry_now()
            case "sign_in":
                self.ask_to_sign_in()
            case "choose_certificate":
                self.ask_to_sign_in().turn_to("Certificate")
            case "edit_address":
                self._ask_for_server()
            case "choose_ca":
                dialog = QFileDialog(self.button.window(), "CA file")
                dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
                dialog.fileSelected.connect(self.choose_ca)
                dialog.open()
            case "pending":
                self._open(PendingDialog(self._session, self.button.window()))
            case "dismiss":
                self._told = ""
                self._refresh()

    # --- dialogs ----------------------------------------------------------------------------

    def ask_to_sign_in(self) -> SignInDialog:
        """Open the dialog, or the one that is open."""
        if isinstance(self._dialog, SignInDialog):
            return self._dialog
        dialog = SignInDialog(self.server, self.sign_in, self.button.window())
        if self._session.link.state == "unauthorised":
            refused = refusal(self._session.link, by_link=self._by_link, has_token=self._has_token)
            dialog.tell(f"{refused.title}. {refused.advice}")
        self._open(dialog)
        return dialog

    def ask_for_servers(self) -> ServersDialog:
        """Open the dialog with all servers."""
        dialog = ServersDialog(lambda: self.servers, self.keep, self.connect_to, self.server, self.button.window())
        self._open(dialog)
        return dialog

    def _ask_for_server(self) -> None:
        known = self.servers.named(self.server.name)

        def put(server: Server) -> None:
            self.keep(self.servers.put(server, "" if known is None else known.name))
            self.connect_to(self.servers.named(server.name) or server)

        self._open(ServerDialog(self.server, put, self.button.window()))

    def _open(self, dialog: QDialog) -> None:
        self._dialog = dialog
        dialog.finished.connect(self._dialog_gone)
        dialog.open()

    def _dialog_gone(self) -> None:
        dialog, self._dialog = self._dialog, None
        if dialog is not None:
            dialog.deleteLater()

    # --- what happens -----------------------------------------------------------------------

    def _turn(self, server: Server, found: Mapping[str, Any], *, has_token: bool = True, by_link: bool = False) -> None:
        self._has_token, self._by_link = has_token, by_link
        self._remember(server)
        self._session.connect_to(**found)

    def _remember(self, server: Server) -> None:
        self.server = server
        self._settings.setValue(LAST, server.name)
        if (known := self.servers.named(server.name)) is not None and known.url == server.url and not server.is_local:
            self.servers = self.servers.put(server, known.name)
            self._settings.setValue(KNOWN, to_text(self.servers))
        self._show_servers()

    def _make_known(self, server: Server) -> None:
        if self.servers.at(server.url) is None:
            self.servers = self.servers.put(server)
            self._settings.setValue(KNOWN, to_text(self.servers))

    def _keep_given(self, url: str, token: str) -> None:
        """In the bridge's thread."""
        try:
            self._given.emit(url, kept_tokens.keep(url, token))
        except BadRequestError as error:
            self._not_kept.emit(f"{error.message} – {error.hint}.")

    def _token_kept(self, url: str, path: str) -> None:
        """Of the server that gave it: another one may be shown by now."""
        if url == self.server.url:
            self._remember(replace(self.server, token_file=path))
        elif (known := self.servers.at(url)) is not None:
            self.servers = self.servers.put(replace(known, token_file=path), known.name)
            self._settings.setValue(KNOWN, to_text(self.servers))

    def _show_servers(self) -> None:
        menu = self.button.menu()
        menu.clear()
        for gone in self._turns:
            gone.deleteLater()
        self._turns = []
        shown = self.servers.all if self.servers.at(self.server.url) or self.server.is_local else None
        for server in shown or (*self.servers.all, self.server):
            action = QAction(f"Connect to {server.name}".replace("&", "&&"), self)
            action.setIconText(server.name)
            action.setCheckable(True)
            action.setChecked(server.url == self.server.url)
            action.triggered.connect(lambda _checked=False, server=server: self.connect_to(server))
            menu.addAction(action)
            self._turns.append(action)
        menu.addSeparator()
        menu.addAction(self.sign_in_action)
        menu.addAction(self.servers_action)
        self.sign_in_action.setEnabled(not self.server.is_local)
        self.button.setText(shortened(self.server.name, LETTERS).replace("&", "&&"))
        set_tip(self.button, f"Connected to {self.server.place}; choose another server here.")
        self.button.setAccessibleName(f"Server: {self.server.name}")
        self.changed.emit()

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._freshness = self._freshness.another_server()
        link = news.link
        if link is not None:
            has_lived = self._freshness.has_lived
            self._freshness = self._freshness.told(link)
            if link.state == "live":
                self._clock.stop()
                if isinstance(self._dialog, SignInDialog) and link.expires_ms is None:
                    self._dialog.accept()
            else:
                self._clock.start()
            if link.state == "unauthorised" and not has_lived and self._dialog is None:
                # Nothing is shown yet that a dialog would hide.
                self.ask_to_sign_in()
        if link is not None or news.is_new_server:
            self._refresh()

    def _tell(self, words: str, about: str = "Not everything was sent") -> None:
        self._told, self._told_of = words, about
        self._refresh()

    def _refresh(self) -> None:
        now_s, news = time.monotonic(), self._session.link
        old_s = self._freshness.old_s(now_s)
        now = datetime.now().astimezone()
        then = None if old_s is None else now - timedelta(seconds=old_s)
        shown = Situation(
            news,
            host=urlsplit(self.server.url).hostname or "",
            as_of="" if then is None else as_of(then, now),
            told=self._told,
            told_of=self._told_of,
            waiting=len(self._session.pending),
            by_link=self._by_link,
            has_token=self._has_token,
            has_ca=bool(self.server.ca_file),
            expires="" if news.expires_ms is None else f"{_local(news.expires_ms):%H:%M:%S}",
        )
        self.strip.show_strip(strip_of(shown, now_s))
        self.veil.cover(old_s is not None)


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or url
