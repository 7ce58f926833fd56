"""A plan follows from its seed, keeps to its length and its kinds, and gives a runtime the time to get to its feet."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rfm_runtime.testing.chaos.faults import Kill
from rfm_runtime.testing.chaos.plan import CALM_S, KINDS, REBOOT_GAP_S, FaultKind, plan


@pytest.mark.scenario("F13", "J30")
def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plan(7, 300.0) == plan(7, 300.0)
    assert plan(7, 300.0) != plan(8, 300.0)


def test_a_seed_means_the_same_on_every_machine() -> None:
    lines = [one.line() for one in plan(3, 20.0, ("kill", "freeze", "network"))]
    assert lines == [
        "    2.0 s  kill        engine-0: killed",
        "    4.6 s  freeze      broker: frozen for 1.6 s",
        "    8.0 s  kill        supervisor: killed",
        "   10.1 s  network     network: all peers vanish without a word",
        "   11.0 s  freeze      worker: frozen for 8.8 s",
        "   14.1 s  network     network: accepts and forwards nothing for 1.6 s",
        "   16.6 s  kill        watcher: killed",
        "   18.7 s  network     network: all peers vanish without a word",
    ]


@pytest.mark.parametrize("seed", range(20))
def test_faults_are_over_by_the_end_and_reboots_are_far_between(seed: int) -> None:
    made = plan(seed, 120.0)
    assert made[0].at_s == CALM_S
    assert [one.at_s for one in made] == sorted(one.at_s for one in made)
    assert all(one.at_s + one.lasts_s <= 120.1 for one in made)
    reboots = [one.at_s for one in made if one.target == "supervisor" and isinstance(one.fault, Kill)]
    assert all(later - earlier >= REBOOT_GAP_S for earlier, later in pairwise(reboots))


@pytest.mark.parametrize("kind", KINDS)
def test_only_faults_of_the_wanted_kinds_are_planned(kind: FaultKind) -> None:
    made = plan(1, 120.0, (kind,))
    assert len(made) > 20
    assert {one.kind for one in made} == {kind}
    assert all(str(one.fault) in one.line() and one.target in one.line() for one in made)


def test_over_time_each_kind_comes_and_without_any_there_is_nothing() -> None:
    assert {one.kind for one in plan(1, 600.0)} == set(KINDS)
    assert plan(1, 600.0, ()) == ()
