"""What a program elsewhere reports through a gateway, one `Reporting` a session: its words become an owner's.

Pure; `GatewayCore` is its only caller. The broker sees an owner like any other, remote and with a lease. A session
speaks only for what the broker has given it. After the broker's restart it is asked what it holds; of a program that
never introduced itself the gateway says what it knows.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from rfm_runtime.core.reporting.hearing import Heard, announced, brief, ended
from rfm_runtime.errors import BadRequestError, RfmError, TooLargeError, UnknownOperationError
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    ControlFrame,
    HeldOperation,
    HelloAsked,
    OperationMeasure,
    Outcome,
    OwnerHello,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Principal,
    Source,
)
from rfm_runtime.protocol.messages import Ok
from rfm_runtime.protocol.reports import (
    Asked,
    Kept,
    Report,
    ReportAgain,
    ReportCanceled,
    ReportCompleted,
    Reported,
    ReportFailed,
    ReportPaused,
    ReportProgress,
    ReportReply,
    ReportResumed,
    ReportStarted,
)

__all__ = ["REPORTS", "Reporting"]

REPORTS = (
    Report,
    ReportStarted,
    ReportProgress,
    ReportPaused,
    ReportResumed,
    ReportCompleted,
    ReportFailed,
    ReportCanceled,
)

BEAT_S = 1.0
"""Between two heartbeats that are passed on."""

HELD_LIMIT = 20_000
"""Operations that one program may hold: as many as a user may have alive."""


class _Own:
    """An operation of this session. handle: None until the broker has given one. cancel: it was told."""

    __slots__ = ("cancel", "handle", "heard", "state")

    def __init__(self) -> None:
        self.handle: int | None = None
        self.heard = Heard()
        self.state: Literal["running", "paused", "ended"] = "running"
        self.cancel = False


class Reporting:
    """One session's reporting. source: how the broker knows its program; None before its first word.

    incarnation: of the broker that has welcomed it, None before; greeting: whether a hello is under way or asked for.
    """

    def __init__(self, principal: Principal, session: str) -> None:
        """session: a name that no other connection to any gateway has, and that no program can choose."""
        self.principal = principal
        self._session = session
        self._pages: dict[str, _Own] = {}
        self._own: dict[str, _Own] = {}
        self._heard = False
        self._beat_s = 0.0
        self.source: Source | None = None
        self.incarnation: int | None = None
        self.greeting = False
        self._implied = False

    @property
    def operations(self) -> int:
        """How many it has in hand."""
        return len(self._own)

    def heard(self) -> None:
        """The program said something: it lives."""
        self._heard = True

    def beats(self, now_s: float) -> bool:
        """Whether the broker is due to be told that the program lives."""
        due = self._heard and self.incarnation is not None and now_s - self._beat_s >= BEAT_S
        if due:
            self._heard = False
            self._beat_s = now_s
        return due

    # --- what the program says --------------------------------------------------------------

    def introduced(self, message: Report, now_ms: int) -> OwnerHello | None:
        """The hello for the broker; None while pages are to come. Raises BadRequestError, TooLargeError."""
        source = self._named(message.reporter, message.host, message.pid)
        if self.source is not None and self.source != source:
            raise BadRequestError(
                f"this connection reports as {self.source.name}", hint="make another connection for another program"
            )
        self.source = source
        for held in message.held:
            own = self._pages[held.operation_id] = self._own.get(held.operation_id) or _Own()
            own.state = held.state
            # Of the pages of one that never ends its report nothing long is kept.
            own.heard.take(msgspec.structs.replace(held, message="", details=None), now_ms)
        if len(self._pages) > HELD_LIMIT:
            self._pages.clear()
            raise _too_many()
        if message.more:
            return None
        self._own, self._pages = self._pages, {}
        return self._hello()

    def implied(self) -> OwnerHello | None:
        """The hello of a program that says none: it is known by its session, and gone with it."""
        if self.source is not None:
            return None
        self.source = self._named(self._session, "", 0)
        self._implied = True
        return self._hello()

    def _named(self, reporter: str, host: str, pid: int) -> Source:
        # With its user's name before it, nobody speaks for another user's program, nor for an engine.
        return Source(f"{self.principal.user}/{reporter}", host, "", pid, 0.0, 1)

    def _hello(self) -> OwnerHello:
        if self.source is None:
            raise AssertionError("a hello without a name")
        self.greeting = True
        held = tuple(
            HeldOperation(operation_id=operation_id, generation=1, state=own.state, measure=brief(own.heard.measure))
            for operation_id, own in self._own.items()
        )
        return OwnerHello(
            source=self.source, role="reporter", kinds=(), location=None, slots=0, workers=0, local=False, held=held
        )

    def said(self, message: Struct, now_ms: int) -> Announce | Outcome | PauseState:
        """The broker's message for what the program says of one operation. Raises BadRequestError, TooLargeError."""
        match message:
            case ReportStarted():
                if message.operation_id not in self._own and len(self._own) >= HELD_LIMIT:
                    raise _too_many()
                own = self._own.setdefault(message.operation_id, _Own())
                return announced(message, own.heard.take(message, now_ms), self.principal)
            case ReportPaused() | ReportResumed():
                return PauseState(message.operation_id, 1, isinstance(message, ReportPaused))
            case ReportCompleted() | ReportFailed() | ReportCanceled():
                # Also of what this session does not have: a program repeats it that never heard the answer.
                own = self._own.get(message.operation_id) or _Own()
                own.state = "ended"
                return ended(message, own.heard.take(message, now_ms))
        raise BadRequestError(f"{type(message).__name__} is no report")

    def progress(self, message: ReportProgress, now_ms: int) -> tuple[int, OperationMeasure] | None:
        """(handle, measure) to push; None while the broker is awaited, which is told then. Raises RfmError."""
        own = self._own.get(message.operation_id)
        if own is None:
            raise UnknownOperationError(
                f"{message.operation_id} is none of this program's operations", hint="say `operation_started` first"
            )
        if own.state == "ended":
            return None
        measure = own.heard.take(message, now_ms)
        return None if own.handle is None else (own.handle, measure)

    def has(self, operation_id: str) -> bool:
        """Whether it is one of this session's."""
        return operation_id in self._own

    def goes_on(self, operation_id: str) -> bool:
        """Whether it is one of this session's, of which no outcome was said yet."""
        own = self._own.get(operation_id)
        return own is not None and own.state != "ended"

    def missed(self, asked: Struct) -> tuple[int, OperationMeasure] | None:
        """(handle, measure) to push of what was said of an operation while its announcement was under way."""
        own = self._own.get(asked.operation_id) if isinstance(asked, Announce) else None
        if own is None or own.handle is None or own.state == "ended" or not isinstance(asked, Announce):
            return None
        measure = own.heard.measure
        return (own.handle, measure) if measure.counter > asked.measure.counter else None

    # --- what the broker answers ------------------------------------------------------------

    def answered(self, asked: Struct, reply: Struct) -> Struct:
        """The program's reply for the broker's answer."""
        match asked, reply:
            case OwnerHello(), OwnerWelcome():
                return self._welcomed(asked, reply)
            case Announce(), Assign():
                own = self._own.setdefault(reply.operation_id, _Own())
                # The answer of a broker that was replaced meanwhile: the next one gives another.
                own.handle = None if self.incarnation is None else reply.handle
                return Reported(reply.operation_id, reply.paused)
            case PauseState(), Ack():
                if asked.operation_id in self._own:
                    self._own[asked.operation_id].state = "paused" if asked.paused else "running"
            case Outcome(), Ack():
                self._own.pop(asked.operation_id, None)
        return Ok()

    def refused(self, asked: Struct, error: RfmError) -> None:
        """The broker answered with an error, or not in time."""
        if isinstance(asked, OwnerHello):
            self.greeting = False
            if not error.temporary:
                self.source, self.incarnation = None, None
                self._own.clear()
        elif isinstance(asked, Outcome) and not error.temporary:
            self._own.pop(asked.operation_id, None)
        elif isinstance(asked, Announce):
            own = self._own.get(asked.operation_id)
            # It is said again, or it is not: what the broker has not taken is not kept for it.
            if not error.temporary or (own is not None and own.handle is None and self.incarnation is not None):
                self._own.pop(asked.operation_id, None)

    def _welcomed(self, hello: OwnerHello, welcome: OwnerWelcome) -> ReportReply:
        self.greeting = False
        self.incarnation = welcome.incarnation
        kept = {assign.operation_id: assign for assign in welcome.keep}
        # What was begun after the hello is not in it, and has an answer of its own.
        for held in hello.held:
            if held.operation_id not in kept:
                self._own.pop(held.operation_id, None)
            elif held.operation_id in self._own:
                self._own[held.operation_id].handle = kept[held.operation_id].handle
        cancel = [entry.operation_id for entry in welcome.control.cancel if entry.operation_id in self._own]
        if self._implied:
            # It does not see this answer: it is asked when the set is repeated.
            cancel = []
        for operation_id in cancel:
            self._own[operation_id].cancel = True
        return ReportReply(
            keep=tuple(Kept(operation_id, assign.paused) for operation_id, assign in kept.items()),
            drop=welcome.drop,
            cancel=tuple(cancel),
        )

    # --- what it says unasked ---------------------------------------------------------------

    def pushed(self, message: Struct) -> Asked | ReportAgain | OwnerHello | None:
        """What a one-way message of the broker means: a word to the program, or to the broker."""
        match message:
            case PauseOwner():
                return Asked(operation_id=message.operation_id, pause=message.paused)
            case HelloAsked():
                return self._again()
        return None

    def control(self, frame: ControlFrame) -> list[Asked | ReportAgain | OwnerHello]:
        """The same of the cancel set."""
        if frame.incarnation != self.incarnation:
            again = self._again()
            return [] if again is None else [again]
        told: list[Asked | ReportAgain | OwnerHello] = []
        for entry in frame.cancel:
            own = self._own.get(entry.operation_id)
            if own is not None and not own.cancel and entry.generation == 1:
                own.cancel = True
                told.append(Asked(operation_id=entry.operation_id, cancel=True))
        return told

    def _again(self) -> ReportAgain | OwnerHello | None:
        """Another broker: its handles are others, and it wants to hear of all that is held."""
        if self.greeting or self.source is None or self._pages:
            return None
        self.incarnation = None
        for own in self._own.values():
            own.handle = None
        if self._implied:
            return self._hello()
        self.greeting = True
        return ReportAgain()

    def sanity_check(self) -> None:
        """Raise AssertionError if it contradicts itself."""
        if self.source is None and self._own:
            raise AssertionError("operations of a program without a name")
        if self.incarnation is None and any(own.handle is not None for own in self._own.values()):
            raise AssertionError("a handle of a broker that has not welcomed it")


def _too_many() -> TooLargeError:
    return TooLargeError(f"more than {HELD_LIMIT} operations are held", hint="end some before you begin more")
