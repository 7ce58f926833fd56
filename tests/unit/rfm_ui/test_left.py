"""Where the explorer was left: found again, whatever the file says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.render.presets import PRESETS
from rfm_ui.model.left import left, where_left


@given(st.sampled_from(list(PRESETS.values())), st.integers(0, 2), st.booleans())
def test_one_is_where_one_was(preset, panel, has_panel):
    found = where_left(left(preset.request, panel, has_panel=has_panel))
    assert found is not None
    assert (found.view, found.panel, found.has_panel) == (preset.request, panel, has_panel)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"view": 3}', '{"view": {}, "panel": "x"}', "[" * 9999])
def test_what_is_no_place_is_none(text):
    assert where_left(text) is None


def test_a_view_that_is_none_any_more_leaves_the_rest():
    kept = json.loads(left(PRESETS["home"].request, 2, has_panel=False))
    found = where_left(json.dumps({**kept, "view": {**kept["view"], "formula": "of_a_package_that_has_gone"}}))
    assert found is not None
    assert (found.view, found.panel, found.has_panel) == (None, 2, False)
