"""Renders of other formulas by a whole runtime: compiled when the first one comes, with the kernel's own pixels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rfm_kernels.layout import PENDING
from rfm_runtime import Client
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import validate
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.whole import KIND

SIZE = {"width_px": 160, "height_px": 90, "max_iter": 200, "tile_px": 32}

VIEWS: dict[str, dict[str, Any]] = {
    "burning ship": {"formula": "burning_ship", "re": "-0.4", "im": "-0.5", "width": "4"},
    "turned cubic": {"formula": "multibrot", "power": 3, "re": "0", "im": "0", "width": "3", "rotation_deg": 30.0},
    "newton": {"formula": "newton", "re": "0", "im": "0", "width": "4", "roots": ["1", "-1", "i", "-i"]},
    "lit tricorn": {"formula": "tricorn", "re": "0", "im": "0", "width": "4", "slopes": 1.0, "colouring": "distance"},
}


def computed_here(params: dict[str, Any]) -> np.ndarray[Any, Any]:
    request = validate(params)
    n = np.full((request.height_px, request.width_px), PENDING, np.int32)
    assert Renderer(plan(request)).compute(n, np.zeros(n.shape, np.float32), 0, 0) == 0
    return n


@pytest.mark.scenario("J36", "C1")
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_every_formula_is_rendered_by_a_runtime(client: Client, view: dict[str, Any]) -> None:
    params = {**view, **SIZE}
    operation = client.submit(KIND, params)
    assert operation.wait(90) == "completed", operation.info
    result = operation.result(30)
    np.testing.assert_array_equal(result.n, computed_here(params))
    if "slopes" in view:
        outside = result.n > 0
        assert result.far is not None
        assert (np.abs(result.far[outside]) > 0.0).all()
    assert result.image.getextrema() != ((0, 0), (0, 0), (0, 0))


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """With a cache of its own, in which there is nothing."""
    folder = tmp_path_factory.mktemp("cold")
    with runtime(folder, cache_dir=str(folder / "cache"), drain_timeout_s=2.0) as started:
        yield started


@pytest.mark.scenario("J36")
def test_a_cancel_does_not_wait_for_kernels_that_are_being_compiled(cold: Runtime) -> None:
    with Client(url=cold.url, token=cold.info.token) as client:
        params = {"formula": "celtic", "re": "-0.3", "im": "0", "width": "4", **SIZE}
        operation = client.submit(KIND, params)
        eventually(lambda: '"event": "compiling_kernels"' in cold.logs(), timeout_s=60, what="it is being compiled")
        begin_s = time.monotonic()
        client.cancel(operation.id)
        assert operation.wait(30) == "canceled"
        assert time.monotonic() - begin_s < 1.5
        # The compilation went on, and the next one has the kernels.
        again = client.submit(KIND, params)
        updates = list(again.progress())
        assert again.wait(90) == "completed", again.info
        assert cold.logs().count('"event": "compiling_kernels"') == 1
    # Meanwhile it says what it waits for, and no time left.
    waiting = [update for update in updates if update.message]
    assert {update.message for update in waiting} == {"compiling kernels of celtic (once after an update)"}
    assert all(update.eta_ms is None and update.progress == 0.0 for update in waiting)
    assert [update.message for update in updates if update.progress > 0.0].count("") > 0
