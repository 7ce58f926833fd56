"""How much a worker is given at once."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rfm_runtime.core.tiles.worker import FIRST_DEPTH, LEAD_S, LONG_S, QUEUE_LIMIT, ROUND_TRIP_S, depth

costs_s = st.none() | st.floats(0.0, 1e4)
counts = st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("task_s", "expected"),
    [(None, FIRST_DEPTH), (0.0, QUEUE_LIMIT), (0.001, QUEUE_LIMIT), (0.005, 11), (0.0125, 5), (0.05, 2), (LONG_S, 1)],
)
def test_what_waits_is_a_lead_of_cheap_tasks_and_no_long_one(task_s, expected):
    assert depth(task_s, 1_000, 2) == expected


@pytest.mark.parametrize(("left", "expected"), [(100, 16), (20, 6), (8, 3), (2, 2), (1, 1), (0, 1)])
def test_towards_the_end_workers_hold_fewer(left, expected):
    assert depth(0.0025, left, 2) == expected


@pytest.mark.parametrize(("task_s", "expected"), [(0.0003, 7), (0.001, 3), (0.002, 2), (0.0021, 1)])
def test_the_cheapest_travel_together_to_the_very_end(task_s, expected):
    assert depth(task_s, 0, 2) == expected


@given(costs_s, counts, st.integers(0, 500))
def test_a_worker_may_always_hold_one_and_never_more_than_the_limit(task_s, left, workers):
    assert 1 <= depth(task_s, left, workers) <= QUEUE_LIMIT


@given(st.floats(1e-6, LONG_S / 2), counts, st.integers(1, 500))
def test_what_waits_is_less_than_a_lead_and_one_task(task_s, left, workers):
    assert (depth(task_s, left, workers) - 1) * task_s < LEAD_S + task_s


@given(costs_s, counts, st.integers(1, 500))
def test_a_queue_is_never_more_than_half_of_a_fair_share_of_what_is_left_unless_done_in_no_time(task_s, left, workers):
    queue = depth(task_s, left, workers) - 1
    assert 2 * workers * queue <= left + workers or queue * (task_s or 0.0) <= ROUND_TRIP_S < LONG_S


@given(st.floats(0.0, 10.0), st.floats(0.0, 10.0), counts, counts, st.integers(1, 50))
def test_dearer_tasks_and_fewer_left_never_mean_more(one_s, other_s, some, others, workers):
    cheap_s, dear_s = sorted((one_s, other_s))
    few, many = sorted((some, others))
    assert depth(dear_s, few, workers) <= depth(cheap_s, many, workers)
