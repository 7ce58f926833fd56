"""What can be done to the operations that are chosen: actions, their menu, a look at what they hit, and the asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QAbstractItemView, QInputDialog, QMenu

from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.limits import PRIORITY_MAX, PRIORITY_MIN
from rfm_runtime.protocol.operation import Operation
from rfm_ui.bridge import News
from rfm_ui.model.actions import PRIORITY_STEP, Offers, Wish
from rfm_ui.model.board import Board
from rfm_ui.view.actions import action, offer
from rfm_ui.view.carrying import Carrier
from rfm_ui.view.confirming import Confirming
from rfm_ui.view.session import Session
from rfm_ui.view.words import plainly

__all__ = ["OperationActions"]

KINDS_MS = 10_000
"""Between two looks at what engines offer."""

CANCEL, PAUSE, RESUME, RETRY = Wish("cancel"), Wish("pause"), Wish("resume"), Wish("retry")
RAISE, LOWER = Wish("prioritise", by=PRIORITY_STEP), Wish("prioritise", by=-PRIORITY_STEP)


class OperationActions(QObject):
    """Of a list of operations. chosen: those that are selected in it, from the top.

    `told(str)`: what became of it. `search_wanted(str)`: what is to be shown.
    """

    told = Signal(str)
    search_wanted = Signal(str)

    def __init__(
        self, view: QAbstractItemView, session: Session, board: Board, chosen: Callable[[], list[Operation]]
    ) -> None:
        super().__init__(view)
        self._view = view
        self._session = session
        self._board = board
        self._chosen = chosen
        self._carrier = Carrier(view, session, board.operations.get, board.parts)
        self._carrier.told.connect(self.told)
        self.number: QInputDialog | None = None
        here = Qt.ShortcutContext.WidgetShortcut

        def made(
            name: str, do: Callable[[], object], keys: list[str], about: str = "", repeats: bool = False
        ) -> QAction:
            return action(view, name, do, keys, about=about, context=here, repeats=repeats)

        self.cancel = made("Cancel", lambda: self.wish(CANCEL), ["Delete"], "Have what is chosen stop")
        self.pause = made("Pause or resume", self.toggle_pause, ["P"], "Have what is chosen stand still, or go on")
        self.resume = made("Resume", lambda: self.wish(RESUME), ["Shift+P"], "Have what is paused go on")
        self.retry = made("Retry", lambda: self.wish(RETRY), ["R"], "Submit what failed or was cancelled once more")
        self.higher = made("Priority up", lambda: self.wish(RAISE), ["+"], "Have it run before others", repeats=True)
        self.lower = made("Priority down", lambda: self.wish(LOWER), ["-"], "Have others run before it", repeats=True)
        self.priority = made("Set priority …", self.ask_priority, ["="], "Its priority, from −100 to 100")
        self.parts = made("Show parts", self._show_parts, ["Ctrl+Return"], "Show what belongs to this operation alone")
        self.report = made("Report …", self._show_report, ["Ctrl+R"], "How it went: figures, and a page to keep")
        self.copy = made("Copy ids", self.copy_ids, ["Ctrl+C"])
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.customContextMenuRequested.connect(self._open_menu)
        self._look = QTimer(self)
        self._look.setInterval(KINDS_MS)
        self._look.timeout.connect(self._ask_kinds)
        session.news.connect(self._heard)

    @property
    def confirming(self) -> Confirming | None:
        """What is looked at, or was the last time."""
        return self._carrier.confirming

    def refresh(self, chosen: list[Operation]) -> None:
        """Offer what applies to what is chosen."""
        offers = Offers(chosen, self._carrier.asker)
        for one, wish, word in (
            (self.cancel, CANCEL, "Cancel"),
            (self.resume, RESUME, "Resume"),
            (self.retry, RETRY, "Retry"),
            (self.higher, RAISE, "Priority up"),
            (self.lower, LOWER, "Priority down"),
        ):
            offer(one, offers.why_nothing(wish), f"{word}{_number(offers.hits(wish))}")
        pauses, resumes = offers.hits(PAUSE), offers.hits(RESUME)
        if resumes and not pauses:
            offer(self.pause, "", f"Resume{_number(resumes)}")
        else:
            offer(self.pause, offers.why_nothing(PAUSE), f"Pause{_number(pauses)}")
        # Any number will do: whether it can be set at all is that it can be set to another.
        offer(self.priority, offers.why_nothing(RAISE) and offers.why_nothing(LOWER))
        offer(self.parts, self._why_no_parts(chosen))
        offer(self.copy, "" if chosen else "Nothing is chosen.")
        offer(self.report, "" if len(chosen) == 1 else "Choose one operation.")

    def wish(self, wish: Wish) -> None:
        """Have it done to what is chosen, after a look where that is due."""
        self._carrier.do(wish, self._chosen())

    def toggle_pause(self) -> None:
        """Have those that run stand still; if none does, have those that stand still go on."""
        chosen = self._chosen()
        offers = Offers(chosen, self._carrier.asker)
        self.wish(RESUME if offers.hits(RESUME) and not offers.hits(PAUSE) else PAUSE)

    def ask_priority(self) -> None:
        """Ask for the number, and have what is chosen have it."""
        chosen = self._chosen()
        if not chosen:
            return
        self.number = dialog = QInputDialog(self._view)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setInputMode(QInputDialog.InputMode.IntInput)
        dialog.setIntRange(PRIORITY_MIN, PRIORITY_MAX)
        dialog.setIntValue(chosen[0].priority)
        dialog.setWindowTitle("Priority")
        dialog.setLabelText(f"Priority of {counted(len(chosen), 'operation')}: −100 to 100, a higher one runs first")
        plainly(dialog)
        dialog.intValueSelected.connect(lambda value: self.wish(Wish("prioritise", to=value)))
        dialog.open()

    def _why_no_parts(self, chosen: list[Operation]) -> str:
        if len(chosen) != 1:
            return "Choose one operation."
        return "" if self._board.parts(chosen[0].operation_id) else f"{_name(chosen[0])} has no parts."

    def _show_parts(self) -> None:
        for one in self._chosen()[:1]:
            self.search_wanted.emit(f"parent:{one.operation_id}")

    def copy_ids(self) -> None:
        """One a line."""
        chosen = self._chosen()
        QGuiApplication.clipboard().setText("\n".join(one.operation_id for one in chosen))
        self.told.emit(f"Copied {counted(len(chosen), 'id')}.")

    # --- parts ------------------------------------------------------------------------------

    def _show_report(self) -> None:
        # With it come the pages, which take a while to load.
        from rfm_ui.view.report_dialog import ReportDialog

        chosen = self._chosen()
        if len(chosen) == 1:
            ReportDialog(self._session, self._view).of_operation(chosen[0].operation_id)

    def _open_menu(self, place: QPoint) -> None:
        self.menu().popup(self._view.viewport().mapToGlobal(place))

    def menu(self) -> QMenu:
        """What can be done to what is chosen."""
        menu = QMenu(self._view)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(True)
        for one in (self.cancel, self.pause, self.resume, self.retry):
            if one is not self.resume or one.isEnabled():
                menu.addAction(one)
        menu.addSeparator()
        menu.addActions([self.higher, self.lower, self.priority])
        menu.addSeparator()
        menu.addActions([self.parts, self.report, self.copy])
        return menu

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._carrier.kinds = None
        if news.link is not None:
            self._look.stop()
            if news.link.state == "live":
                self._ask_kinds()
                self._look.start()

    def _ask_kinds(self) -> None:
        def told(kinds: Any, error: RfmError | None) -> None:
            if error is None:
                known = frozenset(one.kind for one in kinds)
                if known != self._carrier.kinds:
                    self._carrier.kinds = known
                    self.refresh(self._chosen())

        if self._session.link.state == "live":
            self._session.ask(lambda client: client.kinds(), told)


def _number(count: int) -> str:
    return f" {count:,}" if count > 1 else ""


def _name(operation: Operation) -> str:
    return printable(operation.name or operation.kind)
