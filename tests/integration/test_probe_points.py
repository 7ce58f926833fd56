"""What becomes of single pixels of a render: told by the engine that has its frame, as `rfm-runtime probe` has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rfm_runtime import Client
from rfm_runtime.errors import BadRequestError, UnknownOperationError
from rfm_runtime.observe.process import available_cores
from rfm_runtime.testing.runtime import eventually
from tests.whole import ENDLESS, KIND

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J98")]

VIEW: dict[str, Any] = {
    "re": "-0.9", "im": "0.1", "width": "2.5", "width_px": 240, "height_px": 160, "max_iter": 600,
}  # fmt: skip


def test_what_is_told_is_what_was_rendered(client: Client) -> None:
    operation = client.submit(KIND, VIEW)
    result = operation.result()
    places = [(120, 80), (0, 0), (70, 150), (200, 20)]

    points = client.probe_points(operation.id, places, orbit=40)

    assert [(point.x, point.y) for point in points] == places
    assert [point.n for point in points] == [result.n[y, x] for x, y in places]
    for point in points:
        if point.n is not None and point.n >= 0:
            assert point.mu == pytest.approx(point.n + result.nf[point.y, point.x])
            assert (point.interior, point.period) == (False, None)
    # The middle of the picture is in the disc of period 2; its orbit does not end.
    inside = points[0]
    assert (inside.n, inside.interior, inside.period, inside.distance) == (-1, True, 2, None)
    assert len(inside.orbit) == 2 * 40
    # z₀ = 0, z₁ = c, z₂ = c² + c.
    c = complex(inside.re, inside.im)
    z = [complex(*pair) for pair in zip(inside.orbit[::2], inside.orbit[1::2], strict=True)]
    assert z[:3] == [0, c, pytest.approx(c * c + c)]
    # The others end where they escape.
    outside = points[1]
    last = complex(*outside.orbit[-2:])
    assert outside.n is not None
    assert len(outside.orbit) == 2 * (outside.n + 1)
    assert abs(last) > 1000.0


@pytest.mark.parametrize(
    ("params", "is_known"),
    [
        ({}, True),
        ({"julia_re": "-0.8", "julia_im": "0.156", "re": "0", "im": "0"}, True),
        ({"formula": "burning_ship", "re": "-0.5", "im": "-0.5", "width": "4"}, True),
        ({"formula": "newton", "re": "0", "im": "0"}, False),
    ],
)
def test_a_distance_is_what_a_frame_with_distances_keeps(
    client: Client, params: dict[str, Any], is_known: bool
) -> None:
    plain = client.submit(KIND, {**VIEW, **params})
    n = plain.result().n
    rows, columns = np.nonzero((n >= 5) & (n < 60))
    places = [(int(columns[k]), int(rows[k])) for k in range(0, len(rows), len(rows) // 5)][:5]

    found = [point.distance for point in client.probe_points(plain.id, places)]

    if not is_known:
        assert found == [None] * len(places)
        return
    kept = client.submit(KIND, {**VIEW, **params, "distances": True})
    far = kept.result().far
    assert far is not None
    spacing = 2.5 / 240 if "width" not in params else 4 / 240
    expected = [float(abs(far[y, x])) * spacing for x, y in places]
    assert found == pytest.approx(expected, rel=1e-4)
    assert [point.distance for point in client.probe_points(kept.id, places)] == pytest.approx(expected)


@pytest.mark.parametrize(
    "params", [{}, {"formula": "burning_ship", "re": "-0.5", "im": "-0.5"}, {"formula": "phoenix"}]
)
def test_a_period_is_what_a_frame_with_periods_keeps(client: Client, params: dict[str, Any]) -> None:
    kept = client.submit(KIND, {**VIEW, **params, "interior": "period", "max_iter": 2000})
    result = kept.result()
    rows, columns = np.nonzero(result.n == -1)
    places = [(int(columns[k]), int(rows[k])) for k in range(0, len(rows), len(rows) // 20)][:20]
    plain = client.submit(KIND, {**VIEW, **params, "max_iter": 2000})
    plain.wait(60)

    found = [point.period or 0 for point in client.probe_points(plain.id, places)]

    assert found == [int(result.nf[y, x]) for x, y in places]
    assert sum(period > 0 for period in found) > 10
    assert [point.period or 0 for point in client.probe_points(kept.id, places)] == found


def test_a_render_that_is_under_way_is_asked_too(client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)
    try:
        points = eventually(lambda: _asked(client, operation.id), what="there is a frame")
        # Of what nobody can compute in a moment nothing is said.
        assert (points[0].n, points[0].mu, points[0].period) == (None, None, None)
        assert math.isfinite(points[0].re)
        assert len(points[0].orbit) == 2 * 16
    finally:
        operation.cancel()


def _asked(client: Client, operation_id: str) -> Any:
    try:
        return client.probe_points(operation_id, [(ENDLESS["width_px"] - 1, ENDLESS["height_px"] - 1)], orbit=16)
    except (BadRequestError, UnknownOperationError):
        return None


def test_what_cannot_be_asked_is_said(client: Client) -> None:
    operation = client.submit(KIND, VIEW)
    operation.wait(60)
    with pytest.raises(BadRequestError) as told:
        client.probe_points(operation.id, [(240, 0)])
    assert (told.value.message, told.value.hint) == ("the pixel 240, 0 is not in the frame", "it has 240×160")
    with pytest.raises(BadRequestError):
        client.probe_points(operation.id, [(0, 0)] * 65)
    with pytest.raises(BadRequestError):
        client.probe_points(operation.id, [(0, 0)], orbit=1001)
    with pytest.raises(UnknownOperationError):
        client.probe_points("never", [(0, 0)])


@pytest.mark.scenario("J98")
def test_what_one_looks_at_is_computed_first(client: Client) -> None:
    # A hundred tiles of some tenths of a second each, in which no point escapes.
    slow = {**ENDLESS, "width_px": 640, "height_px": 640, "tile_px": 64, "max_iter": 60_000}
    operation = client.submit(KIND, slow)
    try:
        eventually(lambda: _tiles(client, operation.id), what="the first tiles are done")
        client.set_focus(operation.id, 1.0, 1.0)
        before = _tiles(client, operation.id)
        # A quarter of the picture, and what workers had in hand already: more, the slower the machine answers.
        wanted = min(25 + 8 * available_cores(), 90)
        done = eventually(
            lambda: len((now := _tiles(client, operation.id)) - before) >= wanted and now,
            timeout_s=60,
            what="a quarter is",
        )
        corner = {index for index in range(100) if index // 10 >= 6 and index % 10 >= 6}
        assert corner <= done
        with pytest.raises(BadRequestError):
            client.set_focus(operation.id, 1.5, 0.0)
    finally:
        operation.cancel()


def _tiles(client: Client, operation_id: str) -> set[int]:
    latest = client.operation(operation_id).latest
    if latest is None or latest.tiles is None:
        return set()
    return {index for index in range(latest.tiles.total) if latest.tiles.committed[index >> 3] >> (index & 7) & 1}
