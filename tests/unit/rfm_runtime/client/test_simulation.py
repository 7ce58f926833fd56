"""Steps that are opened and closed as a plan says add up to where the plan says the operation is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.reporting.parts import Step
from rfm_runtime.client.simulation import Steps
from rfm_runtime.core.simulation.plan import plan, position


@given(st.integers(0, 2**32), st.lists(st.floats(0.0, 70.0), min_size=1, max_size=20))
def test_steps_are_where_the_plan_is(seed: int, times_s: list[float]) -> None:
    for one in plan(random.Random(seed), 5, duration_s=10.0, fail_share=0.0, cancel_share=0.0):
        whole = Step("", 1.0)
        steps = Steps(whole, one.leaves)
        for time_s in sorted(times_s):
            at = position(one, time_s)
            steps.report(at.leaf, at.within)
            assert whole.value() == pytest.approx(100.0 * at.share, abs=1e-6)
            assert whole.path() == one.leaves[at.leaf].name
        steps.report(len(one.leaves) - 1, 1.0)
        steps.leave()
        assert whole.value() == pytest.approx(100.0)
        assert whole.path() == ""
