"""What the details of an operation show beside its facts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.protocol.history import Performance, PerformanceReply, Point
from rfm_runtime.protocol.operation import ErrorInfo, Operation, ProgressUpdate, TileGrid, TileMap
from rfm_ui.model.telling import fault_of, parts, progress_curve, rate_curve, tiles_of, workers

RENDER = Operation(
    operation_id="op-1",
    kind="render",
    name="seahorse",
    owner="ann",
    state="running",
    at_seq=3,
    created_at_ms=0,
    started_at_ms=1_000,
    grid=TileGrid(width_px=96, height_px=64, tile_px=32, columns=3, rows=2),
    latest=ProgressUpdate(
        operation_id="op-1",
        rev=(1, 7),
        at_seq=3,
        measured_at_ms=5_000,
        done=3_000.0,
        total=6_000.0,
        unit="px",
        progress=50.0,
        cpu_s=3.0,
        iterations=8_000,
        tiles=TileMap(total=6, done=3, committed=bytes([0b00_100_101])),
    ),
)
WENT = Performance(
    points=(
        Point(0, 0.0),
        Point(1_000, 1_000.0, 1.5, 4_000, 0, 2),
        Point(2_000, 3_000.0, 3.0, 8_000, 0, 9),
    ),
    total=6_000.0,
    unit="px",
    slots=4,
    deaths=1,
)


@pytest.mark.scenario("J95")
def test_tiles_lie_where_they_are_done() -> None:
    tiles = tiles_of(RENDER)

    assert tiles is not None
    assert (tiles.columns, tiles.rows, tiles.said) == (3, 2, "3 of 6 tiles")
    assert tiles.done == [True, False, True, False, False, True]
    done = tiles_of(replace(RENDER, state="completed"))
    assert done is not None
    assert (all(done.done), done.said) == (True, "6 tiles")
    none = tiles_of(replace(RENDER, latest=None))
    assert none is not None
    assert (any(none.done), none.said) == (False, "0 of 6 tiles")
    assert tiles_of(replace(RENDER, grid=None)) is None


@pytest.mark.scenario("J95")
def test_how_much_and_how_fast_over_time() -> None:
    report = operation_report(PerformanceReply(operation=RENDER, performance=WENT), now_ms=3_000)

    progress, rate = progress_curve(report), rate_curve(report)

    assert progress.points == [(0.0, 0.0), (1_000.0, 1_000.0), (2_000.0, 3_000.0)]
    assert (progress.top, progress.said, progress.span) == (6_000.0, "6 k px", "2.00 s")
    assert rate.points == [(1_000.0, 1_000.0), (2_000.0, 2_000.0)]
    assert (rate.top, rate.said) == (2_000.0, "2 k px/s")
    # One measure is no curve.
    short = operation_report(
        PerformanceReply(operation=RENDER, performance=replace(WENT, points=WENT.points[:1])), now_ms=3_000
    )
    assert progress_curve(short).points == []


@pytest.mark.scenario("J95")
def test_who_works_on_it() -> None:
    report = operation_report(PerformanceReply(operation=RENDER, performance=WENT), now_ms=3_000)

    assert workers(report, ended=False) == [
        ("at work", "4 of 4"),
        ("cores", "1.5 on average"),
        ("used", "38 % of the time of its 4 workers"),
        ("iterations", "4 k/s"),
        ("died", "1 worker"),
    ]
    assert workers(report, ended=True)[0] == ("at work", "4 at most")
    waiting = replace(RENDER, latest=None)
    nothing = operation_report(PerformanceReply(operation=waiting, performance=Performance()), now_ms=3_000)
    assert workers(nothing, ended=False) == []


@pytest.mark.scenario("J95")
def test_its_parts_and_what_went_wrong() -> None:
    part = replace(RENDER, name="left half", parent_id="op-0", grid=None)
    failed = replace(
        part,
        name="right half",
        state="failed",
        error=ErrorInfo(code="worker_lost", message="its program\nended", hint="look at its log", kept="half of it"),
    )

    assert parts([part, failed], 5_000) == [("left half", "running, 50 %"), ("right half", "failed")]
    assert fault_of(failed) == ("error[worker_lost]: its program\nended", "look at its log", "half of it")
    assert fault_of(part) == ("", "", "")
