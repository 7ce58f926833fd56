"""The dialog to sign in: by a token, a file with one, a sign-in link or a certificate. Nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLineEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.servers import Server
from rfm_ui.model.sign_in import link_of, token_of
from rfm_ui.view.choice import one_of
from rfm_ui.view.files import FileField, complaint, form
from rfm_ui.view.kept_tokens import from_file
from rfm_ui.view.words import Label

__all__ = ["Entry", "SignInDialog"]

WAYS = ("Token", "Token file", "Sign-in link", "Certificate")


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody has entered. server: as it is to be reached now; another one if the link is of another."""

    server: Server
    token: str = field(default="", repr=False)
    code: str = field(default="", repr=False)
    is_kept: bool = False


class SignInDialog(QDialog):
    """For one server. enter: called with what was entered; what it raises is shown, and the dialog stays."""

    def __init__(self, server: Server, enter: Callable[[Entry], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._server, self._enter = server, enter
        self.setWindowTitle("Sign in")
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 74)
        self.where = _line()
        self.why = _line()
        self.told = _line()
        self.told.setAccessibleName("What is wrong with what was entered")
        self.token = QLineEdit()
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setPlaceholderText("paste it here")
        self.token.setAccessibleName("Token")
        self.link = QLineEdit()
        self.link.setEchoMode(QLineEdit.EchoMode.Password)
        self.link.setPlaceholderText("https://HOST:8765/#code=…")
        self.link.setAccessibleName("Sign-in link")
        self.file = FileField("Token file")
        self.certificate = FileField("Certificate", "PEM")
        self.key = FileField("Key", "PEM; empty if it is in the same file")
        self.ca = FileField("CA file", "the system's authorities")
        self.keep = QCheckBox("Stay signed in: keep the token in a file that only you can read")
        ways = QHBoxLayout()
        self.ways = one_of(WAYS, ways, self)
        ways.addStretch(1)
        self.pages = QStackedWidget()
        for fields in (
            (("Token", self.token),),
            (("File", self.file),),
            (("Link", self.link),),
            (("Certificate", self.certificate), ("Key", self.key)),
        ):
            self.pages.addWidget(form(*fields))
        self.ways.idClicked.connect(self._turn_to)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.accept_button = buttons.addButton("Sign in", QDialogButtonBox.ButtonRole.AcceptRole)
        self.accept_button.setDefault(True)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(self.where)
        layout.addWidget(self.why)
        layout.addLayout(ways)
        layout.addWidget(self.pages)
        layout.addWidget(form(("CA file", self.ca)))
        layout.addWidget(self.keep)
        layout.addWidget(self.told)
        layout.addWidget(buttons)
        self._show(server)

    def tell(self, why: str) -> None:
        """Why it is asked for."""
        self.why.setText(why)
        self.why.setVisible(bool(why))

    def turn_to(self, way: str) -> None:
        """One of `WAYS`."""
        self._turn_to(WAYS.index(way))

    def ask_for_ca(self) -> None:
        """The server is not known: that comes first."""
        self.ca.setFocus(Qt.FocusReason.OtherFocusReason)

    def _show(self, server: Server) -> None:
        self.where.setText(server.place if server.name in server.place else f"{server.name} – {server.place}")
        self.where.setStyleSheet("font-weight: 600;")
        self.ca.show_path(server.ca_file)
        self.certificate.show_path(server.certificate)
        self.key.show_path(server.key)
        self.file.show_path(server.token_file)
        self.tell("")
        self._turn_to(0)

    def _turn_to(self, number: int) -> None:
        self.ways.button(number).setChecked(True)
        self.pages.setCurrentIndex(number)
        complaint(self.told, "")
        self.keep.setVisible(WAYS[number] in ("Token", "Sign-in link"))
        (self.token, self.file, self.link, self.certificate)[number].setFocus(Qt.FocusReason.OtherFocusReason)

    def _accept(self) -> None:
        try:
            self._enter(self._entered())
        except BadRequestError as error:
            complaint(self.told, f"{error.message} – {error.hint}")
            return
        # A secret is not left in a field.
        self.token.clear()
        self.link.clear()
        self.accept()

    def _entered(self) -> Entry:
        way = WAYS[self.ways.checkedId()]
        server = replace(self._server, ca_file=self.ca.path)
        kept = self.keep.isChecked()
        if way == "Token":
            return Entry(replace(server, token_file=""), token_of(self.token.text()), is_kept=kept)
        if way == "Token file":
            return Entry(replace(server, token_file=self.file.path), from_file(self.file.path))
        if way == "Sign-in link":
            link = link_of(self.link.text())
            return Entry(replace(server, url=link.url, token_file=""), code=link.code, is_kept=kept)
        if not self.certificate.path:
            raise BadRequestError("no certificate is chosen", hint="choose the PEM file that you were given")
        return Entry(replace(server, certificate=self.certificate.path, key=self.key.path, token_file=""))


def _line() -> Label:
    label = Label()
    label.setWordWrap(True)
    return label
