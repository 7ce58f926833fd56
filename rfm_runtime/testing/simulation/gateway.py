"""A gateway of the simulation: `testing.sessions.Gate` with its real core, asking the broker over the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.forwarding import translated
from rfm_runtime.core.sessions.hub import Beat, Forward, PassOn, Push
from rfm_runtime.core.sessions.replica import Ask
from rfm_runtime.errors import RfmError, UnavailableError
from rfm_runtime.protocol.internal import (
    ControlFrame,
    FeedFrame,
    OwnerHeartbeat,
    Principal,
    Reply,
    pack_progress,
    unpack,
)
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.revocation import Revocation
from rfm_runtime.testing.sessions import Gate, Watcher
from rfm_runtime.testing.simulation.calls import Answer, Calls
from rfm_runtime.testing.simulation.network import BROKER, Frames, Lane, Network
from rfm_runtime.testing.tiles_ledger import require

__all__ = ["CERTIFIED", "Files", "Gateway", "told_by"]

ASK_S = 2.0
REQUEST_S = 5.0


CERTIFIED = Principal("cat", ("operator",))
"""Who comes by a client certificate."""


class Files:
    """What gateways read: the number of the key that tokens are checked with, and the certificates that are revoked."""

    def __init__(self) -> None:
        self.key = 0
        self.certificates: frozenset[str] = frozenset()


def told_by(token: str) -> tuple[str, int]:
    """Whose a token is, and with which key it is checked."""
    user, _, rest = token.partition(".")
    return user, int(rest.partition(".")[2] or 0)


class Gateway(Gate):
    """One process. revoked: tokens that are none any more, for all gateways. revocations: of the journal, by key.

    files: as they are; it looks at them with each turn.

    lines: to the broker, of programs that report, by session.
    on_reports: told once somebody reports, and the cancel set is of interest.
    """

    def __init__(
        self,
        network: Network,
        address: str,
        numbers: Iterator[int],
        now_s: float,
        settings: dict[str, Any],
        revoked: set[str],
        on_reports: Callable[[], None],
        files: Files,
        revocations: Mapping[str, Revocation],
    ) -> None:
        self.network = network
        self.address = address
        self.numbers = numbers
        self.revoked = revoked
        self.files = files
        self.key, self.certificates = files.key, files.certificates
        self.revocations = revocations
        self.certified: dict[int, str] = {}
        self.on_reports = on_reports
        self.lines: dict[int, Calls] = {}
        self.calls = Calls(network, address, numbers)
        self._ask_again_s = now_s + ASK_S
        super().__init__(lambda _message: None, **settings)
        self.now_s = now_s
        self.core.last_frame_s = now_s
        # As the shell begins: it has not heard of the broker.
        self.core.informed = False

    def authenticate(self, token: str) -> Grant | None:
        """Whose token it is, if it still is one. One without a number is of a program, and is not taken back."""
        user, key = told_by(token)
        grant = None if user in self.revoked else super().authenticate(user)
        if grant is None or token == user:
            return grant
        return None if key < self.key else msgspec.structs.replace(grant, token_id=token, key=str(key))

    def bars(self, token: str) -> bool:
        """Whether it is known here that a token counts no more."""
        return self.authenticate(token) is None or self._is_revoked(token, self.core.revoked.version)

    def _is_revoked(self, token: str, version: int) -> bool:
        entry = self.revocations.get(f"token:{token}")
        return entry is not None and entry.version <= version

    def vouched(self, grant: Grant) -> Grant | None:
        """As `Keys` says."""
        return None if grant.key and int(grant.key) < self.key else grant

    def look(self) -> bool:
        """As `Keys` says."""
        return (self.key, self.certificates) != (self.files.key, self.files.certificates)

    def _read_files(self) -> None:
        if not self.look():
            return
        self.key, self.certificates = self.files.key, self.files.certificates
        self.carry_out(self.core.keys_changed(self, self.now_ms))
        for number, name in list(self.certified.items()):
            if name in self.certificates:
                self.carry_out(self.core.certified(number, None, "revoked", self.now_ms))

    def _check_barred(self, version: int) -> None:
        """Nobody is in whose token was known to be revoked before, or whose key or certificate is gone."""
        for number, session in self.core.sessions.items():
            grant = session.grant
            if session.closing is not None or grant is None:
                continue
            require(not self._is_revoked(grant.token_id, version), "in, although its token is revoked", grant)
            require(self.vouched(grant) is not None, "in, although its key is gone", grant)
            name = self.certified.get(number)
            require(name not in self.certificates, "in, although its certificate is revoked", name)

    def carry_out(self, commands: list[Any]) -> None:
        """What goes to the broker takes its time, and may get no answer."""
        for command in commands:
            match command:
                case Ask():
                    self._ask_again_s = self.now_s + ASK_S
                    self.calls.ask(command.message, self._answered(command), self.now_s, ASK_S)
                case Forward():
                    self.calls.ask(command.message, self._forwarded(command), self.now_s, REQUEST_S)
                case PassOn():
                    self._line(command.session).ask(command.message, self._passed(command), self.now_s, REQUEST_S)
                case Push():
                    frames = [pack_progress(command.handle, 0, command.measure)]
                    self.network.send(self.address, BROKER, "ingest", frames)
                case Beat():
                    if command.session in self.lines:
                        self.lines[command.session].tell(OwnerHeartbeat(command.source, command.operations))
        super().carry_out([c for c in commands if not isinstance(c, Ask | Forward | PassOn | Push | Beat)])

    def _line(self, session: int) -> Calls:
        if not self.lines:
            self.on_reports()
        if session not in self.lines:
            address = f"{self.address}/s{session}"
            self.network.join(address)
            self.lines[session] = Calls(self.network, address, self.numbers)
        return self.lines[session]

    def _passed(self, command: PassOn) -> Answer:
        def answered(answer: Struct | None) -> None:
            said: Struct | RfmError = UnavailableError("no answer in time") if answer is None else answer
            if isinstance(said, ErrorInfo):
                said = said.to_exception()
            self.carry_out(self.core.passed_on(command, said, self.now_ms))
            self.flush_all()

        return answered

    def drop(self, watcher: Watcher) -> None:
        """The connection is gone, and its line with it; whether the program is, shows when its lease ends."""
        self.certified.pop(watcher.number, None)
        if self.lines.pop(watcher.number, None) is not None:
            self.network.forget(f"{self.address}/s{watcher.number}")
        super().drop(watcher)

    def _answered(self, ask: Ask) -> Answer:
        def answered(answer: Struct | None) -> None:
            # Without an answer the ticker asks again.
            if answer is not None and not isinstance(answer, ErrorInfo):
                self.carry_out(list(self.core.answered(answer, ask.attempt)))
                self.flush_all()

        return answered

    def _forwarded(self, forward: Forward) -> Answer:
        def answered(answer: Struct | None) -> None:
            if answer is None:
                answer = self.core.unavailable("the broker")
            elif not isinstance(answer, ErrorInfo):
                answer = translated(answer, forward.message)
            self.core.replied(forward.session, forward.request_id, answer, self.now_ms, forward.message)
            self.flush_all()

        return answered

    def receive(self, lane: Lane, frames: Frames) -> None:
        """One message of the broker."""
        message = unpack(frames)
        session = int(lane.receiver.partition("/s")[2] or 0)
        match message:
            case Reply() if session:
                self.lines[session].answered(message)
            case _ if session:
                self.carry_out(self.core.pushed(session, message, self.now_ms))
                self.flush_all()
            case Reply():
                self.calls.answered(message)
            case ControlFrame():
                self.carry_out(self.core.control(message, self.now_ms))
                self.flush_all()
            case FeedFrame():
                self.carry_out(list(self.core.feed(message, self.now_s)))
                self.flush_all()
            case _:
                raise AssertionError(f"{lane} brought {message}")

    def turn(self, now_s: float) -> None:
        """Its ticker."""
        self.now_s = now_s
        version = self.core.revoked.version
        self._read_files()
        self.calls.tick(now_s)
        for line in list(self.lines.values()):
            line.tick(now_s)
        if now_s >= self._ask_again_s:
            self._ask_again_s = now_s + ASK_S
            self.carry_out(list(self.core.ask_again(now_s)))
        self.carry_out(self.core.tick(now_s, self.now_ms))
        self._check_barred(version)
        self.flush_all()
