"""What one user's many connections share, and what an address may guess: by the gateway's core alone."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.core.sessions.door import REFUSED_BURST_S, Refused
from rfm_runtime.core.sessions.hub import GatewayCore
from rfm_runtime.core.sessions.shares import SHARE
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import Ack, OwnerHello
from rfm_runtime.protocol.messages import Goodbye, Ping, Pong, Welcome
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.reports import Report, ReportCompleted, ReportStarted
from rfm_runtime.testing.sessions import TOKENS, Gate, Story

pytestmark = pytest.mark.scenario("G8", "J52")


def gate_with(**settings: Any) -> Gate:
    return Gate(Story().answer, **settings).boot()


def answered(watchers: list[Any]) -> int:
    return sum(len(watcher.all(Pong)) for watcher in watchers)


def test_many_connections_of_a_user_share_his_commands_and_are_told_when_to_come_again() -> None:
    gate = gate_with(commands_per_s=10.0, commands_burst=20)
    anns = [gate.connect().hello("ann") for _ in range(12)]
    bob = gate.connect().hello("bob")
    for watcher in anns:
        for _ in range(15):
            watcher.say(Ping(), request_id=1)
    # Each is within the limit of a client; together they are above that of a user.
    assert answered(anns) == 4 * 20
    refused = [error for watcher in anns for error in watcher.all(ErrorInfo)]
    assert {error.code for error in refused} == {"rate_limited"}
    assert all(error.retry_after_ms is not None and error.retry_after_ms > 0 for error in refused)
    bob.say(Ping(), request_id=1)
    assert answered([bob]) == 1
    # After the time that was told it is taken.
    gate.tick((refused[-1].retry_after_ms or 0) / 1000)
    anns[-1].forget()
    anns[-1].say(Ping(), request_id=2)
    assert answered([anns[-1]]) == 1
    assert gate.core.counts["limited_user"] == len(refused)


def test_a_refusal_for_all_connections_takes_nothing_from_the_one() -> None:
    gate = gate_with(commands_per_s=10.0, commands_burst=20, user_commands_per_s=1.0)
    watcher = gate.connect().hello("ann")
    for _ in range(10):
        watcher.say(Ping(), request_id=1)
    assert answered([watcher]) == 2
    assert gate.core.sessions[watcher.number].bucket.tokens == 18.0


def test_who_is_given_more_connections_is_given_more_commands() -> None:
    """A crowd of one user's screens that comes back at once subscribes at once."""
    gate = gate_with(connections_per_user=400, handshakes_per_s=1000.0)
    watchers = [gate.connect().hello("ann").subscribe() for _ in range(400)]
    assert [error for watcher in watchers for error in watcher.all(ErrorInfo)] == []


def test_new_connections_bring_no_new_share() -> None:
    gate = gate_with(commands_per_s=10.0, commands_burst=20)
    taken = 0
    for _ in range(10):
        watcher = gate.connect().hello("ann")
        for _ in range(20):
            watcher.say(Ping(), request_id=1)
        taken += answered([watcher])
        gate.drop(watcher)
    assert taken == 80


def messages(core: GatewayCore, numbers: list[int], now_s: float) -> int:
    """How many messages are taken now, if each sends as fast as it can."""
    taken = 0
    while True:
        before = taken
        taken += sum(core.wait_s(number, now_s) == 0.0 for number in numbers)
        if taken == before:
            return taken


@pytest.mark.parametrize("others", [False, True])
def test_of_all_messages_a_user_leaves_some_to_the_others_if_there_are_any(others: bool) -> None:
    gate = gate_with(inbound_per_s=200.0)
    anns = [gate.connect().hello("ann") for _ in range(8)]
    bob = gate.connect().hello("bob") if others else None
    gate.now_s += 10.0
    taken = messages(gate.core, [watcher.number for watcher in anns], gate.now_s)
    assert taken == round(200 * (SHARE if others else 1.0))
    if bob is not None:
        assert messages(gate.core, [bob.number], gate.now_s) == 200 - taken
        assert gate.core.counts["slowed_user"] > 0


# --- guessing -------------------------------------------------------------------------------------


def guess(gate: Gate, address: str) -> tuple[int, int | None]:
    """The code and time to come again of a connection whose hello has a wrong token."""
    watcher = gate.try_connect(address=address)
    if isinstance(watcher, Refused):
        return watcher.code, watcher.retry_after_ms
    watcher.hello("wrong")
    (goodbye,) = watcher.all(Goodbye)
    return goodbye.code, goodbye.retry_after_ms


@pytest.mark.parametrize("how", ["hello", "header", "http", "refresh"])
def test_an_address_that_guesses_is_told_when_to_come_again(how: str) -> None:
    gate = gate_with(refused_sign_ins_per_s=0.5, handshakes_per_s=1000.0)
    allowed = round(0.5 * REFUSED_BURST_S)
    for _ in range(allowed):
        match how:
            case "hello":
                assert guess(gate, "bad")[0] == CloseCode.INVALID_TOKEN
            case "header":
                assert gate.core.wrong_token("bad", gate.now_s).code == CloseCode.INVALID_TOKEN
            case "http":
                assert gate.core.wrong_bearer("bad", gate.now_s) == 0.0
            case "refresh":
                gate.core._door.failed("bad", gate.now_s)
    code, retry_after_ms = guess(gate, "bad")
    assert code == CloseCode.RATE_LIMITED
    assert retry_after_ms is not None
    assert 1000 < retry_after_ms <= 2100
    assert gate.core.wrong_token("bad", gate.now_s).code == CloseCode.RATE_LIMITED
    assert gate.core.wrong_bearer("bad", gate.now_s) > 0.0
    # Who has a token is asked for it first, and comes in from there as well.
    assert gate.connect(address="bad", principal=TOKENS["ann"]).hello().all(Welcome)
    # Somebody else comes in with nothing but a hello.
    assert gate.connect(address="good").hello("bob").all(Welcome)
    gate.tick(retry_after_ms / 1000)
    assert guess(gate, "bad")[0] == CloseCode.INVALID_TOKEN


def test_a_flood_of_guesses_does_not_stand_in_the_line_of_strangers() -> None:
    gate = gate_with(handshakes_per_s=50.0, refused_sign_ins_per_s=1.0)
    codes = []
    for number in range(2000):
        codes.append(guess(gate, "bad")[0])
        if number % 100 == 99:
            gate.tick(0.1)
            assert gate.connect(address="good").hello("bob").all(Welcome)
            gate.drop(next(w for w in list(gate.watchers.values()) if w.closed is None))
    assert codes.count(CloseCode.INVALID_TOKEN) <= 20 + 2
    gate.core.sanity_check()


def test_addresses_that_are_many_are_forgotten_and_the_memory_is_bounded() -> None:
    gate = gate_with(handshakes_per_s=1e6)
    for number in range(5000):
        gate.core.wrong_token(f"address-{number}", gate.now_s)
    assert len(gate.core._door._refused) <= 1024


# --- outcomes -------------------------------------------------------------------------------------


def test_an_outcome_is_never_limited_away() -> None:
    """Neither by commands of the client or the user, nor by how many reports wait for an answer."""
    gate = gate_with(commands_per_s=1.0, commands_burst=400, user_commands_per_s=150.0)
    program = gate.connect().hello("ann")
    program.say(Report(reporter="p"))
    ids = [f"op-{number}" for number in range(256)]
    for operation_id in ids:
        program.say(ReportStarted(operation_id=operation_id, kind="external"), request_id=1)
    # Nothing was answered yet: no more can be begun, or said a second time.
    waiting = len(gate.passed)
    assert waiting == 256
    program.say(ReportStarted(operation_id="one-more", kind="external"), request_id=2)
    assert [error.code for error in program.all(ErrorInfo)][-1] == "rate_limited"
    program.forget()
    for operation_id in ids[:-1]:
        program.say(ReportCompleted(operation_id=operation_id), request_id=3)
    assert program.all(ErrorInfo) == []
    assert len(gate.passed) == waiting + 255
    program.say(ReportCompleted(operation_id=ids[0]), request_id=4)
    assert [error.code for error in program.all(ErrorInfo)] == ["rate_limited"]
    assert isinstance(gate.passed[0].message, OwnerHello)
    assert Ack
