"""The link: how long it waits, what resets it, what ends it; and that a client does what the link says."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.link import (
    NEARBY_CAP_S,
    STABLE_S,
    Failure,
    Link,
    after_close,
    after_status,
    connected,
    failed,
    impatient,
)
from rfm_runtime.core.timing import Backoff
from rfm_runtime.errors import (
    ForbiddenError,
    InternalError,
    NoRuntimeError,
    RfmError,
    TokenExpiredError,
    UnauthorizedError,
    UnavailableError,
)
from rfm_runtime.protocol.codes import CloseCode

DROPPED = Failure("dropped", retry=True)


class Always:
    """Full jitter whose luck is known: 0.0 is the shortest wait, 1.0 the longest."""

    def __init__(self, luck: float) -> None:
        self.luck = luck

    def uniform(self, a: float, b: float, /) -> float:
        return a + (b - a) * self.luck


def tries(link: Link, count: int, failure: Failure = DROPPED, luck: float = 1.0) -> tuple[Link, list[float]]:
    """The waits before the next `count` tries, none of which succeeds."""
    now_s, waits = 0.0, []
    for _ in range(count):
        link, wait_s = failed(link, failure, now_s, Always(luck), can_refresh=False)
        assert wait_s is not None
        waits.append(wait_s)
        now_s += wait_s
    return link, waits


# --- how long -----------------------------------------------------------------------------------


@given(st.integers(1, 200), st.randoms(use_true_random=False), st.floats(0.01, 5), st.floats(5, 60), st.floats(0, 1))
def test_every_wait_lies_within_full_jitter(
    count: int, rng: random.Random, base_s: float, cap_s: float, jitter: float
) -> None:
    link = Link(Backoff(base_s, cap_s, jitter))
    for attempt in range(count):
        bound_s = min(cap_s, base_s * 2.0 ** min(attempt, 64))
        link, wait_s = failed(link, DROPPED, 7.0, rng, can_refresh=False)
        assert wait_s is not None
        assert bound_s * (1 - jitter) - 1e-9 <= wait_s <= bound_s + 1e-9
        assert (link.state, link.attempt, link.next_try_s) == ("reconnecting", attempt + 1, 7.0 + wait_s)


def test_waits_double_up_to_the_cap_and_may_be_nothing() -> None:
    assert tries(Link(Backoff(0.5, 30.0)), 8)[1] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert tries(Link(Backoff(0.5, 30.0)), 3, luck=0.0)[1] == [0, 0, 0]


@given(st.floats(0, 3600), st.floats(0, 1), st.integers(1, 12))
def test_nobody_tries_before_the_server_said(retry_after_s: float, luck: float, count: int) -> None:
    for failure in (after_status(429, retry_after_s), after_status(503, retry_after_s)):
        assert min(tries(Link(Backoff()), count, failure, luck)[1]) >= retry_after_s
    assert tries(Link(Backoff()), 1, after_close(4013, "", retry_after_s), luck)[1][0] >= retry_after_s


def test_a_runtime_of_this_host_is_looked_for_often_but_not_longer_than_asked() -> None:
    nearby = Failure("refused", retry=True, nearby=True)
    assert max(tries(Link(Backoff()), 50, nearby)[1]) == NEARBY_CAP_S
    counted, waits = tries(Link(Backoff(), max_retries=3), 3, nearby)
    assert waits == [0.5, 1, 2]
    assert failed(counted, nearby, 0.0, Always(1), can_refresh=False)[1] is None


# --- what resets --------------------------------------------------------------------------------


@given(st.integers(1, 30), st.floats(0, 1e6), st.floats(0, 2 * STABLE_S))
def test_only_a_connection_that_held_for_60_s_starts_anew(failures: int, now_s: float, held_s: float) -> None:
    link, _ = tries(Link(Backoff()), failures)
    live = connected(link, now_s)
    assert (live.state, live.next_try_s, live.reason) == ("live", None, "")
    after, wait_s = failed(live, DROPPED, now_s + held_s, Always(1.0), can_refresh=False)
    assert wait_s is not None
    if (now_s + held_s) - now_s >= STABLE_S:
        assert (after.attempt, wait_s <= 0.1) == (1, True)
    else:
        assert (after.attempt, wait_s) == (failures + 1, min(30.0, 0.5 * 2.0**failures))


def test_the_first_drop_of_a_working_connection_is_tried_at_once() -> None:
    link, wait_s = failed(connected(Link(Backoff()), 5.0), DROPPED, 6.0, Always(1.0), can_refresh=False)
    assert wait_s == 0.1
    assert failed(link, DROPPED, 6.1, Always(1.0), can_refresh=False)[1] == 1.0


def test_a_server_that_drains_is_no_failing_one() -> None:
    link, _ = tries(Link(Backoff()), 9)
    after, wait_s = failed(link, after_close(4001, ""), 0.0, Always(1.0), can_refresh=False)
    assert (after.state, after.attempt, wait_s) == ("draining", 1, 0.5)


# --- what ends ----------------------------------------------------------------------------------


@given(st.integers(0, 20))
def test_after_max_retries_in_a_row_it_is_closed_for_good(limit: int) -> None:
    link, waits = tries(Link(Backoff(), max_retries=limit), limit)
    assert len(waits) == limit
    link, wait_s = failed(link, DROPPED, 0.0, Always(1.0), can_refresh=True)
    assert (link.state, wait_s, link.next_try_s, link.reason) == ("closed", None, None, "dropped")


@pytest.mark.parametrize("code", CloseCode)
def test_the_range_of_a_close_code_is_honoured(code: CloseCode) -> None:
    link, wait_s = failed(Link(Backoff()), after_close(code, "why"), 0.0, Always(1.0), can_refresh=True)
    if code < 4500 or code is CloseCode.INVALID_TOKEN:  # which a fresh token mends
        assert wait_s is not None
    else:
        # Who was revoked is told so, and asked for no other token.
        assert (link.state, wait_s) == ("unauthorised" if code is CloseCode.REVOKED else "closed", None)
    assert link.reason == f"closed by the server ({code.value}: why)"


@pytest.mark.parametrize("failure", [after_status(401), after_close(4003, ""), after_close(4501, "")])
def test_a_dead_token_is_tried_again_only_by_who_can_get_a_fresh_one(failure: Failure) -> None:
    assert failure.fresh_token
    link, wait_s = failed(tries(Link(Backoff()), 3)[0], failure, 0.0, Always(1.0), can_refresh=False)
    assert (link.state, wait_s, link.next_try_s) == ("unauthorised", None, None)
    link, wait_s = failed(Link(Backoff()), failure, 0.0, Always(1.0), can_refresh=True)
    assert (link.state, wait_s) == ("reconnecting", 0.5)
    given_up, wait_s = failed(Link(Backoff(), max_retries=0), failure, 0.0, Always(1.0), can_refresh=True)
    assert (given_up.state, wait_s) == ("unauthorised", None)


def test_a_token_that_has_expired_is_dead_unless_a_fresher_one_may_be_on_its_way() -> None:
    """A session ends with its token while another one is already under way: that one was not refused."""
    assert after_close(4003, "").dead
    assert not after_close(4003, "", welcomed=True).dead
    assert after_close(4501, "", welcomed=True).dead
    assert isinstance(after_close(4003, "", welcomed=True).error, TokenExpiredError)
    assert after_close(4501, "").error is None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_tried_again(status: int) -> None:
    assert after_status(status, 3.0) == Failure(f"the server is busy (HTTP {status})", retry=True, retry_after_s=3.0)


@pytest.mark.parametrize("status", [200, 301, 400, 403, 404, 405, 426, 500])
def test_a_server_that_refuses_us_or_is_no_runtime_is_not_tried_again(status: int) -> None:
    failure = after_status(status)
    assert not failure.retry
    assert str(status) in failure.reason


# --- a client does as the link says: real sockets, servers that behave badly --------------------

Answer = Callable[[ServerConnection], Awaitable[None]]


async def hold(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def connecting(url: str, *, timeout_s: float = 10.0, **options: object) -> RfmError:
    """What connecting there ends with."""
    client = AsyncClient(url, "token", initial_delay=0.01, max_delay=0.02, **options)
    try:
        await client.connect(timeout_s)
    except RfmError as error:
        return error
    finally:
        await client.close()
    raise AssertionError("connected")


def outcome(answer: Answer, **options: object) -> tuple[RfmError, int]:
    """What a client ends with that talks to a server which answers so, and the number of its connections."""
    count = 0

    async def counted(connection: ServerConnection) -> None:
        nonlocal count
        count += 1
        await answer(connection)

    async def run() -> RfmError:
        async with serve(counted, "127.0.0.1", 0, subprotocols=["rfm.v1.msgpack"]) as server:
            port = server.sockets[0].getsockname()[1]
            return await connecting(f"ws://127.0.0.1:{port}/", **options)

    return asyncio.run(run()), count


@pytest.mark.parametrize("message", ["{", "[1]", b"\xc1", b"\x81\xa4type\xa7welcome", b"\x81\xa4type\xa7welcome" * 9])
def test_a_server_that_does_not_speak_the_protocol_is_left_at_once(message: str | bytes) -> None:
    async def garbage(connection: ServerConnection) -> None:
        await connection.send(message)
        await hold(connection)

    error, connections = outcome(garbage)
    assert isinstance(error, UnavailableError)
    assert "does not speak rfm.v1" in error.message
    assert connections == 1


@pytest.mark.parametrize(
    ("code", "kind"), [(4500, UnavailableError), (4501, UnauthorizedError), (4503, UnauthorizedError)]
)
def test_a_close_code_that_says_stop_stops_the_client(code: int, kind: type[RfmError]) -> None:
    error, connections = outcome(lambda connection: connection.close(code, "no"))
    assert (type(error), connections) == (kind, 1)
    assert f"{code}: no" in error.message


def test_a_close_code_that_says_reconnect_is_tried_as_often_as_allowed() -> None:
    error, connections = outcome(lambda connection: connection.close(4014, "fault"), max_retries=3)
    assert (type(error), connections) == (UnavailableError, 4)


def test_a_token_callback_that_fails_is_said_and_not_waited_for() -> None:
    def no_token() -> str:
        raise LookupError("the vault is shut")

    error, connections = outcome(lambda connection: connection.close(4003, "old"), get_token=no_token)
    assert (type(error), connections) == (InternalError, 1)
    assert "the vault is shut" in error.message


def test_nobody_there_is_tried_as_often_as_allowed_and_then_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/"
        states: list[str] = []
        error = asyncio.run(connecting(url, max_retries=2, on_state=lambda state, _: states.append(state)))
    assert isinstance(error, UnavailableError)
    assert states == ["reconnecting", "reconnecting", "closed"]


def test_an_address_that_is_none_is_not_tried_again() -> None:
    assert "not a WebSocket address" in asyncio.run(connecting("http://127.0.0.1/")).message


@pytest.mark.scenario("D5")
@pytest.mark.parametrize("attempt", [0, 1, 7])
def test_a_server_that_gives_out_places_in_a_line_is_believed_to_the_millisecond(attempt: int) -> None:
    link = Link(Backoff(), attempt=attempt, live_since_s=0.0)
    assert failed(link, after_status(503, 0.125), 1.0, Always(1.0), can_refresh=False)[1] == 0.125
    refused = link
    for _ in range(5):
        refused, _ = failed(refused, after_status(503, 0.125), 1.0, Always(1.0), can_refresh=False)
    assert refused.attempt == attempt + 5
    # Five places in the line are no five failures.
    assert failed(replace(refused, live_since_s=0.0), DROPPED, 1.0, Always(1.0), can_refresh=False)[1] == 0.1
    # Whole seconds are told to many at once: they come within the next one.
    coarse = after_status(503, 2.0, spread_s=1.0)
    assert failed(link, coarse, 1.0, Always(0.0), can_refresh=False)[1] == 2.0
    assert failed(link, coarse, 1.0, Always(1.0), can_refresh=False)[1] == 3.0


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ({}, "another token;"),
        ({"token": False, "certificate": True}, "another certificate;"),
        ({"certificate": True}, "another token or another certificate;"),
    ],
)
def test_who_was_revoked_is_told_what_to_ask_for(shown: dict[str, bool], wanted: str) -> None:
    failure = after_close(CloseCode.REVOKED, "the token was revoked", **shown)
    assert isinstance(failure.error, UnauthorizedError)
    assert wanted in (failure.error.hint or "")
    assert "4503: the token was revoked" in failure.error.message
    assert not failure.retry


def test_whose_certificate_is_nobodys_is_told_where_it_has_to_be() -> None:
    failure = after_close(CloseCode.INVALID_TOKEN, "the certificate is nobody's", token=False, certificate=True)
    assert isinstance(failure.error, UnauthorizedError)
    assert "tls_users" in (failure.error.hint or "")


@pytest.mark.parametrize("status", [200, 301, 400, 404, 405, 426])
def test_what_is_no_runtime_is_not_called_temporary(status: int) -> None:
    error = after_status(status).error
    assert isinstance(error, NoRuntimeError)
    assert not error.temporary


def test_a_server_that_forbids_it_is_quoted() -> None:
    error = after_status(403, said="the certificate was revoked").error
    assert isinstance(error, ForbiddenError)
    assert "HTTP 403: the certificate was revoked" in error.message


def test_what_lasts_ends_the_second_time_for_who_does_not_wait_for_ever() -> None:
    lasts, passes = Failure("no such name", retry=True, lasting=True), Failure("refused", retry=True)
    link = Link(Backoff())
    assert impatient(link, lasts) == lasts
    link, wait_s = failed(link, lasts, 0.0, Always(1.0), can_refresh=False)
    assert wait_s is not None
    assert not impatient(link, lasts).retry
    link, _ = failed(link, passes, 0.0, Always(1.0), can_refresh=False)
    assert impatient(link, passes).retry
    # After something else it is the first time again.
    assert impatient(link, lasts).retry
