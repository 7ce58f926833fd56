"""The line of those who have a token: a rate for all, a fair share for each user, and places that are true."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.sessions.line import LATE_S, FairLine

LIMIT_S = 30.0
users = st.sampled_from(["ann", "bob", "cid"])


@given(
    st.lists(st.tuples(users, st.sampled_from([0.0, 0.0, 0.001, 0.1, 1.0, 5.0])), max_size=300), st.floats(0.2, 50.0)
)
def test_whoever_comes_how_ever_the_rate_holds_and_waits_are_bounded(knocks: list[tuple[str, float]], rate: float):
    line, now_s, entered = FairLine(rate, LIMIT_S, 0.0), 0.0, 0
    for name, gap_s in knocks:
        now_s += gap_s
        wait_s = line.knock(name, now_s)
        assert 0.0 <= wait_s <= LIMIT_S
        entered += wait_s == 0.0
        assert entered <= max(1.0, rate) + rate * now_s + 1e-6
        assert all(len(user.places) <= LIMIT_S * rate + 2 for user in line._users.values())


class Crowd:
    """Clients that come again when they were told to, and count their tries; others that do not listen."""

    def __init__(self, rate: float) -> None:
        self.line = FairLine(rate, LIMIT_S, 0.0)
        self.due: list[tuple[float, int, str, bool]] = []
        self.entered: dict[str, list[float]] = {}
        self.tries: dict[str, list[int]] = {}
        self._number = 0

    def comes(self, name: str, at_s: float = 0.0, tries: int = 0) -> None:
        self._number += 1
        heapq.heappush(self.due, (at_s, self._number, name, False))
        self._tried = self.__dict__.setdefault("_tried", {})
        self._tried[self._number] = tries

    def floods(self, name: str, per_s: float, until_s: float) -> None:
        for step in range(int(per_s * until_s)):
            self._number += 1
            heapq.heappush(self.due, (step / per_s, self._number, name, True))

    def run(self, until_s: float, late_s: float = 0.05) -> None:
        while self.due and self.due[0][0] <= until_s:
            now_s, number, name, deaf = heapq.heappop(self.due)
            wait_s = self.line.knock(name, now_s)
            if wait_s == 0.0:
                self.entered.setdefault(name, []).append(now_s)
                if not deaf:
                    self.tries.setdefault(name, []).append(self._tried[number] + 1)
            elif not deaf:
                self.comes(name, now_s + wait_s + late_s, self._tried[number] + 1)


@pytest.mark.scenario("D5")
@pytest.mark.parametrize("watchers", [1, 20, 100])
def test_one_who_floods_and_does_not_listen_costs_others_no_more_than_half_the_rate(watchers: int) -> None:
    crowd = Crowd(50.0)
    crowd.floods("ann", 500.0, 20.0)
    for _ in range(watchers):
        crowd.comes("bob", 5.0)
    crowd.run(20.0)
    assert len(crowd.entered["bob"]) == watchers
    assert max(crowd.entered["bob"]) <= 5.0 + watchers / 25.0 + 0.5
    assert max(crowd.tries["bob"]) <= 3


@pytest.mark.scenario("D5")
def test_a_user_with_many_watchers_does_not_keep_those_with_one_behind_them() -> None:
    crowd = Crowd(50.0)
    for _ in range(1000):
        crowd.comes("ann")
    for number in range(100):
        crowd.comes(f"user-{number}", 0.01)
    crowd.run(60.0)
    last_s = max(max(crowd.entered[f"user-{number}"]) for number in range(100))
    assert last_s < 5.0
    # Nobody's turn is given away: all are in as fast as the rate allows.
    assert len(crowd.entered["ann"]) == 1000
    assert max(crowd.entered["ann"]) < 1050 / 50.0 + 3.0


@pytest.mark.scenario("D5")
def test_a_thousand_users_with_one_watcher_each_are_let_in_at_the_rate_of_all() -> None:
    crowd = Crowd(200.0)
    for number in range(1000):
        crowd.comes(f"user-{number}")
    crowd.run(60.0)
    entered = sorted(at_s for times in crowd.entered.values() for at_s in times)
    assert len(entered) == 1000
    assert entered[199] == 0.0
    assert entered[-1] < 800 / 200.0 + 1.0
    assert max(max(tries) for tries in crowd.tries.values()) <= 3


def test_who_does_not_come_is_not_waited_for_and_nobody_is_kept_for_ever() -> None:
    line = FairLine(10.0, LIMIT_S, 0.0)
    for name in ("ann", "bob"):
        for _ in range(30):
            line.knock(name, 0.0)
    assert line._users.keys() == {"ann", "bob"}
    later_s = 10.0 + LATE_S
    assert [line.knock("cid", later_s) for _ in range(10)] == [0.0] * 10
    assert line._users.keys() == {"cid"}
