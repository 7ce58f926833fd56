"""The same frame, bit for bit, whatever computes it: workers, tile sizes, order, stops and restarts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from rfm_kernels.layout import PENDING
from rfm_runtime import Client
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import validate
from rfm_runtime.testing.runtime import eventually, runtime
from tests.whole import KIND, digest, reached

pytestmark = pytest.mark.integration

VIEW = {"re": "-1.7548776662", "im": "0.013", "width": "0.07", "width_px": 700, "height_px": 500, "max_iter": 20_000}


def computed_here(params: dict[str, object]) -> str:
    """Digest of the counts of one call of the kernel over the whole frame, in the artefact's format."""
    view = plan(validate(params))
    n = np.full((500, 700), PENDING, np.int32)
    nf = np.zeros(n.shape, np.float32)
    assert Renderer(view).compute(n, nf, 0, 0) == 0
    return hashlib.sha256(n.tobytes()).hexdigest()


def counts(client: Client, operation_id: str) -> str:
    """Digest of the counts alone, without the file's header."""
    result = client.handle(operation_id).result(30)
    return hashlib.sha256(result.n.tobytes()).hexdigest()


@pytest.mark.scenario("C2")
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_and_any_tile_size_give_the_same_bits(tmp_path: Path, workers: int) -> None:
    truth = computed_here(VIEW)
    with runtime(tmp_path, workers=workers) as running, Client(url=running.url, token=running.info.token) as client:
        eventually(lambda: len(running.workers()) == workers, what="all workers")
        # Together, so that their tiles alternate in every worker.
        operations = [client.submit(KIND, {**VIEW, "tile_px": tile}) for tile in (16, 33, 128, 512)]
        for operation in operations:
            assert operation.wait(60) == "completed"
            assert counts(client, operation.id) == truth


@pytest.mark.scenario("C2", "C11", "B12")
def test_a_render_that_was_paused_preempted_drained_and_resumed_has_the_same_bits(tmp_path: Path) -> None:
    params = {**VIEW, "tile_px": 32, "interior_tests": False, "max_iter": 200_000}
    with runtime(tmp_path, workers=2, drain_timeout_s=0.0) as running:
        with Client(url=running.url, token=running.info.token) as client:
            whole = client.submit(KIND, params)
            assert whole.wait(60) == "completed"
            truth = digest(client, whole.id)
            operation = client.submit(KIND, params)
            reached(operation, "tiles")
            operation.pause()
            eventually(lambda: operation.state == "paused", what="it is paused")
            operation.resume()
            reached(operation, "more tiles")
            assert client.submit(KIND, VIEW, priority=50).wait(30) == "completed"
            reached(operation, "more tiles")
        running.stop()
        running.start()
        with Client(url=running.url, token=running.info.token) as client:
            assert client.handle(operation.id).wait(60) == "completed"
            assert digest(client, operation.id) == truth
        log = (running.folders.logs / "engine-0.log").read_text()
        assert any('"recovered_tiles"' in line and '"recovered_tiles": 0' not in line for line in log.splitlines())
