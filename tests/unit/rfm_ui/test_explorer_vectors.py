"""What every face of the runtime says and does of a view that is explored: held to vectors that others are held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.model.looking import needed
from rfm_ui.model.pointing import facts_of, julia_of, orbit_lines, whole_of

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data/ui/explorer.json").read_text(encoding="utf-8"))


def view_of(fields: dict[str, Any]) -> RenderRequest:
    return validate({**VECTORS["base"], **fields})


@pytest.mark.parametrize("case", VECTORS["needed"])
def test_what_has_to_be_computed(case: dict[str, Any]) -> None:
    assert needed(view_of(case["rendered"]), view_of(case["wanted"])) == case["takes"]


@pytest.mark.parametrize("case", VECTORS["facts"])
def test_what_is_said_of_a_point(case: dict[str, Any]) -> None:
    x, y = case["at"]
    point = None if case["point"] is None else ProbedPoint(x=x, y=y, re=0.0, im=0.0, **case["point"])
    assert [list(fact) for fact in facts_of(point, view_of(case["view"]))] == case["says"]


@pytest.mark.parametrize("case", VECTORS["orbits"])
def test_where_an_orbit_is_drawn(case: dict[str, Any]) -> None:
    lines = orbit_lines(view_of(case["view"]), case["orbit"])
    assert [list(line) for line in lines] == [pytest.approx(line, abs=1e-5) for line in case["lines"]]


@pytest.mark.parametrize("case", VECTORS["julia"])
def test_a_julia_set_and_the_way_back(case: dict[str, Any]) -> None:
    found, whole = julia_of(view_of(case["view"]), *case["at"], *case["size"]), whole_of(view_of(case["view"]))
    assert (None if found is None else non_defaults(found)) == case["julia"]
    assert (None if whole is None else non_defaults(whole)) == case["whole"]
