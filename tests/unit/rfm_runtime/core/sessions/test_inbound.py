"""The rate of all that is said, and the part of each who speaks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_runtime.core.sessions.inbound import PART_BURST, RECENT_S, Inbound

pytestmark = pytest.mark.scenario("G8", "J52")

STEP_S = 0.01


def run(inbound: Inbound, wants: dict[str, float], seconds: float, begin_s: float = 0.0) -> dict[str, Any]:
    """Each says so many messages a second, or waits; how many were taken of each, and the longest that one waited.

    Who may not yet is asked again at the next step, as a socket does that is not read meanwhile.
    """
    taken, late_s = dict.fromkeys(wants, 0), dict.fromkeys(wants, 0.0)
    next_s = dict.fromkeys(wants, begin_s)
    for step in range(round(seconds / STEP_S)):
        now_s = begin_s + step * STEP_S
        for name, rate in wants.items():
            while next_s[name] <= now_s:
                wait_s, _ = inbound.take(name, now_s, alone=False)
                if wait_s > 0.0:
                    late_s[name] = max(late_s[name], now_s + wait_s - next_s[name])
                    break
                taken[name] += 1
                # A flood does not make up for what it could not say.
                next_s[name] = max(next_s[name], now_s - STEP_S) + 1.0 / rate
    return {"taken": taken, "late_s": late_s}


def test_who_speaks_no_faster_than_his_part_never_waits_behind_floods() -> None:
    inbound = Inbound(100.0, 75.0, 0.0)
    floods = {f"loud-{number}": 1000.0 for number in range(9)}
    found = run(inbound, {**floods, "quiet": 8.0}, 10.0)
    assert found["taken"]["quiet"] >= 79
    # Within the step in which he is asked.
    assert found["late_s"]["quiet"] <= 2 * STEP_S + 1.0 / 10.0
    assert sum(found["taken"].values()) <= 100.0 * 10.0 + 100.0 + 10 * PART_BURST
    # The others have the rest by equal parts, and what quiet ones leave.
    loud = [found["taken"][name] for name in floods]
    assert min(loud) >= 0.9 * 10.0 * 10.0


def test_what_nobody_needs_is_for_whoever_comes_up_to_his_share() -> None:
    found = run(Inbound(100.0, 75.0, 0.0), {"loud": 1000.0, "quiet": 1.0}, 20.0)
    assert 75.0 * 20 * 0.95 <= found["taken"]["loud"] <= 75.0 * 21 + 2


@settings(max_examples=80)
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.5, 400.0), min_size=1),
    st.floats(5.0, 200.0),
)
def test_all_together_never_say_more_than_the_rate_and_none_starves(wants: dict[str, float], rate: float) -> None:
    inbound = Inbound(rate, rate * 0.75, 0.0)
    seconds = 5.0
    found = run(inbound, wants, seconds)
    # One burst at the beginning, and a message of each on his part at the end.
    assert sum(found["taken"].values()) <= rate * (seconds + 1.0) + PART_BURST * len(wants) + 1
    for name, wanted in wants.items():
        part = min(wanted, rate / len(wants))
        # One message may still wait, and steps are not exact.
        assert found["taken"][name] >= 0.8 * part * seconds - 2


def test_those_who_only_listen_have_no_part() -> None:
    inbound = Inbound(100.0, 100.0, 0.0)
    for number in range(50):
        inbound.take(f"listener-{number}", 0.0, alone=False)
    assert len(inbound) == 50
    found = run(inbound, {"a": 1000.0, "b": 10.0}, 5.0, begin_s=2 * RECENT_S)
    assert len(inbound) == 2
    assert found["taken"]["b"] >= 49
    assert found["taken"]["a"] >= 400


def test_a_batch_is_owed_for() -> None:
    inbound = Inbound(10.0, 10.0, 0.0)
    assert inbound.take("a", 0.0, alone=True)[0] == 0.0
    inbound.charge("a", 40.0, 0.0, alone=True)
    found = run(inbound, {"a": 100.0}, 2.0)
    # Its part goes on by itself: nobody is locked out for what was taken of it.
    assert found["taken"]["a"] <= 21
