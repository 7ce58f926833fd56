"""The outbox: bounded, cancels first, nothing lost or changed over a reconnection."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Struct
from websockets.asyncio.server import ServerConnection, serve

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.outbox import OUTBOX_LIMIT, Outbox
from rfm_runtime.errors import BadRequestError, UnavailableError
from rfm_runtime.protocol.messages import (
    CancelOperation,
    FetchArtifact,
    Hello,
    Limits,
    ListOperations,
    Live,
    Ping,
    ServerInfo,
    Submit,
    SubmitMany,
    SubmitReply,
    Welcome,
)
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.wire import decode_batch, decode_request, encode

CANCEL = CancelOperation(operation_id="a")
FETCH = FetchArtifact(operation_id="a", name="image.png")
OTHERS = [Ping(), ListOperations(), FETCH]


def submit(key: str = "key") -> Submit:
    return Submit(operation_id="a", kind="k", request_key=key)


def rank(message: Struct) -> int:
    return 0 if isinstance(message, CancelOperation) else 1 if isinstance(message, Submit | SubmitMany) else 2


MESSAGES = st.sampled_from([CANCEL, submit(), SubmitMany([submit()]), *OTHERS])


class Reconnections(RuleBasedStateMachine):
    """A connection that comes and goes; a model that knows what is owed."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(limit=5)
        self.owed: dict[int, Struct] = {}
        self.sent: set[int] = set()

    @rule(message=MESSAGES)
    def ask(self, message: Struct) -> None:
        before = dict(self.owed)
        pending, refused = self.outbox.add(message)
        if pending is not None:
            assert pending.message is message
            assert pending.number not in self.owed
            self.owed[pending.number] = message
        if refused is None:
            return
        assert len(before) == 5
        if pending is None:
            assert refused.message is message
            assert rank(message) >= max(rank(known) for known in before.values())
        else:
            assert rank(refused.message) == max(rank(known) for known in before.values()) > rank(message)
            assert refused.number == max(n for n, known in before.items() if rank(known) == rank(refused.message))
            del self.owed[refused.number]
            self.sent.discard(refused.number)

    @rule(count=st.integers(0, 5))
    def send(self, count: int) -> None:
        for pending in self.outbox.to_send()[:count]:
            pending.sent = True
            self.sent.add(pending.number)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([*sorted(self.owed), 10**9]))
        answered = self.outbox.answered(number)
        message = self.owed.pop(number, None)
        self.sent.discard(number)
        assert (answered.message if answered is not None else None) is message
        assert self.outbox.answered(number) is None

    @rule()
    def disconnect(self) -> None:
        dropped = {pending.number for pending in self.outbox.disconnected()}
        assert dropped == {number for number, message in self.owed.items() if isinstance(message, FetchArtifact)}
        for number in dropped:
            del self.owed[number]
        self.sent.clear()

    @invariant()
    def whatever_is_owed_and_not_sent_is_to_be_sent_in_order(self) -> None:
        assert len(self.outbox) == len(self.owed) <= 5
        expected = sorted(set(self.owed) - self.sent, key=lambda number: (rank(self.owed[number]), number))
        found = self.outbox.to_send()
        assert [pending.number for pending in found] == expected
        assert all(pending.message is self.owed[pending.number] for pending in found)


TestReconnections = Reconnections.TestCase


@given(st.lists(MESSAGES, max_size=40), st.integers(1, 10))
def test_a_cancel_is_refused_only_where_nothing_but_cancels_waits(messages: list[Struct], limit: int) -> None:
    outbox = Outbox(limit)
    for message in messages:
        outbox.add(message)
    waiting = outbox.to_send()
    only_cancels = len(waiting) == limit and all(isinstance(pending.message, CancelOperation) for pending in waiting)
    assert (outbox.add(CANCEL)[0] is None) == only_cancels


def test_what_was_sent_is_sent_again_with_the_same_key_and_number() -> None:
    outbox = Outbox()
    first, _ = outbox.add(submit("once"))
    second, _ = outbox.add(submit("twice"))
    assert first is not None
    assert second is not None
    first.sent = second.sent = True
    assert outbox.to_send() == []
    outbox.answered(first.number)
    assert outbox.disconnected() == []
    [again] = outbox.to_send()
    assert (again.number, again.message) == (second.number, submit("twice"))


def test_the_order_is_cancel_submit_rest_and_within_a_class_as_asked() -> None:
    outbox = Outbox()
    asked = [Ping(), submit("1"), CANCEL, ListOperations(), SubmitMany([submit("2")]), submit("3")]
    for message in asked:
        outbox.add(message)
    sent = [pending.message for pending in outbox.to_send()]
    assert sent == [CANCEL, submit("1"), SubmitMany([submit("2")]), submit("3"), Ping(), ListOperations()]


@pytest.mark.parametrize("message", [submit(), Ping()])
def test_it_holds_a_thousand(message: Struct) -> None:
    outbox = Outbox()
    assert OUTBOX_LIMIT == 1000
    assert all(outbox.add(message)[1] is None for _ in range(OUTBOX_LIMIT))
    pending, refused = outbox.add(message)
    assert pending is None
    assert refused is not None
    assert len(outbox) == OUTBOX_LIMIT


# --- a client with a real connection ------------------------------------------------------------


class Gateway:
    """Just enough of a server: welcomes, and cuts the first `cut` connections at their first submission."""

    def __init__(self, cut: int) -> None:
        self.cut = cut
        self.submissions: list[Submit] = []

    async def __call__(self, connection: ServerConnection) -> None:
        limits = Limits(inbound_bytes=1, batch=1, commands_per_s=1, commands_burst=1, max_hz=1)
        welcome = Welcome(
            session="s",
            epoch="log",
            seq=0,
            durable=True,
            caps=[],
            heartbeat_s=20,
            limits=limits,
            roles=[],
            user="u",
            server=ServerInfo("0", 0),
        )
        async for message in connection:
            for envelope in decode_batch(message, "msgpack"):
                request = decode_request(envelope, "msgpack")
                if isinstance(request, Hello):
                    await connection.send(encode(welcome, "msgpack", ts=0))
                    await connection.send(encode(Live("log", 0), "msgpack", ts=0))
                elif isinstance(request, Submit):
                    self.submissions.append(request)
                    if self.cut:
                        self.cut -= 1
                        connection.transport.abort()
                        return
                    reply = self.answer(request)
                    if reply is not None:
                        await connection.send(encode(reply, "msgpack", ts=0, reply_to=envelope.id))

    def answer(self, request: Submit) -> Struct | None:
        return SubmitReply(operation_id=request.operation_id, seq=1)


async def submitted(gateway: Gateway, params: dict[str, Any]) -> str:
    async with serve(gateway, "127.0.0.1", 0, subprotocols=["rfm.v1.msgpack"]) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(f"ws://127.0.0.1:{port}/", "t", initial_delay=0.01, max_delay=0.02) as client:
            if params:
                with pytest.raises(BadRequestError, match="submit cannot be encoded"):
                    await client.submit("k", params, timeout_s=5)
            return (await client.submit("k", {"x": 1}, operation_id="mine", request_key="once", timeout_s=5)).id


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_submission_whose_connection_drops_is_sent_again_word_for_word(cut: int) -> None:
    gateway = Gateway(cut)
    assert asyncio.run(submitted(gateway, {})) == "mine"
    assert len(gateway.submissions) == cut + 1
    assert all(again == gateway.submissions[0] for again in gateway.submissions)
    assert gateway.submissions[0].request_key == "once"


@pytest.mark.parametrize("value", [object(), 2**64, {1: {2}, (): 3j}, "\ud800"])
def test_what_cannot_be_said_is_refused_at_once_and_disturbs_nobody(value: Any) -> None:
    gateway = Gateway(0)
    assert asyncio.run(submitted(gateway, {"x": value})) == "mine"
    assert len(gateway.submissions) == 1


class Refuses(Gateway):
    """Answers submissions with an error, or says nothing and never comes back."""

    def __init__(self, error: ErrorInfo | None) -> None:
        super().__init__(cut=0)
        self.error = error

    async def __call__(self, connection: ServerConnection) -> None:
        if self.error is None and self.submissions:
            await connection.close()
            return
        await super().__call__(connection)

    def answer(self, request: Submit) -> Struct | None:
        assert request.operation_id == "mine"
        return self.error


async def refused(gateway: Gateway, *, reachable: bool = True) -> UnavailableError:
    async with serve(gateway, "127.0.0.1", 0, subprotocols=["rfm.v1.msgpack"]) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(f"ws://127.0.0.1:{port}/", "t", initial_delay=0.01, max_delay=0.02) as client:
            if not reachable:
                server.close()
                await server.wait_closed()
            with pytest.raises(UnavailableError) as caught:
                await client.submit("k", {}, operation_id="mine", request_key="once", timeout_s=0.3)
    return caught.value


FULL = ErrorInfo(code="unavailable", message="the disk is full", hint="make room", temporary=True)


@pytest.mark.scenario("F7")
def test_who_was_refused_is_told_what_helps_and_not_that_it_may_have_been_accepted() -> None:
    error = asyncio.run(refused(Refuses(FULL)))
    assert (error.message, error.hint) == ("the disk is full", "make room")


def test_what_was_never_sent_was_not_accepted() -> None:
    gateway = Gateway(0)
    error = asyncio.run(refused(gateway, reachable=False))
    assert gateway.submissions == []
    assert "not sent" in error.message
    assert "may have been accepted" not in error.hint


@pytest.mark.parametrize("error", [None, msgspec.structs.replace(FULL, unsure=True)])
def test_what_was_sent_and_is_not_known_of_may_have_been_accepted(error: ErrorInfo | None) -> None:
    told = asyncio.run(refused(Refuses(error)))
    assert "may have been accepted" in told.hint
    assert "'mine'" in told.hint
    assert "'once'" in told.hint


@pytest.mark.scenario("F7")
def test_what_was_refused_the_second_time_may_have_been_accepted_the_first_time() -> None:
    gateway = Refuses(FULL)
    gateway.cut = 1
    assert "may have been accepted" in asyncio.run(refused(gateway)).hint
    assert len(gateway.submissions) == 2


class SlowsDown(Gateway):
    """The first time it says that this is too fast, and from then on nothing."""

    def answer(self, request: Submit) -> Struct | None:
        assert request.request_key == "once"
        if len(self.submissions) > 1:
            return None
        return ErrorInfo(code="rate_limited", message="too many", temporary=True, retry_after_ms=10)


def test_what_came_too_fast_and_was_sent_again_may_have_been_accepted() -> None:
    gateway = SlowsDown(0)
    assert "may have been accepted" in asyncio.run(refused(gateway)).hint
    assert len(gateway.submissions) >= 2
