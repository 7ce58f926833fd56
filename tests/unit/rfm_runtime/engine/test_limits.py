"""Iteration limits that nobody gave: enough for the view, not far beyond it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from rfm_runtime.engine.frames import PENDING
from rfm_runtime.engine.limits import FEWEST, MOST, iterations_for
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import validate

pytestmark = pytest.mark.scenario("J40")

TINY = {"width_px": 2, "height_px": 2, "max_iter": 0}

VIEWS = {
    "the whole set": {"re": "-0.65", "im": "0", "width": "4"},
    "seahorse tails": {"re": "-0.743643887037151", "im": "0.131825904205330", "width": "0.00003"},
    "a mini-set": {"re": "-1.7685736562", "im": "0.0009642887", "width": "0.0000004"},
    "a ship": {"formula": "burning_ship", "re": "-1.762", "im": "-0.028", "width": "0.08"},
    "newton": {"formula": "newton", "re": "0", "im": "0", "width": "4"},
    "upright": {"re": "-0.7452", "im": "0.113", "width": "0.002", "width_px": 60, "height_px": 400},
}


@pytest.mark.parametrize("params", VIEWS.values(), ids=VIEWS)
def test_four_times_as_many_change_next_to_nothing(params: dict[str, object]) -> None:
    request = validate({"width_px": 160, "height_px": 90, **params, "max_iter": 0})
    limit = iterations_for(request)
    assert FEWEST <= limit <= MOST
    counts = []
    for max_iter in (limit, 4 * limit):
        n = np.full((request.height_px, request.width_px), PENDING, np.int32)
        view = plan(msgspec.structs.replace(request, max_iter=max_iter))
        Renderer(view).compute(n, np.zeros(n.shape, np.float32), 0, 0)
        counts.append(n)
    assert (counts[0] != counts[1]).mean() < 2e-3
    # And not for want of anything: a tenth of the longest escape would not do, or the least does.
    assert limit == FEWEST or counts[1].max() > limit / 40


def test_where_nothing_escapes_few_are_enough() -> None:
    assert iterations_for(validate({"re": "0", "im": "0", "width": "0.01", "max_iter": 0})) == FEWEST


def test_where_all_takes_long_it_ends_all_the_same() -> None:
    # Above the seahorse valley it takes π over the height.
    request = validate({"re": "-0.75", "im": "0.000005", "width": "1e-12", **TINY})
    assert 2_000_000 < iterations_for(request) < 3_000_000
