"""Who is next: priorities first, then users in turn, then who had less, then who waits longer."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.schedule import (
    AGEING_S,
    FORGET_S,
    Candidate,
    Usage,
    Waiting,
    effective_priority,
    order,
)

candidates = st.lists(
    st.builds(
        Candidate,
        st.uuids().map(str),
        st.sampled_from(["ann", "bob", "eve"]),
        st.integers(-3, 3),
        st.floats(0, 1000),
    ),
    max_size=30,
)
in_hand = st.dictionaries(st.sampled_from(["ann", "bob", "eve"]), st.integers(0, 5))


def ids(ordered):
    return [candidate.operation_id for candidate in ordered]


@given(candidates, in_hand)
def test_everybody_is_in_the_order_once(waiting, hand):
    assert Counter(order(waiting, Usage(), hand, 1000.0)) == Counter(waiting)


@given(candidates, in_hand)
def test_no_lower_priority_comes_before_a_higher_one(waiting, hand):
    ranks = [effective_priority(c, 1000.0) for c in order(waiting, Usage(), hand, 1000.0)]
    assert ranks == sorted(ranks, reverse=True)


@given(candidates, in_hand)
def test_of_one_user_and_priority_who_waits_longer_comes_first(waiting, hand):
    ordered = order(waiting, Usage(), hand, 1000.0)
    for user in ("ann", "bob", "eve"):
        for rank in {effective_priority(c, 1000.0) for c in ordered}:
            since = [c.queued_s for c in ordered if c.owner == user and effective_priority(c, 1000.0) == rank]
            assert since == sorted(since)


def test_a_user_with_hundreds_does_not_shut_out_one_who_came_later():
    waiting = [Candidate(f"a{i:03}", "ann", 0, float(i) / 100) for i in range(300)] + [Candidate("b", "bob", 0, 50.0)]
    assert "b" in ids(order(waiting, Usage(), {}, 50.0))[:2]
    assert ids(order(waiting, Usage(), {"ann": 1}, 50.0))[0] == "b"


def test_of_two_users_with_as_many_in_hand_the_one_who_used_less_comes_first():
    usage = Usage()
    usage.charge("ann", 100.0, 0.0)
    usage.charge("bob", 10.0, 0.0)
    waiting = [Candidate("a", "ann", 0, 0.0), Candidate("b", "bob", 0, 5.0)]
    assert ids(order(waiting, usage, {}, 6.0)) == ["b", "a"]


def test_waiting_is_worth_a_priority_in_the_end():
    waiting = [Candidate("old", "ann", 0, 0.0), Candidate("new", "bob", 1, 2 * AGEING_S)]
    assert ids(order(waiting, Usage(), {}, 2 * AGEING_S)) == ["old", "new"]


def test_usage_is_forgotten_by_half_lives():
    usage = Usage()
    usage.charge("ann", 8.0, 0.0)
    assert usage.of("ann", 2 * FORGET_S) == 2.0
    assert usage.of("nobody", 1.0) == 0.0


kinds = st.sampled_from(["render", "train"])
ids_of = st.sampled_from([f"op-{number}" for number in range(12)])
changes = st.lists(
    st.tuples(ids_of, st.none() | st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 9), kinds)),
    max_size=60,
)


@given(changes)
def test_the_first_of_each_line_is_the_one_that_waits_longest_of_those_who_wait(steps):
    line = Waiting()
    known = {}
    for operation_id, entry in steps:
        if entry is None:
            line.drop(operation_id)
            known.pop(operation_id, None)
            continue
        owner, priority, queued_s, kind = entry
        known[operation_id] = Candidate(operation_id, owner, priority, float(queued_s)), kind
        line.put(*known[operation_id])
    firsts = {}
    for candidate, kind in sorted(known.values(), key=lambda entry: (entry[0].queued_s, entry[0].operation_id)):
        firsts.setdefault((candidate.owner, candidate.priority, kind), candidate)
    assert line.heads() == firsts
    assert Counter(line.candidates()) == Counter(candidate for candidate, _ in known.values())
    assert len(line) == len(known)


def test_who_comes_and_goes_leaves_nothing():
    line = Waiting()
    line.put(Candidate("first", "ann", 0, 0.0), "render")
    for number in range(10_000):
        line.put(Candidate(f"op-{number}", "ann", 0, 1.0), "render")
        line.put(Candidate(f"op-{number}", "ann", 1, 1.0), "render")
        line.put(Candidate(f"op-{number}", "ann", 0, 1.0), "render")
        line.drop(f"op-{number}")
    assert sum(len(entries) for entries in line._lines.values()) < 100
    assert line.heads() == {("ann", 0, "render"): Candidate("first", "ann", 0, 0.0)}
    line.drop("first")
    assert line.heads() == {}
    assert (line._lines, +line._lengths) == ({}, {})
