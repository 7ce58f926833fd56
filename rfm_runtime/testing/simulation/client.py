"""Somebody's client: the real outbox and mirror, one connection that drops, and a person who remembers.

It checks what it is told at the moment it comes: no gap, nothing twice, no bar that goes back, nothing after an
outcome, nothing at all without a valid token. What a script has submitted it submits again under the same key after
a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from rfm_runtime.client.mirror import Mirror
from rfm_runtime.client.outbox import Outbox
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.messages import (
    CancelOperation,
    Goodbye,
    Hello,
    Live,
    OperationList,
    Submit,
    SubmitReply,
    Subscribe,
    Subscribed,
    Welcome,
)
from rfm_runtime.protocol.operation import (
    TERMINAL_EVENTS,
    TERMINAL_STATES,
    ErrorInfo,
    OperationEvent,
    ProgressUpdate,
)
from rfm_runtime.protocol.wire import Encoding, Envelope
from rfm_runtime.testing.simulation.gateway import Gateway
from rfm_runtime.testing.simulation.peer import Peer
from rfm_runtime.testing.tiles_ledger import require

__all__ = ["Client"]


class Client(Peer):
    """One person. wanted: what was submitted, by key. accepted: what was promised. log: the journal's events.

    barred: the token was none any more when the server looked at it. token: the one that is shown, of `issue`.
    """

    def __init__(
        self,
        user: str,
        encoding: Encoding,
        subscription: Literal["all", "active"],
        log: Callable[[], Sequence[OperationEvent]],
        issue: Callable[[str], str],
    ) -> None:
        super().__init__(user, encoding)
        self.token = issue(user)
        self.shut_out = 0
        self._issue = issue
        self.user = user
        self.subscription = subscription
        self.wanted: dict[str, Submit] = {}
        self.accepted: dict[str, str] = {}
        self._log = log
        self.start()

    def start(self) -> None:
        """The program begins, or begins again: what it knew is gone."""
        self.mirror = Mirror()
        self.outbox = Outbox()
        self.outcomes: set[str] = set()
        self.shown: dict[str, float] = {}
        self.patience: list[Struct] = []
        self.resumed_at = 0
        self.ended: set[str] = set()
        self._nowhere()

    def _nowhere(self) -> None:
        self.live = self.barred = self.dismissed = False
        self.position: int | None = None

    # --- what the person does ---------------------------------------------------------------

    def submit(self, submission: Submit) -> None:
        """Submit, or submit once more."""
        self.wanted[submission.request_key] = submission
        self.ask(submission)

    def ask(self, message: Struct) -> None:
        """Queue a request; it is sent when there is a connection."""
        self.outbox.add(message)
        self._send_waiting()

    # --- the connection ---------------------------------------------------------------------

    def greeting(self) -> Struct:
        """With the position to resume from."""
        return Hello(token="" if self.grant is not None else self.token, resume=self.mirror.resume)

    def connect(self, gateway: Gateway) -> None:
        """With something fresh, if the last one was not taken."""
        if self.shut_out:
            self.shut_out = 0
            self.token = self._issue(self.user)
        if self.grant is None:
            super().connect(gateway)
        elif self.token in gateway.certificates:
            # TLS lets no such handshake be made.
            self.shut_out = CloseCode.REVOKED
        else:
            super().connect(gateway)
            if self.connection is not None:
                gateway.certified[self.connection.number] = self.token

    def dismissed_with(self, code: int) -> None:
        """Who is shut out needs something fresh."""
        if code in (CloseCode.REVOKED, CloseCode.INVALID_TOKEN) and self.gateway is not None:
            gone = self.token in self.gateway.certificates if self.grant is not None else self.gateway.bars(self.token)
            require(gone or self.barred, "shut out for nothing", (self.token, code))
            self.shut_out = code

    def lost(self) -> None:
        """Everything without an answer is sent again."""
        self._nowhere()
        self.outbox.disconnected()

    def _send_waiting(self) -> None:
        if self.welcomed:
            for pending in self.outbox.to_send():
                pending.sent = True
                self.say(pending.message, pending.number)

    def deliver(self) -> None:
        """One message reaches the gateway; with the first one goes the token."""
        if self.gateway is not None and not self.welcomed and self.grant is None:
            self.barred = self.gateway.bars(self.token)
        super().deliver()

    def took(self, envelope: Envelope, message: Struct) -> None:
        """An answer, or something that nobody asked for."""
        require(not self.dismissed, "told something behind the end", message)
        self.dismissed = isinstance(message, Goodbye)
        if envelope.re:
            self._answered(envelope.re, message)
        else:
            self._take(message)
        self._check_shown()

    # --- what it is told --------------------------------------------------------------------

    def _answered(self, number: int, answer: Struct) -> None:
        pending = self.outbox.answered(number)
        if pending is None:
            return
        message = pending.message
        if isinstance(answer, ErrorInfo) and answer.temporary:
            self.patience.append(message)
        elif isinstance(message, Submit):
            require(isinstance(answer, SubmitReply), "a good submission, or its repetition, was refused", answer)
            if isinstance(answer, SubmitReply):
                first = self.accepted.setdefault(message.request_key, answer.operation_id)
                require(answer.operation_id == first, "one key, two operations", (message, answer))
        elif isinstance(message, CancelOperation):
            known = isinstance(answer, ErrorInfo) and answer.code == "unknown_operation"
            promised = message.operation_id in self.accepted.values()
            require(not (known and promised), "what was accepted is not known", message)

    def _take(self, message: Struct) -> None:
        told = isinstance(message, OperationList | OperationEvent | ProgressUpdate | Live | Subscribed | Welcome)
        require(not (self.barred and told), "told although its token is none", message)
        match message:
            case Welcome():
                self.resumed_at = self.mirror.seq
                self.mirror.forget_log(message.epoch, message.seq)
                self.welcomed = True
                self.say(Subscribe(operations=self.subscription))
                self._send_waiting()
            case Subscribed():
                self.position = self.resumed_at if message.recovered else None
                finished = {o.operation_id for o in self.mirror.operations.values() if o.state in TERMINAL_STATES}
                self.ended = finished if message.recovered else set()
            case OperationList():
                if message.first:
                    self.position = None
                self.mirror.page(message)
                self.ended |= {o.operation_id for o in message.operations if o.state in TERMINAL_STATES}
            case Live():
                self.mirror.moved(message.epoch, message.seq)
                self.position = message.seq if self.position is None else self.position
                self.live = True
            case OperationEvent():
                self._event(message)
            case ProgressUpdate():
                require(message.operation_id not in self.ended, "progress after the outcome", message)
                self.mirror.progress(message)

    def _event(self, event: OperationEvent) -> None:
        log, oid = self._log(), event.operation_id
        require(event.seq <= len(log) and same_event(log[event.seq - 1], event), "an event that is not on disk", event)
        require(oid not in self.ended, "an event after the outcome", event)
        if self.position is not None:
            require(event.seq == self.position + 1, "an event is missing or comes twice", (self.position, event))
            self.position = event.seq
        news = self.mirror.event(event)
        if event.type in TERMINAL_EVENTS:
            self.ended.add(oid)
            if news:
                require(oid not in self.outcomes, "two outcomes", event)
                self.outcomes.add(oid)

    def _check_shown(self) -> None:
        for oid, operation in self.mirror.operations.items():
            if operation.latest is not None:
                done = operation.latest.done
                require(done >= self.shown.get(oid, 0.0), "the bar goes back", (oid, self.shown.get(oid), done))
                self.shown[oid] = done

    def tick(self) -> None:
        """What was to be repeated later is."""
        patience, self.patience = self.patience, []
        for message in patience:
            self.ask(message)


def same_event(one: OperationEvent, other: OperationEvent) -> bool:
    """Whether they say the same, whatever detail a watcher wants of it."""
    fields = ("seq", "type", "operation_id", "state", "generation", "error", "artifacts", "cancel_requested", "forced")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
