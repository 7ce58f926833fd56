"""The servers that somebody knows: a dialog with all of them, and one for a single one."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.servers import LOCAL, Server, Servers
from rfm_ui.view.files import FileField, complaint, form
from rfm_ui.view.words import Label, set_tip

__all__ = ["ServerDialog", "ServersDialog"]


class ServerDialog(QDialog):
    """One server, a new one or a known one. put: called with it; the BadRequestError that it raises is shown."""

    def __init__(self, server: Server | None, put: Callable[[Server], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        known = server or Server("")
        self._put = put
        self.setWindowTitle("Server" if server else "Add a server")
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 74)
        self.name, self.url = QLineEdit(known.name), QLineEdit(known.url)
        self.name.setPlaceholderText("as you call it")
        self.url.setPlaceholderText("wss://HOST:8765")
        self.ca = FileField("CA file", "the system's authorities")
        self.certificate = FileField("Certificate", "PEM, where the server wants one")
        self.key = FileField("Key", "PEM; empty if it is in the same file")
        self.token_file = FileField("Token file", "empty: it is asked for")
        for field, path in (
            (self.ca, known.ca_file),
            (self.certificate, known.certificate),
            (self.key, known.key),
            (self.token_file, known.token_file),
        ):
            field.show_path(path)
        self.told = Label()
        self.told.setWordWrap(True)
        self.told.setAccessibleName("What is wrong with what was entered")
        self.told.hide()
        fields = form(
            ("Name", self.name),
            ("Address", self.url),
            ("CA file", self.ca),
            ("Certificate", self.certificate),
            ("Key", self.key),
            ("Token file", self.token_file),
        )
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(fields)
        layout.addWidget(self.told)
        layout.addWidget(buttons)

    def _accept(self) -> None:
        server = Server(
            self.name.text(),
            self.url.text(),
            ca_file=self.ca.path,
            certificate=self.certificate.path,
            key=self.key.path,
            token_file=self.token_file.path,
        )
        try:
            self._put(server)
        except BadRequestError as error:
            complaint(self.told, f"{error.message} – {error.hint}")
            return
        self.accept()


class ServersDialog(QDialog):
    """All servers. servers: those known now; keep: called with those that shall be; connect: with one to turn to.

    shown: the one that is shown now; one that is not known yet is what *Add* begins with.
    """

    def __init__(
        self,
        servers: Callable[[], Servers],
        keep: Callable[[Servers], None],
        connect: Callable[[Server], None],
        shown: Server = LOCAL,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._servers, self._keep, self._connect, self._shown = servers, keep, connect, shown
        self.setWindowTitle("Servers")
        self.resize(560, 360)
        self.list = QListWidget()
        self.list.setAccessibleName("Servers")
        self.list.itemActivated.connect(self._turn_to)
        self.list.currentRowChanged.connect(self._enable)
        self.connect_button = QPushButton("Connect")
        self.connect_button.clicked.connect(self._turn_to)
        self.add, self.edit, self.remove = QPushButton("Add …"), QPushButton("Edit …"), QPushButton("Remove")
        self.add.clicked.connect(self._add)
        self.edit.clicked.connect(self._edit)
        self.remove.clicked.connect(self._remove)
        close = QPushButton("Close")
        close.clicked.connect(self.reject)
        side = QVBoxLayout()
        for button in (self.connect_button, self.add, self.edit, self.remove):
            side.addWidget(button)
        side.addStretch(1)
        side.addWidget(close)
        self.told = Label()
        self.told.setWordWrap(True)
        self.told.setAccessibleName("What could not be done")
        self.told.hide()
        left = QVBoxLayout()
        left.addWidget(self.list, 1)
        left.addWidget(self.told)
        layout = QHBoxLayout(self)
        layout.addLayout(left, 1)
        layout.addLayout(side)
        self._fill(LOCAL.name)

    def _fill(self, chosen: str) -> None:
        self.list.clear()
        for server in self._servers().all:
            item = QListWidgetItem(f"{server.name}\n{server.place}")
            self.list.addItem(item)
            if server.name == chosen:
                self.list.setCurrentItem(item)
        self._enable()

    def _chosen(self) -> Server:
        servers, row = self._servers().all, self.list.currentRow()
        return servers[row] if 0 <= row < len(servers) else LOCAL

    def _enable(self, *_row: int) -> None:
        for button in (self.edit, self.remove):
            button.setEnabled(not self._chosen().is_local)
            set_tip(button, "" if button.isEnabled() else "The runtime of this machine is always there.")

    def _turn_to(self, *_item: object) -> None:
        self._connect(self._chosen())
        self.accept()

    def _add(self) -> None:
        is_new = not self._shown.is_local and self._servers().at(self._shown.url) is None
        self._open(None, self._shown if is_new else None)

    def _edit(self) -> None:
        self._open(self._chosen(), self._chosen())

    def _open(self, known: Server | None, begun: Server | None) -> None:
        def put(server: Server) -> None:
            self._keep(self._servers().put(server, "" if known is None else known.name))
            self._fill(server.name.strip())

        dialog = ServerDialog(begun, put, self)
        if known is None:
            dialog.setWindowTitle("Add a server")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _remove(self) -> None:
        try:
            self._keep(self._servers().without(self._chosen().name))
        except BadRequestError as error:
            # Its token is there still: so is the server, to be removed once that can be.
            complaint(self.told, f"{error.message} – {error.hint}")
            return
        complaint(self.told, "")
        self._fill(LOCAL.name)
