"""`ProgressManager`: a bar for each operation that runs, in anybody's window."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from rfm_runtime.core.counts import counted
from rfm_ui.bridge import News
from rfm_ui.model.pending import Command
from rfm_ui.model.shelf import Shelf
from rfm_ui.view.components.parents import parent_of
from rfm_ui.view.components.progress_bar import ProgressBar
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label

__all__ = ["ProgressManager", "get_progress_manager"]

ROOM = 12
TICK_MS = 500


def get_progress_manager(parent_id: QWidget | str | None = None, **options: Any) -> ProgressManager:
    """The manager of a widget (or of the one with this object name), made at the first call, connected and shown.

    options: of its connection, as of `AsyncClient`; without them the local runtime, or the one that RFM_URL names.
    Raises BadRequestError if there is no such widget.
    """
    parent = parent_of(parent_id)
    manager = ProgressManager.of_parents.get(parent)
    if manager is None:
        manager = ProgressManager.of_parents[parent] = ProgressManager(parent, **options)
        if parent is not None:
            parent.destroyed.connect(lambda: ProgressManager.of_parents.pop(parent, None))
        manager.show()
    return manager


class ProgressManager(QWidget):
    """Bars of what runs on a server, and for a moment of what has ended. `connection_changed(LinkNews)`.

    It puts itself into the layout of its parent, if that has one. `shutdown` ends its connection; what runs goes on.
    """

    connection_changed = Signal(object)
    of_parents: ClassVar[dict[QWidget | None, ProgressManager]] = {}

    def __init__(self, parent_id: QWidget | str | None = None, **options: Any) -> None:
        parent = parent_of(parent_id)
        super().__init__(parent)
        if parent is not None and (layout := parent.layout()) is not None:
            layout.addWidget(self)
        self._parent = parent
        self._shelf = Shelf(ROOM)
        self._bars: dict[str, ProgressBar] = {}
        self._more = Label()
        self._more.hide()
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.addWidget(self._more)
        self._rows.addStretch(1)
        self._tick = QTimer(self)
        self._tick.setInterval(TICK_MS)
        self._tick.timeout.connect(self._refresh)
        self._session = Session(self, **options)
        self._session.news.connect(self._heard)
        self._session.start()
        self._tick.start()

    @property
    def bars(self) -> list[ProgressBar]:
        """From the top."""
        return list(self._bars.values())

    def toggle_visibility(self) -> None:
        """Show it if it is hidden, else hide it."""
        self.setVisible(self.isHidden())

    def retry_now(self) -> None:
        """Try to connect at once."""
        self._session.retry_now()

    def shutdown(self) -> None:
        """End the connection and go. Idempotent."""
        self._tick.stop()
        self._session.close()
        if self.of_parents.get(self._parent) is self:
            del self.of_parents[self._parent]
        self.hide()
        self.deleteLater()

    def _heard(self, news: News) -> None:
        if news.link is not None:
            self.connection_changed.emit(news.link)
        if news.is_new_server:
            self._shelf.clear()
        if news.operations or news.gone or news.is_new_server:
            self._shelf.take(news.operations, news.gone, time.monotonic())
            self._refresh()

    def _refresh(self) -> None:
        self._shelf.tick(time.monotonic())
        shown = {one.operation_id: one for one in self._shelf.shown}
        for operation_id in [one for one in self._bars if one not in shown]:
            bar = self._bars.pop(operation_id)
            self._rows.removeWidget(bar)
            bar.deleteLater()
        for operation_id, operation in shown.items():
            bar = self._bars.get(operation_id) or self._added(operation_id)
            if bar.operation != operation:
                bar.show_operation(operation)
        more = self._shelf.more
        self._more.setVisible(bool(more))
        self._more.setText(f"and {counted(more, 'more operation')}" if more else "")

    def _added(self, operation_id: str) -> ProgressBar:
        bar = self._bars[operation_id] = ProgressBar(self)
        bar.cancel_wanted.connect(self._cancel)
        self._rows.insertWidget(len(self._bars) - 1, bar)
        return bar

    def _cancel(self, operation_id: str) -> None:
        bar = self._bars.get(operation_id)
        name = "" if bar is None or bar.operation is None else bar.operation.name
        self._session.ask(lambda client: client.cancel(operation_id), command=Command("cancel", operation_id, name))
