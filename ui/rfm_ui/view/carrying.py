"""What is wished of operations, carried out: after a look at what it hits where that is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QWidget

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError, UnavailableError
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.actions import Asker, Plan, Verb, Wish, plan, priority_after
from rfm_ui.model.pending import Action, Command
from rfm_ui.steering import Outcome, Refusal, carry_out
from rfm_ui.view.confirming import Confirming
from rfm_ui.view.session import Session

__all__ = ["Carrier"]


class Carrier(QObject):
    """Of a part of a window. newest: an operation as it is now, by its id; parts: its parts.

    `told(str)`: what became of it. `left()`: what was looked at is not done. kinds: that engines offer, None before
    that is known.
    """

    told = Signal(str)
    left = Signal()
    _far = Signal(int, object, int)

    def __init__(
        self,
        owner: QWidget,
        session: Session,
        newest: Callable[[str], Operation | None],
        parts: Callable[[str], Iterable[Operation]],
    ) -> None:
        super().__init__(owner)
        self._owner = owner
        self._session = session
        self._newest = newest
        self._parts = parts
        self.kinds: frozenset[str] | None = None
        self.confirming: Confirming | None = None
        self._number = 0
        # From the client's thread into this one.
        self._far.connect(self._tell_how_far, Qt.ConnectionType.QueuedConnection)

    @property
    def asker(self) -> Asker:
        """Who does all this."""
        server = self._session.server
        if server is None:
            return Asker(kinds=self.kinds)
        return Asker(server.user, tuple(server.roles), self.kinds)

    def do(self, wish: Wish, chosen: Sequence[Operation]) -> None:
        """Have it done, after a look where that is due."""
        wanted = plan(wish, chosen, self.asker, self._parts)
        if wanted.must_confirm:
            self._confirm(wanted)
        else:
            self._carry_out(wanted)

    def _confirm(self, wanted: Plan) -> None:
        self.confirming = dialog = Confirming(wanted, self._owner)

        def confirmed() -> None:
            # What has ended while it was looked at is left alone.
            newest = [self._newest(one.operation_id) for one in wanted.hits]
            found = [one for one in newest if one is not None]
            self._carry_out(plan(wanted.wish, found, self.asker, self._parts))

        dialog.accepted.connect(confirmed)
        dialog.rejected.connect(self.left)
        dialog.open()

    def _carry_out(self, wanted: Plan) -> None:
        if not wanted.hits:
            self.told.emit(wanted.why_nothing)
            return
        is_there = self._session.is_there
        self.told.emit(wanted.asked if is_there else wanted.waits)
        refusals: list[Refusal] = []
        asker = self._session.asker

        def answered(outcome: Outcome | None, error: RfmError | None) -> None:
            if outcome is None:
                self.told.emit(f"Could not be asked: {error}")
                return
            refused, lost = self._lost(wanted.wish, outcome)
            if refused:
                # What has waited is answered one by one.
                refusals.extend(refused)
                self.told.emit(_refusals(wanted, refusals))
            if lost and asker == self._session.asker:
                # The connection has gone meanwhile: it waits for the next one, or is asked of that.
                self._carry_out(replace(wanted, hits=tuple(lost), along=()))
            elif lost:
                self.told.emit(f"{counted(len(lost), 'operation')} left alone: the connection is another one now.")

        if is_there:
            self._number += 1
            far = partial(self._far.emit, self._number, wanted)
            self._session.ask(lambda client: carry_out(client, wanted.wish, wanted.hits, far), answered)
            return
        for one in wanted.hits:
            # While there is no connection each waits where it is seen, and can be taken back.
            self._session.ask(partial(_one, wish=wanted.wish, operation=one), answered, _command(wanted.wish, one))

    def _lost(self, wish: Wish, outcome: Outcome) -> tuple[list[Refusal], list[Operation]]:
        """(what was refused, what was not asked for want of a connection)."""
        refused, lost = [], list(outcome.unsent)
        for one, error in outcome.refused:
            # Twice is as good as once, but for what is submitted.
            if isinstance(error, UnavailableError) and not self._session.is_there and wish.verb != "retry":
                lost.append(one)
            else:
                refused.append((one, error))
        return refused, lost

    def _tell_how_far(self, number: int, wanted: Plan, asked: int) -> None:
        # Of the last wish: an older one goes on without a word.
        if number == self._number:
            done = asked == len(wanted.hits)
            self.told.emit(wanted.asked if done else f"{wanted.asked} {asked:,} of them so far.")


async def _one(client: AsyncClient, wish: Wish, operation: Operation) -> Outcome:
    return await carry_out(client, wish, [operation])


def _command(wish: Wish, operation: Operation) -> Command:
    what: Mapping[Verb, Action] = {"pause": "pause", "resume": "resume", "retry": "retry", "prioritise": "priority"}
    value = priority_after(wish, operation) if wish.verb == "prioritise" else 0
    return Command(what.get(wish.verb, "cancel"), operation.operation_id, operation.name, value)


def _refusals(wanted: Plan, refused: list[Refusal]) -> str:
    """One is told as a whole; of several how many there are, and the first."""
    one, error = refused[0]
    first = f"{printable(one.name or one.kind)}: {error}"
    if len(wanted.hits) == 1:
        return f"Could not {wanted.verb} {first}"
    return f"{wanted.asked} {counted(len(refused), 'refusal')}, of {first}"
