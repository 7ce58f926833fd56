"""One program's operations on their way to the broker: announced, measured, ended, each until it is acknowledged.

Pure: `handle(message, now_s) -> commands`. The session's thread is its only caller. What the program says is
taken at once and never refused; what the broker has not confirmed is said again, whatever is restarted between.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from rfm_runtime.errors import ConflictError, RfmError
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    ControlFrame,
    HeldOperation,
    HelloAsked,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    PauseOwner,
    PauseState,
)
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = [
    "ENDED_LIMIT",
    "UNDER_WAY",
    "Answered",
    "Ask",
    "Begin",
    "Command",
    "Desk",
    "End",
    "GivenUp",
    "Hello",
    "Lost",
    "Measure",
    "Paused",
    "Progress",
    "Refused",
    "Settled",
    "Tell",
    "Tick",
]

REPEAT_S = 1.0
"""Before what was refused for a while is said again, unless the broker names another time."""

UNDER_WAY = 64
"""Requests that wait for an answer at the same time: a program that begins thousands of operations waits its turn."""

ENDED_LIMIT = 10_000
"""Operations that have ended and that no broker has acknowledged: some ten megabytes. The oldest are let go."""


# --- what the desk is told ----------------------------------------------------------------------


class Begin(Struct, frozen=True):
    """The program began an operation."""

    announce: Announce


class Measure(Struct, frozen=True):
    """Where an operation stands. The desk numbers what it passes on; `counter` is not read."""

    operation_id: str
    measure: OperationMeasure


class Paused(Struct, frozen=True):
    """The program stands still, or goes on."""

    operation_id: str
    paused: bool


class End(Struct, frozen=True):
    """How it went. Only the first one counts."""

    operation_id: str
    state: Literal["completed", "failed", "canceled"]
    measure: OperationMeasure
    error: ErrorInfo | None = None


class Answered(Struct, frozen=True):
    """The broker's answer to an `Ask`."""

    asked: Ask
    reply: Struct


class Refused(Struct, frozen=True):
    """No answer in time, or an error."""

    asked: Ask
    error: RfmError


class Lost(Struct, frozen=True):
    """There is no broker to talk to any more."""


class Tick(Struct, frozen=True):
    """Look what is due; ten times a second."""


# --- what it asks for ---------------------------------------------------------------------------


class Hello(Struct, frozen=True):
    """Introduce this program with all that it `held`; then tell the `OwnerWelcome`."""

    held: tuple[HeldOperation, ...]


class Ask(Struct, frozen=True):
    """Request this of the broker; then tell `Answered` or `Refused`."""

    operation_id: str
    message: Announce | Outcome | PauseState


class Progress(Struct, frozen=True):
    """Push this measure under this handle."""

    operation_id: str
    handle: int
    measure: OperationMeasure


class Tell(Struct, frozen=True):
    """Tell the program that somebody wants it to stop, or to stand still."""

    operation_id: str
    cancel: bool
    pause: bool


class Settled(Struct, frozen=True):
    """The outcome is on the broker's disk."""

    operation_id: str


class GivenUp(Struct, frozen=True):
    """The broker will not have it; the program goes on unseen. ended: because it has its outcome already."""

    operation_id: str
    reason: str
    ended: bool = False


Command = Hello | Ask | Progress | Tell | Settled | GivenUp


class Report:
    """An operation of the program. asked: the request under way. not_before_s: when a refused one is repeated.

    ended_s: when it did. known: whether the present broker has it; handle: by which it takes its progress. stands:
    whether the program stands still; confirmed: whether the broker was told so.
    """

    __slots__ = (
        "announce",
        "asked",
        "began_s",
        "cancel",
        "confirmed",
        "counter",
        "ended_s",
        "handle",
        "known",
        "measure",
        "not_before_s",
        "outcome",
        "pause",
        "sent",
        "stands",
        "tried",
    )

    def __init__(self, announce: Announce, began_s: float) -> None:
        self.announce = announce
        self.began_s = began_s
        self.measure = announce.measure
        self.sent: OperationMeasure | None = None
        self.counter = 0
        self.known = False
        self.handle: int | None = None
        self.tried = False
        self.asked: Ask | None = None
        self.not_before_s = 0.0
        self.cancel = False
        self.pause = False
        self.stands = False
        self.confirmed = False
        self.outcome: Outcome | None = None
        self.ended_s = 0.0

    def numbered(self) -> OperationMeasure:
        """The present measure with the next counter."""
        self.counter += 1
        return msgspec.structs.replace(self.measure, counter=self.counter, generation=1)


def _brief(measure: OperationMeasure) -> OperationMeasure:
    """For a hello of thousands: texts follow with the next measure, or the outcome."""
    return msgspec.structs.replace(measure, step="", message="", details=None)


class Desk:
    """All operations of one program that are not settled. A claim of a reporter is never handed on: generation 1."""

    def __init__(self) -> None:
        self.reports: dict[str, Report] = {}
        self.incarnation: int | None = None
        self.under_way = 0
        # Those whose turn has not come, those that were refused for a while, those without an outcome, and those that
        # only wait for its acknowledgement.
        self._turns: dict[str, None] = {}
        self._refusals: dict[str, None] = {}
        self._living: dict[str, Report] = {}
        self._ended: dict[str, None] = {}
        self._handlers: dict[type[Struct], Callable[[Any, float], list[Command]]] = {
            Begin: self._begin,
            Measure: self._measured,
            Paused: self._paused,
            End: self._end,
            Answered: self._answered,
            Refused: self._refused,
            OwnerWelcome: self._welcomed,
            ControlFrame: self._control,
            PauseOwner: self._pause_asked,
            HelloAsked: lambda _message, _now_s: self._hello(),
            Lost: lambda _message, _now_s: self._lost(),
            Tick: lambda _message, now_s: self._tick(now_s),
        }

    def handle(self, message: Struct, now_s: float) -> list[Command]:
        """What follows from a message; what the desk does not know means nothing to it."""
        handler = self._handlers.get(type(message))
        return [] if handler is None else handler(message, now_s)

    # --- the program ------------------------------------------------------------------------

    def _begin(self, message: Begin, now_s: float) -> list[Command]:
        report = self.reports[message.announce.operation_id] = Report(message.announce, now_s)
        self._living[message.announce.operation_id] = report
        return self._next(report, now_s)

    def _measured(self, message: Measure, _now_s: float) -> list[Command]:
        report = self.reports.get(message.operation_id)
        if report is not None and report.outcome is None:
            report.measure = message.measure
        return []

    def _paused(self, message: Paused, now_s: float) -> list[Command]:
        report = self.reports.get(message.operation_id)
        if report is None or report.outcome is not None:
            return []
        report.stands = message.paused
        return self._next(report, now_s)

    def _end(self, message: End, now_s: float) -> list[Command]:
        report = self.reports.get(message.operation_id)
        if report is None or report.outcome is not None:
            return []
        report.measure = message.measure
        report.outcome = Outcome(
            operation_id=message.operation_id,
            generation=1,
            state=message.state,
            final=report.numbered(),
            error=message.error,
        )
        report.ended_s = now_s
        del self._living[message.operation_id]
        self._ended[message.operation_id] = None
        commands = self._next(report, now_s)
        if len(self._ended) > ENDED_LIMIT:
            oldest = next(iter(self._ended))
            self._forget(oldest)
            commands.append(GivenUp(oldest, f"{ENDED_LIMIT} outcomes wait for a runtime, more are not kept"))
        return commands

    def _forget(self, operation_id: str) -> None:
        report = self.reports.pop(operation_id)
        if report.asked is not None:
            self.under_way -= 1
        for table in (self._turns, self._refusals, self._living, self._ended):
            table.pop(operation_id, None)

    # --- the broker -------------------------------------------------------------------------

    def hello(self) -> Hello:
        """Everything the broker may know of: announced, also if it was not answered."""
        return Hello(
            tuple(
                HeldOperation(
                    operation_id=operation_id,
                    generation=1,
                    state="ended" if report.outcome is not None else "paused" if report.stands else "running",
                    measure=_brief(report.outcome.final if report.outcome is not None else report.numbered()),
                )
                for operation_id, report in self.reports.items()
                if report.tried
            )
        )

    def _hello(self) -> list[Command]:
        self._lost()
        return [self.hello()]

    def _lost(self) -> list[Command]:
        self.incarnation = None
        self.under_way = 0
        self._turns.clear()
        for report in self.reports.values():
            # An answer that is still under way would be of another broker.
            report.asked = None
        return []

    def _welcomed(self, message: OwnerWelcome, now_s: float) -> list[Command]:
        self.incarnation = message.incarnation
        self.under_way = 0
        self._turns.clear()
        for report in self.reports.values():
            report.asked = None
        kept = {assign.operation_id: assign for assign in message.keep}
        commands: list[Command] = []
        for operation_id, report in list(self.reports.items()):
            assign = kept.get(operation_id)
            # What it does not know, as another journal does not, is announced again. What is neither kept nor dropped
            # has its outcome there: it only waits for the acknowledgement.
            report.known = report.tried and operation_id not in message.drop
            report.handle = None if assign is None else assign.handle
            report.sent = None
            report.not_before_s = now_s
            if assign is not None:
                report.confirmed = assign.paused and report.stands
                commands += self._wish(report, pause=assign.paused)
            commands += self._next(report, now_s)
        return commands + self._control(message.control, now_s)

    def _control(self, message: ControlFrame, _now_s: float) -> list[Command]:
        if self.incarnation is None:
            return []
        if message.incarnation != self.incarnation:
            return self._hello()
        commands: list[Command] = []
        for entry in message.cancel:
            report = self.reports.get(entry.operation_id)
            if report is not None and entry.generation == 1 and not report.cancel and report.outcome is None:
                report.cancel = True
                commands.append(Tell(entry.operation_id, cancel=True, pause=report.pause))
        return commands

    def _pause_asked(self, message: PauseOwner, now_s: float) -> list[Command]:
        report = self.reports.get(message.operation_id)
        if report is None or message.generation != 1:
            return []
        # It asks until it hears of it: whatever it was told before, it has not noticed.
        report.confirmed = not message.paused
        return [*self._wish(report, pause=message.paused), *self._next(report, now_s)]

    def _wish(self, report: Report, *, pause: bool) -> list[Command]:
        if pause == report.pause or report.outcome is not None:
            return []
        report.pause = pause
        return [Tell(report.announce.operation_id, cancel=report.cancel, pause=pause)]

    def _answered(self, message: Answered, now_s: float) -> list[Command]:
        report = self._asked(message.asked)
        if report is None:
            return []
        operation_id = message.asked.operation_id
        commands: list[Command] = []
        match message.asked.message, message.reply:
            case Announce(), Assign() as assign:
                report.known = True
                report.handle = assign.handle
                commands += self._wish(report, pause=assign.paused)
            case PauseState() as state, Ack():
                report.confirmed = state.paused
            case Outcome(), Ack():
                self._forget(operation_id)
                return [Settled(operation_id), *self._whose_turn(now_s)]
        return [*commands, *self._next(report, now_s), *self._whose_turn(now_s)]

    def _refused(self, message: Refused, now_s: float) -> list[Command]:
        report = self._asked(message.asked)
        if report is None:
            return []
        error = message.error
        if error.temporary:
            wait_s = REPEAT_S if error.retry_after_s is None else error.retry_after_s
            report.not_before_s = now_s + wait_s
            self._refusals[message.asked.operation_id] = None
            return self._whose_turn(now_s)
        if isinstance(message.asked.message, PauseState):
            # It is not the broker's any more, which the next hello will say.
            report.confirmed = message.asked.message.paused
            return self._whose_turn(now_s)
        self._forget(message.asked.operation_id)
        ended = isinstance(error, ConflictError)
        return [GivenUp(message.asked.operation_id, error.message, ended), *self._whose_turn(now_s)]

    def _asked(self, asked: Ask) -> Report | None:
        """The report whose request this was, if nothing has made it void."""
        report = self.reports.get(asked.operation_id)
        if report is None or report.asked is not asked:
            return None
        report.asked = None
        self.under_way -= 1
        return report

    def _whose_turn(self, now_s: float) -> list[Command]:
        commands: list[Command] = []
        while self._turns and self.under_way < UNDER_WAY:
            operation_id = next(iter(self._turns))
            del self._turns[operation_id]
            commands += self._next(self.reports[operation_id], now_s)
        return commands

    def unheard(self, until_s: float, now_s: float, kept: Container[str] = ()) -> Iterator[tuple[Announce, Outcome]]:
        """Outcomes that were said by `until_s` and that no broker has acknowledged yet, the oldest first.

        Without those that are kept: they may be ten thousand, and are asked for ten times a second.
        """
        for operation_id in self._ended:
            report = self.reports[operation_id]
            if report.outcome is None or report.ended_s > until_s:
                return
            if operation_id in kept:
                continue
            age_ms = max(0, round(1000 * (now_s - report.began_s)))
            yield msgspec.structs.replace(report.announce, age_ms=age_ms), report.outcome

    # --- what is due ------------------------------------------------------------------------

    def _next(self, report: Report, now_s: float) -> list[Command]:
        if self.incarnation is None or report.asked is not None or now_s < report.not_before_s:
            return []
        operation_id = report.announce.operation_id
        message: Announce | Outcome | PauseState
        if report.known and report.outcome is None and report.stands == report.confirmed:
            return []
        if self.under_way >= UNDER_WAY:
            self._turns[operation_id] = None
            return []
        if not report.known:
            age_ms = max(0, round(1000 * (now_s - report.began_s)))
            message = msgspec.structs.replace(report.announce, measure=report.numbered(), age_ms=age_ms)
            report.tried = True
            report.sent = report.measure
        elif report.outcome is not None:
            message = report.outcome
        else:
            message = PauseState(operation_id, 1, report.stands)
        report.asked = Ask(operation_id, message)
        self.under_way += 1
        return [report.asked]

    def _tick(self, now_s: float) -> list[Command]:
        commands: list[Command] = []
        for operation_id in list(self._refusals):
            report = self.reports[operation_id]
            if now_s >= report.not_before_s:
                del self._refusals[operation_id]
                commands += self._next(report, now_s)
        if self.incarnation is None:
            # A handle of before means nothing to the next broker.
            return commands
        for report in self._living.values():
            if report.handle is not None and report.measure is not report.sent:
                report.sent = report.measure
                commands.append(Progress(report.announce.operation_id, report.handle, report.numbered()))
        return commands

    # --- for tests and people ---------------------------------------------------------------

    def sanity_check(self) -> None:
        """Raise AssertionError if the table contradicts itself."""
        for operation_id, report in self.reports.items():
            if report.announce.operation_id != operation_id:
                raise AssertionError(f"{operation_id} is filed under another id")
            if report.known and not report.tried:
                raise AssertionError(f"{operation_id} is known and was never announced")
            if report.asked is not None and self.incarnation is None:
                raise AssertionError(f"{operation_id} asks nobody")
        asking = sum(report.asked is not None for report in self.reports.values())
        ended = {operation_id for operation_id, report in self.reports.items() if report.outcome is not None}
        tables = self._turns.keys() | self._refusals.keys()
        living = self.reports.keys() - ended
        if living != self._living.keys() or ended != self._ended.keys() or not tables <= self.reports.keys():
            raise AssertionError("the tables speak of other operations than there are")
        if asking != self.under_way:
            raise AssertionError(f"{asking} requests are under way, not {self.under_way}")

    def explain(self, operation_id: str) -> tuple[str, ...]:
        """Where an operation is on its way."""
        report = self.reports.get(operation_id)
        if report is None:
            return (f"{operation_id} is settled, or not of this program.",)
        where = "known to the broker" if report.known else "not known to a broker yet"
        lines = [f"{operation_id} is {where}."]
        if self.incarnation is None:
            lines.append("No broker is connected.")
        if report.outcome is not None:
            lines.append(f"It {report.outcome.state}; the broker has not acknowledged that.")
        return tuple(lines)
