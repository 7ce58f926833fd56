"""Who waits at the door without a word, who asks how often, and what a request costs."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rfm_runtime.core.sessions.askers import KNOWN, Askers
from rfm_runtime.core.sessions.costs import cost_of
from rfm_runtime.core.sessions.doorstep import Doorstep
from rfm_runtime.protocol.history import History
from rfm_runtime.protocol.messages import ListOperations, Ping, Pong, Recolour, Subscribe
from rfm_runtime.testing.sessions import Gate

pytestmark = pytest.mark.scenario("J70")


def test_the_oldest_of_an_address_goes_and_others_are_not_affected() -> None:
    step = Doorstep(limit=10, limit_per_address=3)
    assert [step.came(number, "bad") for number in range(3)] == [None] * 3
    assert step.came(10, "good") is None
    assert step.came(3, "bad") == 0
    assert step.came(4, "bad") == 1
    step.left(10)
    step.left(10)
    assert len(step) == 3


def test_of_too_many_in_all_the_address_with_most_loses_one() -> None:
    step = Doorstep(limit=4, limit_per_address=3)
    for number in range(3):
        step.came(number, "bad")
    step.came(3, "good")
    assert step.came(4, "better") == 0
    step.sanity_check()


MOVES = st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from("abc")), max_size=200)


@given(MOVES)
def test_whoever_comes_and_goes_no_more_wait_than_may(moves: list[tuple[bool, int, str]]) -> None:
    step = Doorstep(limit=7, limit_per_address=4)
    number = 0
    for comes, which, address in moves:
        if comes:
            number += 1
            gone = step.came(number, address)
            assert gone != number, "who comes is let in"
        else:
            step.left(which)
        step.sanity_check()


def test_who_asks_too_often_is_told_when_to_come_again_and_others_are_answered() -> None:
    askers = Askers(rate_per_s=10.0, burst=5.0)
    assert [askers.ask("ann", 1.0, 0.0) for _ in range(7)] == [0.0] * 5 + [pytest.approx(0.1)] * 2
    assert askers.ask("bob", 5.0, 0.0) == 0.0
    assert askers.ask("ann", 1.0, 0.11) == 0.0


def test_addresses_without_number_take_no_memory_without_bound() -> None:
    askers = Askers(rate_per_s=1.0, burst=1.0)
    for number in range(10 * KNOWN):
        askers.ask(str(number), 1.0, 0.0)
        askers.ask("often", 1.0, 0.0)
    assert len(askers) == KNOWN
    assert askers.ask("often", 1.0, 0.0) > 0.0, "who asks all the time is not forgotten"


def test_a_request_costs_what_it_makes_others_do() -> None:
    assert cost_of(Ping()) == 1.0
    assert cost_of(ListOperations(limit=500)) == 6.0
    assert cost_of(History(limit=500)) == 11.0
    assert cost_of(Recolour(operation_id="a", look={})) > cost_of(Subscribe()) > cost_of(Ping())


def test_who_reads_the_whole_history_again_and_again_is_limited_sooner() -> None:
    def taken(request: Ping | History) -> int:
        gate = Gate(lambda _message: None, commands_per_s=10.0, commands_burst=100)
        watcher = gate.connect().hello()
        for _ in range(120):
            watcher.say(request)
        return len(gate.forwards) + len(watcher.all(Pong))

    assert taken(Ping()) == 100
    assert taken(History(limit=500)) == 9
