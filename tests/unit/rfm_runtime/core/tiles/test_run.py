"""One render: its phases, what goes back and how, when it is given up, and what it measures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.progress import is_committed
from rfm_runtime.core.tiles.messages import Task
from rfm_runtime.core.tiles.order import PREVIEW_STEP, preview_blocks, preview_order, rect, tiles_under
from rfm_runtime.core.tiles.poison import DEATHS_LIMIT, LEAST_PX, SPLIT_DEATHS, deaths_limit
from rfm_runtime.core.tiles.run import Run
from rfm_runtime.testing.tiles import ARTIFACTS, assignment, grid


def new(columns=3, rows=2, **fields):
    return Run(assignment(**fields), grid(columns, rows), 1)


def prepared(columns=3, rows=2, committed=(), **fields):
    run = new(columns, rows, **fields)
    run.prepare(committed)
    return run


def do(run, worker=1, weights=()):
    task = run.take(worker)
    run.done(task, 9, weights, ARTIFACTS if task.phase == "image" else ())
    return task


def until(run, phase):
    while run.phase != phase:
        do(run)
    return run


def index_of(tasks):
    return [task.index for task in tasks]


# --- phases -------------------------------------------------------------------------------------


def test_a_new_frame_is_previewed_first_then_its_tiles_then_the_image():
    run, phases = prepared(), []
    while run.open:
        phases.append(do(run).phase)
    assert phases == ["preview"] * len(preview_blocks(run.grid)) + ["tile"] * 6 + ["image"]
    assert run.artifacts == ARTIFACTS


def test_each_tile_is_taken_once_with_its_place_in_the_frame():
    run = until(prepared(), "tile")
    tasks = [run.take(1) for _ in range(6)]
    assert sorted(index_of(tasks)) == list(range(6))
    assert all((t.x, t.y, t.width, t.height) == rect(run.grid, t.index) for t in tasks)


def test_preview_blocks_are_taken_from_the_middle_outwards():
    run = prepared(9, 8)
    blocks = preview_blocks(run.grid)
    tasks = [run.take(1) for _ in blocks]
    assert index_of(tasks) == preview_order(run.grid, blocks)
    assert [(t.x, t.y, t.width, t.height) for t in tasks] == [blocks[t.index] for t in tasks]
    assert len(blocks) < run.total_tiles


def test_preview_and_tiles_begin_where_the_watcher_looks():
    run = prepared(9, 8, params={"focus_x": 1.0, "focus_y": 1.0})
    assert index_of([do(run) for _ in run.blocks])[0] == len(run.blocks) - 1
    assert (run.phase, do(run).index) == ("tile", 71)


def test_who_looks_elsewhere_has_that_first():
    run = prepared(9, 8)
    begun = do(run).index
    run.look_at((0.0, 1.0))
    rest = index_of([do(run) for _ in run.blocks[1:]])
    assert sorted([begun, *rest]) == list(range(len(run.blocks)))
    assert run.blocks[rest[0]][0] == 0
    assert run.phase == "tile"
    # The tile in the lower left corner; what a worker has begun is not taken away.
    run.look_at((0.0, 1.0))
    first = run.take(1)
    assert first.index == 9 * 7
    run.look_at((1.0, 0.0))
    second = run.take(2)
    assert second.index == 8
    run.done(first, 9, (), ())
    run.done(second, 9, (), ())
    left = {index for _phase, index in run.open}
    assert left == set(range(72)) - {63, 8}
    until(run, "image")
    run.look_at((0.5, 0.5))
    assert list(run.open) == [("image", 0)]


def test_the_image_is_the_whole_frame():
    task = until(prepared(), "image").take(1)
    assert (task.phase, task.x, task.y) == ("image", 0, 0)
    assert (task.width, task.height) == (27, 17)


def test_no_tile_is_open_while_a_preview_block_runs():
    run = prepared()
    last = [run.take(number) for number in range(6)][-1]
    for index in range(5):
        run.done(task_of(run, index), 9, (), ())
    assert not run.dispatchable
    run.done(last, 9, (), ())
    assert run.dispatchable
    assert run.phase == "tile"


def task_of(run, index, phase="preview"):
    x, y, width, height = rect(run.grid, index)
    return Task(
        operation_id="op", generation=1, phase=phase, index=index, attempt=1, x=x, y=y, width=width, height=height
    )


def test_the_image_waits_for_the_last_tile():
    run = prepared(2, 1, committed=(1,))
    task = run.take(1)
    assert run.phase == "tile"
    assert not run.dispatchable
    run.done(task, 9, (), ())
    assert run.phase == "image"
    assert run.dispatchable


def test_tiles_of_an_earlier_claim_are_not_computed_again_and_need_no_preview():
    run = prepared(committed=(0, 2, 5))
    assert run.phase == "tile"
    assert sorted(index_of(run.take(1) for _ in range(3))) == [1, 3, 4]
    assert not run.open


def test_a_frame_with_all_its_tiles_lacks_only_the_image():
    run = prepared(committed=range(6))
    assert run.take(1).phase == "image"


def test_what_an_earlier_claim_finished_leaves_nothing_to_do():
    run = new()
    run.finished_before(ARTIFACTS)
    assert run.prepared
    assert not run.dispatchable
    assert run.artifacts == ARTIFACTS
    assert run.measure(0).done == run.measure(0).total
    assert run.measure(0).tiles_done == 6


def test_the_preview_decides_the_order_of_the_tail():
    run = prepared(8, 1)
    for index in range(8):
        do(run, weights=((index, {3: 60.0, 4: 60.0}.get(index, 1.0 + index)),))
    assert index_of(run.take(1) for _ in range(8)) == [3, 4, 7, 6, 5, 2, 1, 0]


def test_the_preview_says_what_tiles_cost_and_is_corrected_by_those_that_are_done():
    run = prepared(8, 1)
    assert run.next_s is None
    for index in range(8):
        # A 64th of the pixels: 10 in 1 ms, 50 in 5 ms.
        cost = 5 if index == 7 else 1
        run.done(run.take(1), cost * 1_000_000 // 64, ((index, 10.0 * cost),), ())
    assert run.next_s == pytest.approx(0.001)
    while run.open[0] != ("tile", 7):
        run.done(run.take(1), 2_000_000, (), ())
        assert run.next_s >= 0.002
    done = 8 - len(run.open)
    assert run.next_s == pytest.approx((0.012 + done * 0.002) / (120 + done * 10) * 50)


def test_the_next_tile_is_no_cheaper_than_the_last_ones():
    run = prepared(8, 1)
    for index in range(8):
        run.done(run.take(1), 1_000, ((index, 1.0),), ())
    run.done(run.take(1), 30_000_000, (), ())
    assert run.next_s == pytest.approx(0.03)


def test_the_cost_of_what_comes_next_is_a_guess_without_a_preview_too():
    run = prepared(committed=(0,))
    run.done(run.take(1), 2_000_000, (), ())
    assert run.next_s == pytest.approx(0.002)


# --- going back ---------------------------------------------------------------------------------


def test_what_was_stopped_goes_on_where_it_was_before_anything_else():
    run = until(prepared(), "tile")
    task = run.take(1)
    run.take(2)
    run.put_back(task, begun=True)
    again = run.take(3)
    assert (again.index, again.attempt, again.fresh) == (task.index, 2, False)


def test_a_tile_whose_worker_died_starts_from_scratch():
    run = until(prepared(), "tile")
    task = run.take(1)
    run.died(task, "SIGSEGV", guilty=True)
    again = run.take(2)
    assert (again.index, again.attempt, again.fresh) == (task.index, 2, True)


def test_half_written_pixels_stay_marked_until_somebody_has_begun_to_reset_them():
    run = until(prepared(), "tile")
    run.died(run.take(1), "SIGSEGV", guilty=True)
    run.put_back(run.take(2), begun=False)
    task = run.take(3)
    assert task.fresh
    run.put_back(task, begun=True)
    assert not run.take(4).fresh


def test_a_tile_that_was_only_queued_is_not_started_from_scratch():
    run = until(prepared(), "tile")
    run.put_back(run.take(1), begun=False)
    assert not run.take(2).fresh


def take(run):
    """What a worker with nothing else in its hands is given."""
    return run.take(1, alone=run.isolatable)


def poison(run, x, y, rounds=400):
    """Whoever has the pixel dies of it, everything else is done; the tasks that ran in quarantine."""
    quarantined = []
    for _ in range(rounds):
        if run.error is not None or run.artifacts is not None:
            return quarantined
        alone = run.isolatable
        task = take(run)
        if alone:
            quarantined.append(task)
        sealed = task.phase == "tile" and task.holes
        hit = task.phase in ("tile", "part") and not sealed
        if hit and task.x <= x < task.x + task.width and task.y <= y < task.y + task.height:
            run.died(task, "SIGSEGV in frame 7", guilty=True)
        else:
            run.done(task, 9, (), ARTIFACTS if task.phase == "image" else ())
    raise AssertionError("it never ends")


def test_a_tile_that_kills_its_workers_is_isolated_and_given_up_with_the_cause():
    run = new_large()
    quarantined = poison(run, 70, 11)
    assert run.error.code == "poison_tile"
    assert "SIGSEGV in frame 7" in run.error.message
    assert "8×8 pixels at 64,8 (tile 1)" in run.error.message
    assert not run.dispatchable
    assert not run.isolatable
    assert [task.phase for task in quarantined[:2]] == ["tile", "part"]
    assert run.poison.details()["failed_attempts"] == SPLIT_DEATHS + 2 + 2


def new_large(**fields):
    run = Run(assignment(**fields), grid(3, 2, tile_px=64), 1)
    run.prepare(())
    return until(run, "tile")


def test_where_holes_are_allowed_the_smallest_part_is_left_out_and_all_else_is_there():
    run = new_large(params={"columns": 3, "rows": 2, "on_poison": "hole"})
    quarantined = poison(run, 70, 11)
    assert run.error is None
    assert run.poison.details()["holes"] == [[64, 8, 8, 8]]
    assert run.poison.details()["hole_px"] == 64
    assert run.poison.holes_said() == "1 hole of 64 pixels, the first 8×8 at 64,8: SIGSEGV in frame 7"
    assert len(run.committed) == run.total_tiles
    assert run.pixels == run.grid.width_px * run.grid.height_px
    last = quarantined[-1]
    assert (last.phase, last.index, last.holes, last.fresh) == ("tile", 1, ((64, 8, 8, 8),), False)


def test_a_part_of_what_died_is_computed_from_scratch():
    run = new_large()
    first = run.open[0]
    for _ in range(SPLIT_DEATHS):
        run.died(take(run), "SIGBUS", guilty=True)
    parts = [take(run) for _ in range(4)]
    assert all(part.phase == "part" and part.fresh for part in parts)
    assert sum(part.width * part.height for part in parts) == rect_size(run, first)


def rect_size(run, key):
    _, _, width, height = rect(run.grid, key[1])
    return width * height


def test_a_tile_in_parts_that_is_gone_over_once_more_is_not_reset_and_not_the_cause():
    run = new_large()
    tile = run.open[0][1]
    for _ in range(SPLIT_DEATHS):
        run.died(take(run), "SIGBUS", guilty=True)
    for _ in range(4):
        run.done(take(run), 9, (), ())
    sealing = take(run)
    assert (sealing.phase, sealing.index, sealing.fresh, sealing.holes) == ("tile", tile, False, ())
    run.died(sealing, "SIGKILL", guilty=True)
    assert run.error is None
    sealing = take(run)
    assert (sealing.index, sealing.fresh) == (tile, False)
    run.died(sealing, "SIGKILL", guilty=True)
    assert run.error.code == "worker_lost"


def test_one_kill_of_the_smallest_part_is_not_held_against_it():
    run = until(prepared(), "tile")
    tile = run.open[0][1]
    x, y, _, _ = rect(run.grid, tile)
    for _ in range(SPLIT_DEATHS):
        run.died(take(run), "SIGBUS", guilty=True)
    part = take(run)
    assert (part.x, part.y, part.width) == (x, y, LEAST_PX)
    run.died(part, "SIGKILL", guilty=True)
    assert run.error is None
    again = take(run)
    assert (again.index, again.fresh, again.attempt) == (part.index, True, 2)


def die_once_each(run, times, cpu_ns):
    """So many tiles in turn kill whoever computes them first, and are done by the next one."""
    for _ in range(times):
        run.died(take(run), "SIGKILL", guilty=True)
        if run.error is not None:
            return
        again = take(run)
        assert again.attempt == 2
        run.cpu_ns += cpu_ns
        run.done(again, cpu_ns, (), ())


@pytest.mark.parametrize("policy", ["fail", "hole"])
def test_a_render_that_kills_at_each_of_many_tiles_has_a_limit_whatever_becomes_of_them(policy):
    run = until(prepared(columns=30, rows=30, params={"columns": 30, "rows": 30, "on_poison": policy}), "tile")
    die_once_each(run, 300, 1_000_000)
    assert run.error.code == "poison_render"
    assert run.poison.total == DEATHS_LIMIT + 1
    assert "700 of 900 tiles to go" in run.error.message


def test_a_render_of_hours_may_cost_more_workers_as_long_as_it_gets_on():
    run = until(prepared(columns=30, rows=30, params={"columns": 30, "rows": 30}), "tile")
    die_once_each(run, 600, 20_000_000_000)
    assert run.error is None
    assert run.measure(0).deaths == 600


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=2))
def test_more_work_never_allows_fewer_deaths(cpu_ns):
    less, more = sorted(cpu_ns)
    assert DEATHS_LIMIT <= deaths_limit(less) <= deaths_limit(more)


def test_deaths_of_different_tasks_do_not_add_up():
    run = until(prepared(), "tile")
    for _ in range(5):
        task = run.take(1)
        run.died(task, "SIGSEGV", guilty=True)
        do(run)
        if not run.open or run.phase != "tile":
            break
    assert run.error is None


def test_deaths_that_we_caused_are_nobodys_fault():
    run = until(prepared(), "tile")
    for _ in range(5):
        run.died(run.take(1), "SIGKILL", guilty=False)
    assert run.error is None
    assert run.take(1).fresh


def test_an_image_that_kills_is_given_up():
    run = until(prepared(), "image")
    for _ in range(SPLIT_DEATHS):
        assert run.error is None
        run.died(take(run), "SIGBUS", guilty=True)
    assert run.error.message.startswith(f"{SPLIT_DEATHS} attempts at image 0 came to nothing")


def test_a_preview_that_kills_is_left_out_and_its_tiles_are_computed_from_scratch():
    run = prepared(9, 8)
    first = preview_order(run.grid, run.blocks)[0]
    block = run.blocks[first]
    for _ in range(SPLIT_DEATHS):
        task = take(run)
        assert (task.phase, task.index) == ("preview", first)
        run.died(task, "SIGBUS", guilty=True)
    until(run, "tile")
    under = set(tiles_under(run.grid, block))
    while run.phase == "tile":
        task = take(run)
        assert task.fresh == (task.index in under)
        run.done(task, 9, (), ())
    assert run.phase == "image"


# --- who may be dispatched ------------------------------------------------------------------------


def test_nothing_is_dispatched_before_the_frame_is_there():
    assert not new().dispatchable
    assert prepared().dispatchable


@pytest.mark.parametrize("reason", ["cancelled", "released", "dropped", "ended", "paused"])
def test_nothing_is_dispatched_of_what_is_to_stop(reason):
    run = prepared()
    setattr(run, reason, True)
    assert not run.dispatchable
    assert run.stopping == (reason != "paused")


def test_priority_and_pause_come_with_the_assignment():
    run = new(priority=4, paused=True)
    assert (run.priority, run.paused) == (4, True)


# --- measures -------------------------------------------------------------------------------------


def test_done_counts_the_pixels_of_committed_tiles_and_rises_with_each():
    run = until(prepared(), "tile")
    total, committed = run.measure(0).total, set()
    assert total == 27 * 17
    while run.phase == "tile":
        committed.add(do(run).index)
        measure = run.measure(0)
        assert measure.done == sum(w * h for _, _, w, h in (rect(run.grid, index) for index in committed))
        assert {index for index in range(6) if is_committed(measure.committed, index)} == committed
        assert measure.tiles_done == len(committed)
    assert run.measure(0).done == total


def test_a_measure_that_was_given_away_does_not_change():
    run = until(prepared(), "tile")
    before = run.measure(0)
    do(run)
    assert before.committed == bytes(1)


def test_a_tile_that_the_frame_lists_twice_counts_once():
    assert prepared(committed=(0, 0, 1)).measure(0).done == 200.0


def test_the_preview_counts_blocks_and_no_pixels():
    run = prepared()
    do(run)
    do(run)
    measure = run.measure(0)
    assert (measure.previewed, measure.done, measure.tiles_done) == (2, 0.0, 0)


def test_what_is_left_is_the_cost_of_the_open_tiles_by_the_preview_then_by_those_that_are_done():
    run = prepared()
    assert run.measure(0).left_ns is None
    costs = {index: 1.0 + index for index in range(6)}
    while run.phase == "preview":
        task = run.take(1)
        tiles = tiles_under(run.grid, (task.x, task.y, task.width, task.height))
        of_block = tuple((index, costs[index]) for index in tiles)
        run.done(task, round(1e6 * sum(cost for _, cost in of_block) / PREVIEW_STEP**2), of_block, ())
    assert run.measure(0).left_ns == pytest.approx(1e6 * sum(costs.values()), rel=0.01)
    while run.phase == "tile":
        task = run.take(1)
        # Three times what the preview said.
        run.done(task, round(3e6 * costs.pop(task.index)), (), ())
        if len(costs) < 3:
            assert run.measure(0).left_ns == pytest.approx(3e6 * sum(costs.values()), rel=0.1)
    assert run.measure(0).left_ns == 0


def test_without_a_preview_nothing_is_expected():
    run = prepared(committed=(0, 1))
    do(run)
    assert run.measure(0).left_ns is None


def test_what_the_preview_said_is_expected_of_a_render_that_goes_on_as_well():
    """Without it the time that is left followed from the pixels, of which the cheap ones come last."""
    costs = tuple(1.0 + index for index in range(6))
    run = new()
    run.prepare((0, 5), costs=costs)
    order = []
    while run.phase == "tile":
        task = run.take(1)
        order.append(task.index)
        run.done(task, round(2e6 * costs[task.index]), (), ())
        left = sum(cost for index, cost in enumerate(costs) if index not in {0, 5, *order})
        assert run.measure(0).left_ns == pytest.approx(2e6 * left)
    assert sorted(order) == [1, 2, 3, 4]
    # Of one that begins anew the preview says it.
    begun = new()
    begun.prepare((), costs=costs)
    assert begun.weights == {}


def test_measures_are_numbered_and_name_their_step():
    run = prepared()
    steps = []
    for phase in ("preview", "tile", "image"):
        measure = until(run, phase).measure(17)
        steps.append((measure.counter, measure.step, measure.steps, measure.measured_at_ms, measure.generation))
    assert steps == [(1, "preview", (1, 3), 17, 1), (2, "tiles", (2, 3), 17, 1), (3, "image", (3, 3), 17, 1)]
