"""What can be done to the operations that are chosen: actions, their menu, a look at what they hit, and the asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QAbstractItemView, QInputDialog, QMenu

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.limits import PRIORITY_MAX, PRIORITY_MIN
from rfm_runtime.protocol.operation import Operation
from rfm_ui.bridge import News
from rfm_ui.model.actions import PRIORITY_STEP, Asker, Offers, Plan, Verb, Wish, plan, priority_after
from rfm_ui.model.board import Board
from rfm_ui.model.pending import Action, Command
from rfm_ui.steering import Refusal, carry_out
from rfm_ui.view.actions import action, offer
from rfm_ui.view.confirming import Confirming
from rfm_ui.view.session import Session

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
    _far = Signal(int, object, int)

    def __init__(
        self, view: QAbstractItemView, session: Session, board: Board, chosen: Callable[[], list[Operation]]
    ) -> None:
        super().__init__(view)
        self._view = view
        self._session = session
        self._board = board
        self._chosen = chosen
        self._kinds: frozenset[str] | None = None
        self._number = 0
        # From the client's thread into this one.
        self._far.connect(self._tell_how_far, Qt.ConnectionType.QueuedConnection)
        self.confirming: Confirming | None = None
        self.number: QInputDialog | None = None
        here = Qt.ShortcutContext.WidgetShortcut

        def made(name: str, do: Callable[[], object], keys: list[str], about: str = "") -> QAction:
            return action(view, name, do, keys, about=about, context=here)

        self.cancel = made("Cancel", lambda: self.wish(CANCEL), ["Delete"], "Have what is chosen stop")
        self.pause = made("Pause or resume", self.toggle_pause, ["P"], "Have what is chosen stand still, or go on")
        self.resume = made("Resume", lambda: self.wish(RESUME), ["Shift+P"], "Have what is paused go on")
        self.retry = made("Retry", lambda: self.wish(RETRY), ["R"], "Submit what failed or was cancelled once more")
        self.higher = made("Priority up", lambda: self.wish(RAISE), ["+"], "Have it run before others")
        self.lower = made("Priority down", lambda: self.wish(LOWER), ["-"], "Have others run before it")
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
    def asker(self) -> Asker:
        """Who does all this."""
        server = self._session.server
        if server is None:
            return Asker(kinds=self._kinds)
        return Asker(server.user, tuple(server.roles), self._kinds)

    def refresh(self, chosen: list[Operation]) -> None:
        """Offer what applies to what is chosen."""
        offers = Offers(chosen, self.asker)
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
        wanted = self._plan(wish, self._chosen())
        if not wanted.hits:
            self.told.emit(wanted.why_nothing)
        elif wanted.must_confirm:
            self._confirm(wanted)
        else:
            self._carry_out(wanted)

    def toggle_pause(self) -> None:
        """Have those that run stand still; if none does, have those that stand still go on."""
        chosen = self._chosen()
        offers = Offers(chosen, self.asker)
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

    def _plan(self, wish: Wish, chosen: list[Operation]) -> Plan:
        return plan(wish, chosen, self.asker, self._board.parts)

    def _confirm(self, wanted: Plan) -> None:
        self.confirming = dialog = Confirming(wanted, self._view)

        def confirmed() -> None:
            # What has ended while it was looked at is left alone.
            newest = [self._board.operations.get(one.operation_id) for one in wanted.hits]
            self._carry_out(self._plan(wanted.wish, [one for one in newest if one is not None]))

        dialog.accepted.connect(confirmed)
        dialog.open()

    def _carry_out(self, wanted: Plan) -> None:
        if not wanted.hits:
            self.told.emit(wanted.why_nothing)
            return
        is_there = self._session.link.state in ("live", "stale")
        self.told.emit(wanted.asked if is_there else wanted.waits)

        def answered(refused: Any, error: RfmError | None) -> None:
            if error is not None:
                self.told.emit(f"Could not be asked: {error}")
            elif refused:
                self.told.emit(_refusals(wanted, refused))

        if wanted.wish.verb == "retry" or is_there:
            self._number += 1
            far = partial(self._far.emit, self._number, wanted)
            self._session.ask(lambda client: carry_out(client, wanted.wish, wanted.hits, far), answered)
            return
        for one in wanted.hits:
            # While there is no connection each waits where it is seen, and can be taken back.
            self._session.ask(partial(_one, wish=wanted.wish, operation=one), answered, _command(wanted.wish, one))

    def _tell_how_far(self, number: int, wanted: Plan, asked: int) -> None:
        # Of the last wish: an older one goes on without a word.
        if number == self._number:
            done = asked == len(wanted.hits)
            self.told.emit(wanted.asked if done else f"{wanted.asked} {asked:,} of them so far.")

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
            self._kinds = None
        if news.link is not None:
            self._look.stop()
            if news.link.state == "live":
                self._ask_kinds()
                self._look.start()

    def _ask_kinds(self) -> None:
        def told(kinds: Any, error: RfmError | None) -> None:
            if error is None:
                known = frozenset(one.kind for one in kinds)
                if known != self._kinds:
                    self._kinds = known
                    self.refresh(self._chosen())

        if self._session.link.state == "live":
            self._session.ask(lambda client: client.kinds(), told)


async def _one(client: AsyncClient, wish: Wish, operation: Operation) -> list[Refusal]:
    return await carry_out(client, wish, [operation])


def _command(wish: Wish, operation: Operation) -> Command:
    what: Mapping[Verb, Action] = {"pause": "pause", "resume": "resume", "prioritise": "priority"}
    value = priority_after(wish, operation) if wish.verb == "prioritise" else 0
    return Command(what.get(wish.verb, "cancel"), operation.operation_id, operation.name, value)


def _number(count: int) -> str:
    return f" {count:,}" if count > 1 else ""


def _name(operation: Operation) -> str:
    return printable(operation.name or operation.kind)


def _refusals(wanted: Plan, refused: list[Refusal]) -> str:
    """One is told as a whole; of several how many there are, and the first."""
    one, error = refused[0]
    first = f"{_name(one)}: {error}"
    if len(wanted.hits) == 1:
        return f"Could not {wanted.verb} {first}"
    return f"{wanted.asked} {counted(len(refused), 'refusal')}, of {first}"
