"""Whatever workers, disk and broker do, the engine's core ends every render, once, and only when nothing runs any more.

A random history of messages: pipes that are read late, workers that finish, stop, fail and die in any order, messages
said twice, cancels, pauses, priorities, newer claims, fences, drains and new engines on what the disk still holds.
`World` checks each command as it leaves; at the end everybody cooperates and every claim has come to its end.
"""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rfm_runtime.core.tiles.messages import FocusChanged, PriorityChanged, TaskDone, WorkerUp
from rfm_runtime.core.tiles.worker import FIRST_DEPTH, REST_S
from rfm_runtime.testing.tiles import World
from rfm_runtime.testing.tiles_ledger import touched

IDS = ["op-0", "op-1", "op-2"]
SIZES = {"op-0": (2, 1), "op-1": (3, 2), "op-2": (9, 8)}
"""The last one has preview blocks of several tiles, and more tiles than most histories get through."""

POLICIES = {"op-0": "fail", "op-1": "hole", "op-2": "fail"}

# Most histories are about few operations, so that more happens to each.
operation_ids = st.sampled_from(["op-1", "op-1", "op-1", "op-2", "op-2", "op-0"])
kills = st.none() | st.sampled_from([0.0, 0.2, 5.0])


class Tiles(RuleBasedStateMachine):
    @initialize(workers=st.integers(1, 3))
    def boot(self, workers):
        self.world = World(workers, previews_weigh=True)
        self.wanted: dict[str, int] = {}
        self.heard: list[TaskDone] = []
        self.assign("op-1", newer=True, priority=0, paused=False)
        self.world.frame_ready("op-1")

    # --- the broker -----------------------------------------------------------------------

    @rule(
        oid=operation_ids,
        newer=st.booleans(),
        priority=st.integers(-1, 1),
        paused=st.sampled_from([False, False, True]),
        late=st.booleans(),
    )
    def assign(self, oid, newer, priority, paused, late=False):
        """A new claim, or the repetition of the last one, which the broker sends until it hears of it."""
        generation = self.wanted.get(oid, 0)
        claim = self.world.claims.get((oid, generation))
        if generation == 0 or newer:
            generation += 1
        elif claim is not None and (claim.ended or claim.dropped):
            return
        self.wanted[oid] = generation
        columns, rows = SIZES[oid]
        params = {"columns": columns, "rows": rows, "on_poison": POLICIES[oid]}
        self.world.assign(oid, generation, priority=priority, paused=paused, columns=columns, rows=rows, params=params)
        run = self.world.core.runs.get(oid)
        if late and run is not None and run.generation > 1:
            # An older assignment only ever comes while a newer claim is there.
            self.world.assign(oid, run.generation - 1, columns=columns, rows=rows)
            assert self.world.core.runs[oid] is run

    def generation(self, data, oid):
        return max(0, self.wanted.get(oid, 0) - data.draw(st.sampled_from([0, 0, 0, 1])))

    @rule(data=st.data(), oid=operation_ids, kill_after_s=kills)
    def cancel(self, data, oid, kill_after_s):
        self.world.cancel(oid, self.generation(data, oid), kill_after_s)

    @rule(data=st.data(), oid=operation_ids, paused=st.booleans())
    def pause(self, data, oid, paused):
        self.world.pause(oid, self.generation(data, oid), paused=paused)

    @rule(data=st.data(), oid=operation_ids, priority=st.integers(-2, 2))
    def prioritise(self, data, oid, priority):
        self.world.handle(PriorityChanged(oid, self.generation(data, oid), priority))

    @rule(oid=operation_ids, x=st.floats(0, 1), y=st.floats(0, 1))
    def look(self, oid, x, y):
        self.world.handle(FocusChanged(oid, x, y))

    @rule(data=st.data())
    def acknowledge(self, data):
        if self.world.reports:
            self.world.acknowledge(*data.draw(st.sampled_from(sorted(self.world.reports))))

    # --- the shell's own ------------------------------------------------------------------

    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    def frame(self, data, fails):
        if self.world.preparing:
            oid = data.draw(st.sampled_from(sorted(self.world.preparing)))
            if fails:
                self.world.frame_failed(oid)
            else:
                self.world.frame_ready(oid)

    @rule(elapsed_s=st.sampled_from([0.05, 0.3, 6.0]))
    def tick(self, elapsed_s):
        self.world.tick(elapsed_s)

    @rule(
        disaster=st.sampled_from(["none", "none", "none", "drop", "drop", "drain", "drain at once", "new engine"]),
        oid=operation_ids,
    )
    def disaster(self, disaster, oid):
        if disaster == "drop":
            self.world.drop(oid)
        elif disaster == "new engine":
            self.new_engine()
        elif disaster.startswith("drain"):
            self.world.drain(at_once=disaster.endswith("once"))

    def new_engine(self):
        """Everything in hand is lost but what is on the disk; the broker assigns all that has no outcome again."""
        self.world.boot(2)
        for oid in sorted(self.wanted):
            claim = self.world.claims.get((oid, self.wanted[oid]))
            if claim is None or claim.ended in ("lost", "released"):
                self.assign(oid, newer=True, priority=0, paused=False)

    # --- workers --------------------------------------------------------------------------

    def process(self, data):
        processes = [p for _, p in sorted(self.world.processes.items()) if p.alive]
        return data.draw(st.sampled_from(processes)) if processes else None

    @rule(data=st.data(), at_once=st.booleans())
    def read(self, data, at_once):
        process = self.process(data)
        if process is not None and process.inbox:
            if at_once:
                self.world.read_all_at_once(process)
            else:
                self.world.read_one(process)

    @rule(
        data=st.data(),
        how=st.sampled_from(["finish"] * 8 + ["fail"]),
        iterations=st.integers(0, 3),
        cpu_ns=st.sampled_from([0, 9, 5_000_000, 10**9]),
    )
    def compute(self, data, how, iterations, cpu_ns):
        """What a worker runs comes to its end; one that was told to stop may be faster than the word."""
        self.world.task_cpu_ns = cpu_ns
        process = self.process(data)
        if process is None:
            return
        self.world.read(process)
        if process.todo and process.todo[0].begun:
            if how == "fail":
                self.world.fail(process)
            else:
                self.world.finish(process, iterations=iterations)

    @rule(data=st.data(), iterations=st.integers(0, 3))
    def stop(self, data, iterations):
        process = self.process(data)
        if process is not None and process.todo and process.todo[0].stop:
            self.world.stop(process, iterations=iterations)

    @rule(data=st.data())
    def hear_the_broker_first(self, data):
        """A worker is told of a cancel by the broker itself, perhaps before the engine is."""
        process = self.process(data)
        for held in process.todo if process is not None else ():
            held.stop = True

    @rule(data=st.data())
    def hear(self, data):
        talking = [p for _, p in sorted(self.world.processes.items()) if p.outbox]
        if talking:
            process = data.draw(st.sampled_from(talking))
            if isinstance(process.outbox[0], TaskDone):
                self.heard.append(process.outbox[0])
            self.world.hear(process)

    @rule()
    def hear_all(self):
        for process in self.world.processes.values():
            self.heard += [answer for answer in process.outbox if isinstance(answer, TaskDone)]
        self.world.hear_all()

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def hear_again(self, data):
        answer = data.draw(st.sampled_from(self.heard))
        before = {oid: run.iterations for oid, run in self.world.core.runs.items()}
        self.world.handle(answer)
        assert before == {oid: run.iterations for oid, run in self.world.core.runs.items()}

    @rule(data=st.data(), told=st.booleans())
    def die(self, data, told):
        process = self.process(data)
        if process is not None:
            self.world.kill(process)
            if told:
                self.bury(process)

    @rule(oid=operation_ids, pixel=st.tuples(st.integers(0, 19), st.integers(0, 9)), rounds=st.integers(1, 30))
    def poison(self, oid, pixel, rounds):
        """For a while whoever computes a pixel dies of it, and everybody else gets on."""
        for _ in range(rounds):
            for process in list(self.world.processes.values()):
                if not process.alive:
                    continue
                self.world.read(process)
                task = process.todo[0].task if process.todo and process.todo[0].begun else None
                if task is not None and task.operation_id == oid and pixel in touched(task) and not task.holes:
                    self.world.kill(process)
                    self.bury(process)
                else:
                    self.world.step(process)

    @rule(data=st.data())
    def run_out_of_memory(self, data):
        process = self.process(data)
        if process is not None:
            self.world.read(process)
            if process.todo and process.todo[0].begun:
                self.world.fail(process, again=True)

    @rule(data=st.data())
    def be_killed(self, data):
        asked = [p for _, p in sorted(self.world.processes.items()) if p.kill_asked or not p.alive]
        if asked:
            process = data.draw(st.sampled_from(asked))
            self.world.kill(process)
            self.bury(process)

    def bury(self, process):
        self.world.bury(process)
        self.world.start_worker()

    @rule(data=st.data())
    def say_up_again(self, data):
        process = self.process(data)
        if process is not None:
            self.world.handle(WorkerUp(process.number))

    @rule(rounds=st.integers(1, 4))
    def cooperate(self, rounds):
        for _ in range(rounds):
            for process in list(self.world.processes.values()):
                if process.alive:
                    self.world.step(process)

    # --- what holds -----------------------------------------------------------------------

    @invariant()
    def no_task_waits_while_a_worker_has_nothing_to_do(self):
        if not hasattr(self, "world"):
            return
        rests = {number for number, worker in self.world.core.workers.items() if worker.rests_until_s is not None}
        idle = [p for p in self.world.processes.values() if not (p.known or p.kill_asked or p.number in rests)]
        waiting = [run.operation_id for run in self.world.core.runs.values() if run.dispatchable or run.isolatable]
        assert not (idle and waiting)

    @invariant()
    def nobody_rests_while_a_worker_stops_or_may_soon_have_nothing_to_do(self):
        if not hasattr(self, "world"):
            return
        core = self.world.core
        assert 0.0 <= core.patience_s() <= REST_S
        if any(len(w.tasks) < FIRST_DEPTH or w.stopping or w.kill_sent for w in core.workers.values()):
            assert core.patience_s() == 0.0

    @invariant()
    def whatever_waits_is_not_kept_from_a_worker_by_a_lower_priority(self):
        if not hasattr(self, "world"):
            return
        runs = self.world.core.runs
        waiting = [run.priority for run in runs.values() if run.dispatchable or run.isolatable]
        highest = max(waiting, default=None)
        for number, worker in self.world.core.workers.items():
            for task in worker.tasks:
                lower = highest is not None and runs[task.operation_id].priority < highest
                asked = worker.kill_sent or (task.operation_id, task.generation) in worker.stopping
                assert not lower or asked, (number, task)

    @invariant()
    def somebody_works_on_what_has_no_outcome(self):
        """Each run waits for a frame, a worker's answer or its end, or a person; never for nothing."""
        if not hasattr(self, "world"):
            return
        world = self.world
        held = {task.operation_id for process in world.processes.values() for task in process.known}
        for oid, run in world.core.runs.items():
            waits = oid in world.preparing or oid in held or (oid, run.generation) in world.reports
            # Killed on purpose, but not dead yet: its successor takes what waits. Or it rests, and takes it after that.
            unable = all(
                process.kill_asked or world.core.workers[process.number].rests_until_s is not None
                for process in world.processes.values()
            )
            assert (
                waits or (run.paused and run.pause_said) or ((run.dispatchable or run.isolatable) and (held or unable))
            )

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.core.draining:
            world.run_to_end()
            # Newer claims that were refused meanwhile, and all that was given back.
            self.new_engine()
        world.run_to_end()
        for oid, generation in self.wanted.items():
            claim = world.claims[oid, generation]
            assert claim.ended in ("completed", "failed", "canceled") or claim.dropped, (oid, claim)
        for key, claim in world.claims.items():
            assert claim.ended, key
        assert not any(p.known or p.inbox or p.todo for p in world.processes.values())
        assert not any(worker.tasks or worker.stopping for worker in world.core.workers.values())


TestTiles = Tiles.TestCase
TestTiles.settings = settings(max_examples=300, stateful_step_count=70, deadline=None)
TestTiles = pytest.mark.scenario("J2")(TestTiles)
