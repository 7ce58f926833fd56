"""The engine's core, message by message: cancel, pause, priority, death, fences, drain, and claims that come again."""

from __future__ import annotations

import pytest
from msgspec import Struct

from rfm_runtime.core.tiles.engine import FENCED_S, MAKE_ROOM_S, MEMORY_REST_S, EngineCore
from rfm_runtime.core.tiles.messages import (
    Assigned,
    Discard,
    Dispatch,
    FrameReady,
    Heard,
    Kill,
    Prepare,
    Preparing,
    PriorityChanged,
    Report,
    Reported,
    SayOutcome,
    SayPaused,
    SayReleased,
    SayStarted,
    Stop,
    Task,
    TaskDone,
    TaskFailed,
    TaskStopped,
    WorkerDied,
    WorkerUp,
)
from rfm_runtime.core.tiles.poison import DEATHS_LIMIT
from rfm_runtime.core.tiles.worker import FIRST_DEPTH, QUEUE_LIMIT, REST_S
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.tiles import ARTIFACTS, World, assignment, grid
from rfm_runtime.testing.tiles_ledger import Process, touched


@pytest.fixture
def world():
    """One worker; at the end everybody cooperates and every claim comes to its end."""
    world = World(workers=1)
    yield world
    world.run_to_end()
    assert all(claim.ended for claim in world.claims.values())


def only(commands, kind):
    return [command for command in commands if isinstance(command, kind)]


def dispatched(commands):
    return [(c.worker, c.task.operation_id, c.task.phase, c.task.index) for c in only(commands, Dispatch)]


def outcome(commands):
    """The one outcome among them."""
    (found,) = only(commands, SayOutcome)
    return found


def worker(world, number=1):
    return world.processes[number]


def until(world, phase, operation_id="op"):
    """Work on until tasks of this phase are in workers' hands, the first of each begun."""
    while world.core.runs[operation_id].phase != phase:
        for process in world.processes.values():
            world.step(process)
    for process in world.processes.values():
        world.read(process)


def finish(world, number=1):
    """What the worker runs is finished and heard."""
    world.read(worker(world, number))
    world.finish(worker(world, number))
    return world.hear(worker(world, number))


# --- the plain way ------------------------------------------------------------------------------


def test_an_assignment_has_its_frame_prepared_then_is_started_and_dispatched(world):
    assert world.assign() == [Prepare(assignment())]
    commands = world.frame_ready()
    assert commands[0] == SayStarted("op", 1, 17.0 * 7, grid(2, 1))
    assert dispatched(commands) == [(1, "op", "preview", 0), (1, "op", "preview", 1)]


@pytest.mark.scenario("J36")
def test_what_takes_its_time_before_there_is_a_frame_is_said_and_is_no_step_yet(world):
    world.assign()
    assert world.prepares() == [SayStarted("op", 1, 17.0 * 7, grid(2, 1))]
    (report,) = only(world.tick(), Report)
    assert (report.measure.message, report.measure.steps) == ("compiling kernels", (0, 3))
    assert (report.measure.done, report.measure.total) == (0.0, 17.0 * 7)
    assert not only(world.tick(), Report)
    assert world.prepares(doing="") == []
    (report,) = only(world.tick(), Report)
    assert (report.measure.message, report.measure.steps) == ("", (0, 3))
    assert not only(world.frame_ready(), SayStarted)
    (report,) = only(world.tick(), Report)
    assert (report.measure.message, report.measure.steps) == ("", (1, 3))
    assert world.handle(Preparing("op", 1, "compiling kernels")) == []


def test_nothing_is_said_of_the_preparation_of_what_was_cancelled(world):
    world.assign()
    world.cancel()
    assert world.handle(Preparing("op", 1, "compiling kernels of celtic")) == []
    assert world.handle(Preparing("op", 2, "compiling kernels of celtic")) == []


def test_a_render_ends_completed_with_its_artefacts_and_full_measure(world):
    world.begin()
    world.run_to_end()
    said = outcome(world.log)
    assert (said.state, said.artifacts, said.error, said.forced) == ("completed", ARTIFACTS, None, False)
    assert said.measure.done == said.measure.total == 17.0 * 7


@pytest.mark.scenario("J22")
def test_how_long_a_picture_takes_is_learned_from_those_before(world):
    world.task_cpu_ns = 1_000_000
    for number in range(8):
        world.begin(f"op-{number}")
        world.run_to_end()
    assert only(world.log, SayOutcome)[-1].measure.tail_ns == pytest.approx(1_000_000, rel=0.1)


def test_the_end_is_said_once_and_forgotten_when_it_was_heard(world):
    world.begin()
    while not world.reports:
        world.step(worker(world))
    assert not only(world.tick(10.0), SayOutcome)
    assert "op" in world.core.runs
    assert world.acknowledge() == [Discard("op", 1)]
    assert "op" not in world.core.runs
    assert world.handle(Reported("op", 1)) == []


def test_what_has_no_outcome_yet_is_not_forgotten(world):
    world.begin()
    assert world.handle(Reported("op", 1)) == []
    assert "op" in world.core.runs


def test_every_worker_gets_a_first_task_before_any_gets_a_second():
    world = World(workers=3)
    numbers = [number for number, *_ in dispatched(world.begin(columns=9))]
    assert numbers == [1, 2, 3, 1, 2, 3]
    world.run_to_end()


# --- how much a worker is given -------------------------------------------------------------------


def test_a_worker_has_no_more_than_it_runs_and_the_next_while_nothing_is_known_of_their_cost(world):
    assert len(dispatched(world.begin(columns=5))) == FIRST_DEPTH
    assert len(dispatched(finish(world))) == 1


def test_a_long_task_is_given_alone(world):
    world.task_cpu_ns = 3_000_000_000
    world.begin(columns=5)
    assert dispatched(finish(world)) == []
    assert len(dispatched(finish(world))) == 1


def test_cheap_tasks_come_many_at_once_and_the_next_ones_when_half_are_done(world):
    world.task_cpu_ns = 6_000_000
    world.begin(columns=15, rows=15)
    until(world, "tile")
    finish(world)
    # 50 ms of work wait behind the first.
    assert len(world.core.workers[1].tasks) == 10
    given = [len(dispatched(finish(world))) for _ in range(10)]
    assert given == [0, 0, 0, 0, 5, 0, 0, 0, 0, 5]


def test_towards_the_end_nobody_has_a_queue_while_others_have_nothing():
    world = World(workers=3)
    world.task_cpu_ns = 2_500_000
    world.begin(columns=9, rows=9)
    until(world, "tile")
    longest = 0
    while world.core.runs["op"].phase == "tile":
        for process in list(world.processes.values()):
            world.step(process)
            queues = [len(worker.tasks) for worker in world.core.workers.values()]
            if not world.core.runs["op"].open:
                longest = max(longest, *queues)
    assert longest <= FIRST_DEPTH
    world.run_to_end()


def test_tiles_that_the_preview_says_are_dear_are_given_alone_from_the_first():
    world = World(previews_weigh=True)
    world.task_cpu_ns = 3_000_000_000
    world.begin(columns=9, rows=9)
    until(world, "tile")
    assert len(world.core.workers[1].tasks) == 1


def test_tiles_that_the_preview_says_are_cheap_are_given_many_at_once_from_the_first():
    world = World(previews_weigh=True)
    world.task_cpu_ns = 1_000_000
    world.begin(columns=9, rows=9)
    until(world, "tile")
    assert len(world.core.workers[1].tasks) == QUEUE_LIMIT


def test_without_a_word_of_their_cost_the_cost_of_the_preview_says_nothing_of_the_tiles(world):
    world.task_cpu_ns = 3_000_000_000
    world.begin(columns=9, rows=9)
    until(world, "tile")
    assert len(world.core.workers[1].tasks) == FIRST_DEPTH


# --- how long answers may lie unread --------------------------------------------------------------


def test_answers_are_read_at_once_while_a_worker_has_nothing_but_what_it_runs(world):
    assert world.core.patience_s() == 0.0
    world.begin(columns=1)
    assert len(world.core.workers[1].tasks) == 1
    assert world.core.patience_s() == 0.0


def test_without_workers_there_is_nothing_to_be_patient_about():
    assert EngineCore(grid, 2).patience_s() == 0.0


def test_answers_may_wait_for_half_of_what_the_least_busy_worker_has_to_do():
    world = World(workers=2)
    world.task_cpu_ns = 1_000_000
    world.begin(columns=15, rows=15)
    until(world, "tile")
    finish(world, 1)
    finish(world, 2)
    waiting = [len(worker.tasks) - 1 for worker in world.core.workers.values()]
    assert world.core.patience_s() == pytest.approx(min(REST_S, min(waiting) * 0.001 / 2))
    while len(world.core.workers[1].tasks) > 10:
        finish(world, 1)
    assert world.core.patience_s() == pytest.approx(9 * 0.001 / 2)
    world.run_to_end()


def test_answers_are_read_at_once_while_anything_stops(world):
    world.task_cpu_ns = 1_000_000
    world.begin(columns=15, rows=15)
    until(world, "tile")
    finish(world)
    assert world.core.patience_s() > 0.0
    world.cancel(kill_after_s=5.0)
    assert world.core.patience_s() == 0.0


def test_a_worker_that_comes_later_gets_work_at_once(world):
    world.begin(columns=5)
    assert dispatched(world.start_worker()) == [(2, "op", "preview", 3), (2, "op", "preview", 0)]


def test_a_worker_that_says_twice_that_it_is_up_keeps_its_tasks(world):
    world.begin()
    assert world.handle(WorkerUp(1)) == []


def test_a_repeated_assignment_changes_the_handle_and_is_answered_by_a_full_measure(world):
    world.begin()
    world.tick()
    assert not only(world.tick(), Report)
    world.assign(handle=77)
    assert world.core.runs["op"].assign.handle == 77
    assert len(only(world.tick(), Report)) == 1


def test_a_repeated_assignment_brings_a_priority_that_was_changed_meanwhile(world):
    world.begin()
    world.assign(priority=3)
    assert world.core.runs["op"].priority == 3


def test_an_older_assignment_changes_nothing(world):
    world.begin(generation=2)
    assert world.assign(generation=1) == []
    assert world.core.runs["op"].generation == 2
    assert not world.core.runs["op"].dropped


def test_measures_are_reported_when_something_changed_and_only_then(world):
    world.begin()
    assert [c.measure.previewed for c in only(world.tick(), Report)] == [0]
    assert world.tick() == []
    finish(world)
    assert [c.measure.previewed for c in only(world.tick(), Report)] == [1]


def test_nothing_is_reported_before_the_frame_is_there(world):
    world.assign()
    assert world.tick() == []


def test_a_done_that_is_said_twice_counts_once(world):
    world.begin(columns=3)
    until(world, "tile")
    process = worker(world)
    world.finish(process, iterations=100)
    answer = process.outbox[0]
    world.hear(process)
    run = world.core.runs["op"]
    before = (run.iterations, run.cpu_ns, len(run.committed), len(run.open))
    assert not dispatched(world.handle(answer))
    assert (run.iterations, run.cpu_ns, len(run.committed), len(run.open)) == before


@pytest.mark.parametrize("kind", ["done", "stopped", "failed"])
def test_a_late_word_of_a_dead_worker_does_not_touch_its_successors_attempt(world, kind):
    world.begin(columns=3)
    until(world, "tile")
    task = worker(world).todo[0].task
    world.die(worker(world))
    running = dict(world.core.runs["op"].running)
    fields = {"worker": 1, "task": task}
    answers = {
        "done": TaskDone(iterations=1, cpu_ns=1, **fields),
        "stopped": TaskStopped(iterations=1, cpu_ns=1, **fields),
        "failed": TaskFailed(error=ErrorInfo(code="bug", message="late"), **fields),
    }
    assert world.handle(answers[kind]) == []
    assert world.core.runs["op"].running == running
    assert world.core.runs["op"].error is None


def test_a_word_of_an_attempt_that_the_worker_does_not_hold_counts_for_nothing(world):
    world.begin(columns=3)
    until(world, "tile")
    task = worker(world).todo[0].task
    other = Task(**{name: getattr(task, name) for name in Task.__struct_fields__} | {"attempt": 9})
    assert world.handle(TaskDone(worker=1, task=other, iterations=1, cpu_ns=1)) == []
    assert task.index not in world.core.runs["op"].committed


def test_an_unknown_message_is_a_programming_error(world):
    class Nonsense(Struct):
        pass

    with pytest.raises(TypeError, match="Nonsense"):
        world.core.handle(Nonsense(), 0.0, 0)


# --- frames that are there, or cannot be ----------------------------------------------------------


def test_a_claim_that_finds_artefacts_says_that_it_is_completed(world):
    world.begin()
    world.run_to_end()
    commands = world.begin(generation=2)
    assert only(commands, SayStarted)
    assert outcome(commands).state == "completed"
    assert outcome(commands).artifacts == ARTIFACTS
    assert outcome(commands).measure.done == 17.0 * 7
    assert not dispatched(commands)


def test_artefacts_that_are_there_win_over_a_cancel(world):
    world.begin()
    world.run_to_end()
    world.assign(generation=2)
    world.cancel(generation=2)
    assert outcome(world.frame_ready()).state == "completed"


def test_a_frame_that_cannot_be_made_fails_the_operation_with_the_reason(world):
    world.assign()
    said = outcome(world.frame_failed())
    assert (said.state, said.error.code) == ("failed", "no_frame")


def test_a_frame_that_is_ready_twice_is_started_once(world):
    world.begin()
    until(world, "tile")
    assert world.handle(FrameReady(operation_id="op", generation=1)) == []
    assert world.core.runs["op"].phase == "tile"


def test_a_frame_of_another_generation_is_not_ours(world):
    world.assign(generation=2)
    assert world.handle(FrameReady(operation_id="op", generation=1)) == []
    assert not world.core.runs["op"].prepared


def test_a_new_engine_goes_on_with_the_tiles_on_the_disk(world):
    world.begin(columns=6)
    until(world, "tile")
    finish(world)
    finish(world)
    done = set(world.disks["op"].committed)
    assert len(done) == 2
    world.boot(1)
    tasks = dispatched(world.begin(generation=2, columns=6))
    assert {phase for _, _, phase, _ in tasks} == {"tile"}
    assert world.core.runs["op"].committed == done
    world.run_to_end()
    assert outcome(world.log).measure.tiles_done == 6


# --- cancel -------------------------------------------------------------------------------------


def test_cancelled_before_its_frame_is_ready_it_ends_when_the_frame_is_no_longer_in_use(world):
    world.assign()
    assert world.cancel() == []
    commands = world.frame_ready()
    assert outcome(commands).state == "canceled"
    assert not dispatched(commands)


@pytest.mark.parametrize("phase", ["preview", "tile", "image"])
def test_a_cancel_is_acknowledged_when_all_tasks_have_come_back(world, phase):
    world.begin(columns=3)
    until(world, phase)
    held = len(worker(world).known)
    assert world.cancel() == [Stop(1, "op", 1)]
    world.read(worker(world))
    for left in reversed(range(held)):
        world.stop(worker(world))
        commands = world.hear(worker(world))
        assert bool(only(commands, SayOutcome)) == (left == 0)
    assert outcome(world.log).state == "canceled"
    assert outcome(world.log).forced is False


def test_a_cancel_is_repeated_ten_times_a_second_and_stops_once(world):
    world.begin()
    assert len(world.cancel()) == 1
    assert world.cancel() == []


def test_a_cancel_of_another_generation_or_of_an_unknown_operation_means_nothing(world):
    world.begin()
    assert world.cancel(generation=2) == []
    assert world.cancel("other") == []
    assert not world.core.runs["op"].cancelled


def test_a_cancel_after_the_end_means_nothing(world):
    world.assign()
    world.frame_failed()
    assert world.cancel(kill_after_s=0.0) == []
    assert outcome(world.log).state == "failed"


def test_a_completion_that_was_faster_than_the_cancel_stands(world):
    world.begin()
    until(world, "image")
    world.cancel()
    world.finish(worker(world))
    assert outcome(world.hear(worker(world))).state == "completed"


def test_the_last_tile_may_be_faster_than_the_cancel_but_no_image_follows(world):
    world.begin(columns=1)
    until(world, "tile")
    world.cancel()
    world.finish(worker(world))
    commands = world.hear(worker(world))
    assert outcome(commands).state == "canceled"
    assert outcome(commands).measure.tiles_done == 1


def test_a_cancelled_pause_ends(world):
    world.begin(paused=True)
    assert outcome(world.cancel()).state == "canceled"


def test_a_worker_that_does_not_stop_in_time_is_killed_and_the_outcome_says_so(world):
    world.begin()
    world.read(worker(world))
    world.cancel(kill_after_s=2.0)
    assert not only(world.tick(1.9), Kill)
    assert only(world.tick(0.2), Kill) == [Kill(1)]
    assert not only(world.tick(1.0), Kill)
    commands = world.die(worker(world), "SIGKILL")
    assert (outcome(commands).state, outcome(commands).forced) == ("canceled", True)


def test_the_deadline_counts_from_the_first_time_the_cancel_was_seen(world):
    world.begin()
    world.cancel(kill_after_s=2.0)
    world.tick(1.5)
    world.cancel(kill_after_s=2.0)
    assert only(world.tick(0.6), Kill) == [Kill(1)]


def test_a_stricter_cancel_shortens_the_deadline(world):
    world.begin()
    world.cancel(kill_after_s=60.0)
    world.cancel(kill_after_s=1.0)
    assert only(world.tick(1.1), Kill) == [Kill(1)]


def test_a_hard_cancel_kills_at_once_and_once(world):
    world.begin()
    assert only(world.cancel(kill_after_s=0.0), Kill) == [Kill(1)]
    assert only(world.cancel(kill_after_s=0.0), Kill) == []


def test_a_cancel_without_a_deadline_never_kills(world):
    world.begin()
    world.cancel()
    assert not only(world.tick(1e6), Kill)


def test_nothing_is_given_to_a_worker_that_is_to_be_killed(world):
    world.begin("a")
    world.cancel("a", kill_after_s=0.0)
    assert not dispatched(world.begin("b"))
    assert {number for number, *_ in dispatched(world.die(worker(world)))} == {2}


def test_a_worker_that_is_to_be_killed_gets_nothing_even_when_it_has_stopped_by_itself(world):
    world.begin("a")
    world.cancel("a", kill_after_s=0.0)
    world.obey()
    assert not dispatched(world.begin("b"))
    assert {number for number, *_ in dispatched(world.die(worker(world)))} == {2}


def test_a_hard_cancel_of_what_only_waits_in_a_worker_kills_nobody(world):
    world.begin("a", columns=1)
    world.begin("b", columns=1)
    world.read(worker(world))
    assert [held.task.operation_id for held in worker(world).todo] == ["a", "b"]
    assert set(world.cancel("b", kill_after_s=0.0)) == {Stop(1, "b", 1), Stop(1, "a", 1)}
    commands = world.obey()
    assert (outcome(commands).operation_id, outcome(commands).forced) == ("b", False)


def test_one_that_does_not_make_room_is_killed_which_is_not_held_against_its_task(world):
    world.begin("a", columns=1)
    world.begin("b", columns=1)
    world.read(worker(world))
    world.cancel("b", kill_after_s=0.0)
    assert not only(world.tick(MAKE_ROOM_S / 2), Kill)
    assert only(world.tick(MAKE_ROOM_S), Kill) == [Kill(1)]
    world.die(worker(world), "SIGKILL")
    run = world.core.runs["a"]
    assert (run.poison.deaths, run.forced, run.error) == ({}, False, None)
    assert (outcome(world.log).operation_id, outcome(world.log).forced) == ("b", True)


def test_a_cancel_does_not_wait_for_the_tile_of_another_render(world):
    world.begin("a", columns=1)
    world.begin("b", columns=1)
    assert set(world.cancel("b")) == {Stop(1, "b", 1), Stop(1, "a", 1)}
    assert outcome(world.obey()).operation_id == "b"


def test_a_cancel_of_what_runs_leaves_the_other_render_its_place(world):
    world.begin("a", columns=1)
    world.begin("b", columns=1)
    assert world.cancel("a") == [Stop(1, "a", 1)]


# --- pause --------------------------------------------------------------------------------------


def test_a_pause_is_said_when_nothing_runs_any_more_and_once(world):
    world.begin()
    assert world.pause() == [Stop(1, "op", 1)]
    assert only(world.obey(), SayPaused) == [SayPaused("op", 1, True)]
    assert not only(world.tick(), SayPaused)


def test_a_pause_that_is_asked_again_is_said_again(world):
    world.begin()
    world.pause()
    world.obey()
    assert world.pause() == [SayPaused("op", 1, True)]


def test_what_was_paused_goes_on_where_it_was(world):
    world.begin()
    world.pause()
    world.obey()
    commands = world.pause(paused=False)
    assert commands[0] == SayPaused("op", 1, False)
    assert len(dispatched(commands)) == 2


def test_going_on_is_said_at_once_though_tiles_run(world):
    world.begin()
    assert world.pause(paused=False) == [SayPaused("op", 1, False)]


def test_a_pause_that_is_taken_back_before_it_was_reached_never_was(world):
    world.begin()
    world.pause()
    assert world.pause(paused=False) == [SayPaused("op", 1, False)]
    commands = world.obey()
    assert not only(commands, SayPaused)
    assert dispatched(commands)


def test_assigned_as_paused_it_says_so_and_waits(world):
    commands = world.begin(paused=True)
    assert only(commands, SayPaused) == [SayPaused("op", 1, True)]
    assert not dispatched(commands)


def test_paused_before_its_frame_is_ready_it_waits_with_it(world):
    world.assign()
    assert world.pause() == []
    commands = world.frame_ready()
    assert only(commands, SayPaused) == [SayPaused("op", 1, True)]
    assert not dispatched(commands)


def test_what_is_being_cancelled_cannot_be_paused(world):
    world.begin()
    world.cancel()
    assert world.pause() == []
    assert not world.core.runs["op"].paused
    assert not only(world.obey(), SayPaused)


def test_a_worker_that_is_to_stop_gets_nothing_before_all_that_is_meant_has_come_back(world):
    world.begin(columns=3)
    world.pause()
    world.read(worker(world))
    world.stop(worker(world))
    world.hear(worker(world))
    assert not dispatched(world.pause(paused=False))
    assert not dispatched(world.begin("other", columns=1))
    world.stop(worker(world))
    assert len(dispatched(world.hear(worker(world)))) == FIRST_DEPTH


def test_a_pause_of_another_generation_means_nothing(world):
    world.begin()
    assert world.pause(generation=2) == []
    assert not world.core.runs["op"].paused


# --- priorities ---------------------------------------------------------------------------------


def test_a_higher_priority_takes_the_workers_of_a_lower_one_and_gives_them_back(world):
    world.begin("low")
    assert only(world.begin("high", priority=1), Stop) == [Stop(1, "low", 1)]
    assert {operation_id for _, operation_id, *_ in dispatched(world.obey())} == {"high"}
    world.run_to_end()
    assert [c.operation_id for c in only(world.log, SayOutcome)] == ["high", "low"]


def test_a_higher_priority_takes_nothing_while_a_worker_is_free():
    world = World(workers=3)
    world.begin("low", columns=1)
    assert not only(world.begin("high", priority=1), Stop)
    world.run_to_end()


def test_an_equal_priority_takes_nothing(world):
    world.begin("a")
    assert not only(world.begin("b"), Stop)


def test_a_higher_priority_is_not_stuck_behind_the_tile_of_a_lower_one(world):
    world.begin("low", columns=1)
    commands = world.begin("high", columns=1, priority=1)
    assert dispatched(commands) == [(1, "high", "preview", 0)]
    assert only(commands, Stop) == [Stop(1, "low", 1)]
    world.obey()
    assert [held.task.operation_id for held in worker(world).todo][:1] == ["high"]


def test_a_priority_that_is_raised_while_it_runs_counts(world):
    world.begin("a")
    world.begin("b")
    assert only(world.handle(PriorityChanged("b", 1, 5)), Stop) == [Stop(1, "a", 1)]
    assert not only(world.handle(PriorityChanged("a", 2, 9)), Stop)
    assert world.core.runs["a"].priority == 0


def test_a_higher_priority_is_next_whatever_time_it_had(world):
    world.begin("high", columns=5, priority=1)
    finish(world)
    world.begin("low", columns=5)
    assert [oid for _, oid, *_ in dispatched(finish(world))] == ["high"]


def test_within_a_priority_the_one_that_had_less_time_is_next(world):
    world.begin("a", columns=5)
    finish(world)
    world.begin("b", columns=5)
    assert [oid for _, oid, *_ in dispatched(finish(world))] == ["b"]
    assert [oid for _, oid, *_ in dispatched(finish(world))] == ["b"]


def test_why_it_waits_can_be_told(world):
    world.begin("high", priority=2)
    assert world.core.explain("nobody") == ("nobody is not in this engine's hands.",)
    world.assign("low")
    assert world.core.explain("low")[1:] == ("Its frame is being prepared.",)
    world.frame_ready("low")
    assert not only(world.log, Stop)
    world.core.runs["high"].open.append(("preview", 9))
    assert "high goes first, with priority 2 against 0." in world.core.explain("low")
    world.core.runs["high"].open.pop()
    world.pause("low")
    assert "It is paused." in world.core.explain("low")


# --- workers die and tasks fail -------------------------------------------------------------------


def test_of_a_dead_worker_only_the_task_that_ran_is_guilty_and_starts_from_scratch(world):
    world.begin(columns=3)
    until(world, "tile")
    ran, queued = (held.task for held in worker(world).todo)
    tasks = [c.task for c in only(world.die(worker(world)), Dispatch)]
    assert [(t.index, t.attempt, t.fresh) for t in tasks] == [(ran.index, 2, True), (queued.index, 2, False)]
    assert world.core.runs["op"].poison.deaths == {("tile", ran.index): 1}


def die_of(world, pixel, rounds=60, operation_id="op"):
    """Whoever computes the pixel dies, everybody else works on; what was dispatched."""
    commands = []
    for _ in range(rounds):
        for process in list(world.processes.values()):
            world.read(process)
            task = process.todo[0].task if process.todo else None
            killing = task is not None and task.operation_id == operation_id and task.phase in ("tile", "part")
            if killing and pixel in touched(task) and not task.holes:
                commands += world.die(process, "SIGSEGV in the kernel")
            else:
                commands += world.step(process)
    return commands


@pytest.mark.scenario("C5")
def test_pixels_that_kill_are_isolated_alone_and_fail_the_operation_with_the_cause(world):
    world.start_worker()
    world.begin(columns=4)
    said = outcome(die_of(world, (12, 3)))
    assert (said.state, said.error.code) == ("failed", "poison_tile")
    assert "SIGSEGV in the kernel" in said.error.message
    assert "(tile 1)" in said.error.message
    # All the others were computed, once, and none of them was suspected.
    assert said.measure.tiles_done == 3
    assert set(world.claims["op", 1].deaths) == {("tile", 1), ("part", 0)}


@pytest.mark.scenario("C5")
def test_pixels_that_kill_leave_a_hole_where_that_is_allowed(world):
    world.begin(columns=4, params={"columns": 4, "rows": 1, "on_poison": "hole"})
    said = outcome(die_of(world, (12, 3)))
    assert (said.state, said.error) == ("completed", None)
    assert said.measure.done == said.measure.total
    assert said.measure.details["holes"] == [[10, 0, 8, 7]]
    assert said.remark.startswith("1 hole of 56 pixels, the first 8×7 at 10,0: SIGSEGV in the kernel")


@pytest.mark.scenario("C5")
def test_what_has_killed_waits_until_a_worker_has_nothing_else_and_nothing_of_lower_priority_goes_before_it(world):
    world.start_worker()
    world.begin(columns=9, rows=8)
    until(world, "tile")
    first = worker(world).todo[0].task
    world.die(worker(world))
    process = next(p for p in world.processes.values() if any(t.index == first.index for t in p.known))
    world.read(process)
    world.begin("low", columns=9, rows=8, priority=-1)
    commands = world.die(process)
    commands += die_of(world, (first.x, first.y), rounds=1)
    alone = [c for c in only(commands, Dispatch) if (c.task.phase, c.task.index) == ("tile", first.index)]
    assert len(alone) == 1
    assert not [c for c in only(commands, Dispatch) if c.task.operation_id == "low"]


@pytest.mark.scenario("C5")
def test_a_worker_is_kept_free_for_what_has_killed_while_others_are_given_more(world):
    for _ in range(2):
        world.start_worker()
    world.task_cpu_ns = 1_000_000
    world.begin(columns=14, rows=14)
    until(world, "tile")
    run = world.core.runs["op"]
    while any(len(p.known) < 3 for p in world.processes.values()):
        for process in world.processes.values():
            world.step(process)
    suspect = ("tile", run.open[0][1])
    for _ in range(2):
        # It is taken again, first of all, and kills again.
        process = next((p for p in world.processes.values() if any(t.index == suspect[1] for t in p.known)), None)
        while process is None or process.known[0].index != suspect[1]:
            for other in list(world.processes.values()):
                world.step(other)
            holding = [p for p in world.processes.values() if any(t.index == suspect[1] for t in p.known)]
            process = holding[0] if holding else None
        world.read(process)
        world.kill(process)
        # Nobody takes its place, so all that are left are busy.
        world.bury(process)
    (left,) = world.processes.values()
    assert run.alone[0] == suspect
    for _ in range(len(left.known)):
        assert run.isolatable
        assert not only(world.step(left), Dispatch) or not left.known[1:]
    assert [(t.phase, t.index) for t in left.known] == [suspect]
    assert run.open


@pytest.mark.scenario("C6")
def test_a_task_that_finds_no_memory_is_tried_again_like_one_that_died(world):
    world.begin()
    until(world, "tile")
    index = worker(world).todo[0].task.index
    run = world.core.runs["op"]
    while run.poison.deaths.get(("tile", index), 0) < 3:
        assert run.error is None
        world.read(worker(world))
        if not worker(world).todo:
            world.tick(MEMORY_REST_S)
        elif worker(world).todo[0].task.index == index:
            world.fail(worker(world), again=True)
            world.hear(worker(world))
        else:
            world.finish(worker(world))
            world.hear(worker(world))
    assert run.poison.last_cause == "raised"
    assert [part.tile for part in run.poison.parts] == [index] * 2


@pytest.mark.scenario("C6")
def test_a_worker_that_is_refused_memory_rests_while_others_do_what_it_cannot(world):
    world.start_worker()
    world.begin(columns=4)
    until(world, "tile")
    short, other = worker(world, 1), worker(world, 2)
    while not (outcomes := only(world.log, SayOutcome)):
        world.read(short)
        if short.todo:
            world.fail(short, again=True)
            assert not [c for c in only(world.hear(short), Dispatch) if c.worker == 1]
        world.step(other)
    assert outcomes[0].state == "completed"
    # What it had in hand has failed once each, and is not suspected.
    assert set(world.claims["op", 1].deaths.values()) == {1}
    world.begin("next", columns=4)
    assert not world.core.workers[1].tasks
    world.tick(MEMORY_REST_S)
    assert world.core.workers[1].tasks


@pytest.mark.scenario("C5")
def test_a_render_that_kills_whatever_it_is_given_does_not_keep_its_equals_from_the_workers(world):
    world.begin("bad", columns=6, rows=6, params={"columns": 6, "rows": 6, "on_poison": "hole"})
    world.begin("good", columns=6, rows=6)
    deaths = 0
    while not world.claims["good", 1].ended:
        for process in list(world.processes.values()):
            world.read(process)
            if process.todo and process.todo[0].task.operation_id == "bad":
                deaths += 1
                world.die(process)
            else:
                world.step(process)
    # All of it would be 121, and nothing of the other before the last of them.
    assert 0 < deaths < 20


def kills(world, operation_id, rounds=5000):
    """Everybody who computes something of that render dies of it, others work on; how many died until it ended."""
    deaths = 0
    for _ in range(rounds):
        for process in list(world.processes.values()):
            world.read(process)
            task = process.todo[0].task if process.todo else None
            # A tile whose parts were all given up is gone over once more, which computes nothing.
            if task is not None and task.operation_id == operation_id and task.phase != "image" and not task.holes:
                deaths += 1
                world.die(process, "SIGSEGV in the kernel")
            else:
                world.step(process)
        if world.claims[operation_id, 1].ended:
            return deaths
    raise AssertionError("it never ends")


@pytest.mark.scenario("C5")
def test_a_render_whose_every_tile_kills_is_given_up_also_where_holes_are_allowed(world):
    params = {"columns": 12, "rows": 12, "on_poison": "hole"}
    world.begin("bad", columns=12, rows=12, params=params)
    world.begin("good", columns=2)
    # All of it would be a thousand. What the other workers had in hand may still die.
    assert DEATHS_LIMIT < kills(world, "bad") <= DEATHS_LIMIT + len(world.processes)
    (said,) = [said for said in only(world.log, SayOutcome) if said.operation_id == "bad"]
    assert (said.state, said.error.code) == ("failed", "poison_render")
    assert f"after {DEATHS_LIMIT + 1} attempts" in said.error.message
    assert said.error.message.endswith("SIGSEGV in the kernel")
    world.run_to_end()
    assert world.claims["good", 1].ended == "completed"


@pytest.mark.scenario("C5")
def test_what_has_killed_has_the_workers_that_its_equals_leave_before_lower_priorities(world):
    world.begin("bad", columns=1)
    world.read(worker(world))
    world.die(worker(world))
    process = worker(world, 2)
    world.read(process)
    world.kill(process)
    world.bury(process)
    assert world.core.runs["bad"].alone
    # The turn is of the one that is good, which has less to do than there are workers.
    world.begin("good", columns=1)
    world.begin("low", columns=4, priority=-1)
    ups = tuple(WorkerUp(number) for number in (11, 12, 13))
    world.processes |= {up.worker: Process(up.worker) for up in ups}
    assert [operation_id for _, operation_id, *_ in dispatched(world.handle(Heard(ups)))][:3] == ["good", "bad", "low"]


def test_a_death_that_nobody_knew_of_changes_nothing(world):
    world.begin()
    assert world.handle(WorkerDied(99, "SIGSEGV")) == []


def test_a_death_while_it_is_to_stop_counts_as_having_stopped(world):
    world.begin()
    world.cancel()
    said = outcome(world.die(worker(world)))
    assert (said.state, said.forced) == ("canceled", False)


def test_half_written_pixels_stay_marked_when_the_next_worker_is_stopped_before_it_begins(world):
    """The disk of `World` refuses half-written pixels that are committed, so the end of this test is a part of it."""
    world.begin(columns=3)
    until(world, "tile")
    torn = worker(world).todo[0].task.index
    world.die(worker(world))
    process = worker(world, 2)
    task = process.inbox[0].task
    assert (task.index, task.fresh) == (torn, True)
    world.pause()
    world.read_all_at_once(process)
    while process.todo:
        world.stop(process)
    while process.outbox:
        world.hear(process)
    again = [c.task for c in only(world.pause(paused=False), Dispatch)]
    assert [t.fresh for t in again if t.index == torn] == [True]


def test_a_task_that_raises_fails_the_operation_when_the_others_have_stopped():
    world = World(workers=2)
    world.begin(columns=6)
    until(world, "tile")
    world.fail(worker(world, 1))
    commands = world.hear(worker(world, 1))
    assert set(only(commands, Stop)) == {Stop(1, "op", 1), Stop(2, "op", 1)}
    assert not only(commands, SayOutcome)
    said = outcome(world.obey())
    assert (said.state, said.error.message) == ("failed", "raised")
    world.run_to_end()


# --- fences and newer claims ----------------------------------------------------------------------


def test_what_is_fenced_off_stops_and_says_nothing(world):
    world.begin()
    assert world.drop() == [Stop(1, "op", 1)]
    assert world.obey() == [Discard("op", 1)]
    assert "op" not in world.core.runs


def test_fenced_off_while_its_frame_is_prepared_it_goes_when_that_is_over(world):
    world.assign()
    assert world.drop() == []
    assert world.frame_ready() == [Discard("op", 1)]


def test_fenced_off_and_without_a_frame_it_says_nothing_either(world):
    world.assign()
    world.drop()
    assert world.frame_failed() == [Discard("op", 1)]


def test_a_fence_after_the_end_leaves_the_word_to_be_heard(world):
    world.assign()
    world.frame_failed()
    assert world.drop() == []
    assert world.acknowledge() == [Discard("op", 1)]


def test_a_fence_of_an_unknown_operation_means_nothing(world):
    assert world.drop("other") == []


def test_nothing_is_reported_of_what_is_fenced_off(world):
    world.begin()
    world.drop()
    assert world.tick() == []


def test_a_newer_claim_begins_when_nothing_of_the_older_one_runs(world):
    world.begin()
    assert world.assign(generation=2) == [Stop(1, "op", 1)]
    assert world.obey() == [Discard("op", 1), Prepare(assignment(generation=2))]


def test_a_newer_claim_of_an_idle_one_begins_at_once(world):
    world.begin(paused=True)
    assert world.assign(generation=2) == [Discard("op", 1), Prepare(assignment(generation=2))]


def test_two_claims_never_prepare_the_frame_at_the_same_time(world):
    world.assign()
    assert world.assign(generation=2) == []
    assert world.frame_ready() == [Discard("op", 1), Prepare(assignment(generation=2))]


def test_a_newer_claim_waits_until_the_older_ones_outcome_was_heard(world):
    world.assign()
    world.frame_failed()
    assert world.assign(generation=2) == []
    assert world.acknowledge() == [Discard("op", 1), Prepare(assignment(generation=2))]


def test_of_newer_claims_that_wait_the_newest_begins(world):
    world.begin()
    for generation in (2, 4, 3):
        world.assign(generation=generation)
    assert world.obey() == [Discard("op", 1), Prepare(assignment(generation=4))]


def test_a_newer_claim_that_waits_is_not_fenced_off_with_the_older_one(world):
    world.begin()
    world.assign(generation=2)
    world.drop()
    assert Prepare(assignment(generation=2)) in world.obey()


def test_what_the_older_claim_still_says_does_not_count_for_the_newer_one(world):
    world.begin(columns=3)
    until(world, "tile")
    task = worker(world).todo[0].task
    world.assign(generation=2, columns=3)
    world.obey()
    world.frame_ready()
    before = set(world.core.runs["op"].committed)
    world.handle(TaskDone(worker=1, task=task, iterations=5, cpu_ns=5))
    assert world.core.runs["op"].committed == before


def test_an_assignment_that_cannot_be_is_refused_before_anything_changes():
    def grid_of(assign):
        raise BadRequestError(f"{assign.operation_id} has no width")

    core = EngineCore(grid_of, 2)
    with pytest.raises(BadRequestError, match="no width"):
        core.handle(Assigned(assignment()), 0.0, 0)
    assert core.runs == {}


def test_a_stuck_worker_does_not_keep_the_next_claim_waiting_for_ever(world):
    world.begin()
    world.read(worker(world))
    world.assign(generation=2)
    assert not only(world.tick(0.05) + world.tick(FENCED_S - 0.1), Kill)
    assert only(world.tick(0.2), Kill) == [Kill(1)]
    commands = world.die(worker(world), "SIGKILL")
    assert only(commands, Prepare) == [Prepare(assignment(generation=2))]


# --- draining -----------------------------------------------------------------------------------


def test_draining_lets_tiles_finish_then_gives_the_render_back(world):
    world.begin(columns=6)
    until(world, "tile")
    assert world.drain() == []
    assert not dispatched(finish(world))
    (said,) = finish(world)
    assert isinstance(said, SayReleased)
    assert said.measure.tiles_done == 2
    assert world.acknowledge() == [Discard("op", 1)]


def test_draining_at_once_stops_tiles(world):
    world.begin(columns=6)
    until(world, "tile")
    assert world.drain(at_once=True) == [Stop(1, "op", 1)]
    assert only(world.obey(), SayReleased)


def test_draining_that_takes_too_long_can_be_made_to_be_at_once(world):
    world.begin()
    world.drain()
    assert world.drain(at_once=True) == [Stop(1, "op", 1)]


def test_draining_while_the_frame_is_prepared_gives_it_back_after_that(world):
    world.assign()
    assert world.drain() == []
    assert only(world.frame_ready(), SayReleased)


def test_draining_gives_a_paused_render_back_at_once(world):
    world.begin(paused=True)
    assert len(only(world.drain(), SayReleased)) == 1


def test_a_draining_engine_takes_nothing_new(world):
    world.drain()
    assert world.assign() == []


def test_a_draining_engine_does_not_begin_a_newer_claim(world):
    world.begin()
    world.assign("op", generation=2)
    world.drain()
    assert world.obey() == [Discard("op", 1)]


def test_a_draining_engine_stops_what_a_newer_claim_fences_off(world):
    world.begin()
    world.drain()
    assert world.assign(generation=2) == [Stop(1, "op", 1)]
    assert world.obey() == [Discard("op", 1)]


def test_what_has_ended_is_not_given_back(world):
    world.assign()
    world.frame_failed()
    assert world.drain() == []


def test_a_cancel_wins_over_draining(world):
    world.begin()
    world.drain()
    world.cancel()
    assert outcome(world.obey()).state == "canceled"


# --- the check itself -----------------------------------------------------------------------------


def _held_by_nobody(core):
    core.workers[1].tasks.pop()


def _held_twice(core):
    core.workers[2] = core.workers[1]


def _too_many(core):
    core.workers[1].tasks *= 2


def _counted_wrongly(core):
    core.runs["op"].pixels += 1


def _shown_wrongly(core):
    core.runs["op"].bitmap[0] ^= 1


def _open_and_running(core):
    core.runs["op"].open.append(next(iter(core.runs["op"].running)))


def _committed_and_running(core):
    core.runs["op"].committed.add(next(iter(core.runs["op"].running))[1])


def _ended_and_running(core):
    core.runs["op"].ended = True


def _stops_nothing(core):
    core.workers[1].stopping.add(("other", 1))


def _successor_of_nobody(core):
    core.runs["op"].successor = core.runs["op"]


@pytest.mark.parametrize(
    "damage",
    [
        _held_by_nobody,
        _held_twice,
        _too_many,
        _counted_wrongly,
        _shown_wrongly,
        _open_and_running,
        _committed_and_running,
        _ended_and_running,
        _stops_nothing,
        _successor_of_nobody,
    ],
)
def test_the_sanity_check_finds(damage):
    world = World(workers=1)
    world.begin(columns=6)
    until(world, "tile")
    world.core.sanity_check()
    damage(world.core)
    with pytest.raises(AssertionError):
        world.core.sanity_check()
