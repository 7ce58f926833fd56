"""What inputs are fed to. Anything but a message or a documented refusal is raised, and is a failure."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.errors import BadRequestError, RfmError, TooLargeError, UnavailableError, UnsupportedError
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.limits import BATCH_LIMIT
from rfm_runtime.protocol.operation import error_info
from rfm_runtime.protocol.wire import Encoding, decode_batch, decode_message, decode_request
from rfm_runtime.testing.sessions import TOKENS, Gate, Refused, Story, Watcher
from tests.fuzz.inputs import ALIVE, Inputs

__all__ = ["Codec", "Sessions"]

WATCHERS = 6
HISTORY = 60
FINISHED = 20
UNSENT_LIMIT_BYTES = 16 * 1024 * 1024
"""For a watcher that stands still: the core gives it up before."""

CODECS: dict[Encoding, Any] = {"json": msgspec.json, "msgpack": msgspec.msgpack}


class Codec:
    """Both encodings of `rfm.v1`, and the parsers of messages between processes."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0

    def feed(self, data: bytes, meant: Encoding) -> None:
        """In the encoding that was meant, and in the other one."""
        for encoding in CODECS:
            try:
                envelopes = decode_batch(data, encoding)
            except (BadRequestError, TooLargeError):
                self.refused += 1
                continue
            assert len(envelopes) <= BATCH_LIMIT
            for envelope in envelopes:
                self._request(envelope, encoding)
        self._inner(data, meant)

    def _request(self, envelope: Any, encoding: Encoding) -> None:
        try:
            request = decode_request(envelope, encoding)
        except BadRequestError as error:
            self.refused += 1
            if "\n" in str(error):
                raise AssertionError("a refusal of several lines") from error
        else:
            self.accepted += 1
            # The next hop can say it as well.
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=type(request)) == request
            msgspec.json.encode(request)
        try:
            decode_message(envelope, encoding)
        except BadRequestError:
            self.refused += 1

    def _inner(self, data: bytes, meant: Encoding) -> None:
        if meant == "json":
            return
        try:
            message = internal.unpack([data[:40], data[40:]] if data[:1] < b"\x80" else [b"\x01Request", data])
            if isinstance(message, internal.Request | internal.Reply):
                internal.unpack_body(message)
        except (BadRequestError, TooLargeError, UnsupportedError):
            self.refused += 1
        try:
            internal.unpack_progress(data)
        except (BadRequestError, TooLargeError, UnsupportedError):
            self.refused += 1


class Sessions:
    """A whole gateway without its sockets: sessions of every role in both encodings, a feed, late answers, time."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._random = inputs.random
        self._story = Story()
        self._ended: deque[str] = deque()
        inputs.operations.clear()
        self.gate = Gate(
            self._story.answer,
            history_events=HISTORY,
            finished_keep=FINISHED,
            handshakes_per_s=1e6,
            commands_per_s=1e4,
            commands_burst=10_000,
            connections_per_user=100,
        ).boot()
        self.watchers: list[Watcher] = []
        self.accepted = 0
        self.closed = 0
        self.refused = 0
        self._begun = 0
        for _ in range(ALIVE):
            self._begin()
        self.gate.feed(self._story.frame())
        # What is bounded is full from the beginning: later on all that grows is a leak.
        for _ in range(10 * HISTORY):
            self._happen()

    def feed(self, data: bytes, meant: Encoding) -> None:
        """Somebody says it, and something else happens now and then."""
        watcher = self._somebody()
        text: str | None = None
        if meant == "json":
            try:
                text = data.decode()
            except UnicodeDecodeError:
                # The library closes with 1007 before the core hears of it.
                text = None
        self.gate.received(watcher, data if text is None else text)
        self.closed += watcher.closed is not None
        self._around()
        assert watcher.unsent_bytes < UNSENT_LIMIT_BYTES
        watcher.forget()

    def rest(self) -> None:
        """Everybody leaves; nothing waits."""
        for watcher in self.watchers:
            self.gate.drop(watcher)
        self.watchers.clear()
        for waiting in (self.gate.forwards, self.gate.fetches, self.gate.passed):
            waiting.clear()
        self._quiet()
        self.gate.core.notes.take(all_of_it=True)
        assert not self.gate.core.sessions

    def _quiet(self) -> None:
        # As the shell does after each turn.
        self.gate.core.notes.take()
        self.gate.pushes.clear()
        self.gate.beats.clear()
        self.gate.unanswered.clear()

    def _somebody(self) -> Watcher:
        self.watchers = [watcher for watcher in self.watchers if watcher.closed is None]
        while len(self.watchers) < WATCHERS:
            encoding: Encoding = self._random.choice(["json", "msgpack"])
            token = self._random.choice([*TOKENS, "wrong"])
            known = TOKENS.get(token) if self._random.random() < 0.3 else None
            watcher = self.gate.try_connect(encoding, address=self._random.choice("ab"), principal=known)
            if isinstance(watcher, Refused):
                # The feed was away for too long, or too many came with a wrong token: it comes again later.
                self.refused += 1
                self.gate.feed(self._story.frame())
                self.gate.tick(1.0)
                self._quiet()
                continue
            if self._random.random() < 0.9:
                watcher.hello(token)
            if watcher.closed is None:
                self.watchers.append(watcher)
                if self._random.random() < 0.5 and watcher.number in self.gate.core.sessions:
                    watcher.subscribe()
        return self._random.choice(self.watchers)

    def _around(self) -> None:
        chance = self._random.random()
        if chance < 0.05:
            self.gate.tick(self._random.choice([0.05, 0.05, 0.5, 6.0]))
        elif chance < 0.08:
            self._happen()
        elif chance < 0.10:
            self._random.choice(self.watchers).frozen ^= True
        elif chance < 0.11:
            for watcher in self.watchers:
                watcher.read()
        elif chance < 0.12:
            leaving = self._random.choice(self.watchers)
            if leaving.closed is None:
                self.gate.drop(leaving)
                self.watchers.remove(leaving)
        self._answer()
        self._quiet()

    def _answer(self) -> None:
        """Whatever was asked; the broker and the engines are not the enemy, but they fail."""
        refusal: Struct = error_info(UnavailableError("not now", retry_after_s=1.0))
        while self.gate.forwards and self._random.random() < 0.9:
            self.accepted += 1
            self.gate.replied(refusal)
        while self.gate.fetches and self._random.random() < 0.9:
            self.accepted += 1
            self.gate.fetched(refusal)
        while self.gate.passed and self._random.random() < 0.9:
            self.accepted += 1
            error: RfmError = UnavailableError("not now", retry_after_s=1.0)
            self.gate.passed_on(error if self._random.random() < 0.5 else internal.Ack())

    def _happen(self) -> None:
        """An operation goes on, ends, and another begins; the log is as long as it was."""
        operation_id = self._random.choice(self._inputs.operations)
        if self._random.random() < 0.7:
            self.gate.feed(self._story.frame(self._story.measure(operation_id, self._random.uniform(0, 1))))
            return
        self._inputs.operations.remove(operation_id)
        self._story.end(operation_id, self._random.choice(["completed", "failed", "canceled"]))
        self._begin()
        self.gate.feed(self._story.frame())
        self._ended.append(operation_id)
        if len(self._ended) > FINISHED:
            del self._story.operations[self._ended.popleft()]
        self._story.forget_before(max(self._story.floor, self._story.head - HISTORY))

    def _begin(self) -> None:
        operation_id = f"op-{self._begun}"
        self._begun += 1
        self._inputs.operations.append(operation_id)
        self._story.accept(operation_id)
        self._story.start(operation_id)
