"""Whatever gateways, owners, the disk and the broker's own death do, the invariants of operations hold.

A random history of messages: duplicates, reorders, stale generations, owners that die or are replaced, batches
that are written late or never, restarts from exactly what was written. `World` checks what leaves the broker
against the journal at that moment; at the end everything is repaired and every operation gets its one outcome.
"""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rfm_runtime.core.operations.record import Drain
from rfm_runtime.protocol.internal import (
    Ack,
    Assign,
    DoExplain,
    DoGet,
    DoList,
    DoPause,
    DoPriority,
    EventsSince,
    HeldOperation,
    OperationMeasure,
    Outcome,
    OwnerHeartbeat,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Principal,
    ProgressState,
    Release,
    Snapshot,
    Started,
    Status,
    TileMeasure,
)
from rfm_runtime.protocol.messages import ListOperations
from rfm_runtime.protocol.operation import TERMINAL_STATES, ErrorInfo
from rfm_runtime.testing.operations import ADMIN, World, owner_hello

IDS = [f"op-{i}" for i in range(6)]
USERS = [ADMIN, Principal("ann", ("operator",)), Principal("bob", ("operator",)), Principal("eve", ("viewer",))]
TOTAL = 100.0

operation_ids = st.sampled_from(IDS)
users = st.sampled_from(USERS)


class Held:
    """What an owner has in its hands."""

    def __init__(self, assign: Assign) -> None:
        self.assign = assign
        self.counter = 0
        self.done = 0.0
        self.ended: str | None = None

    def measure(self) -> OperationMeasure:
        self.counter += 1
        return OperationMeasure(
            generation=self.assign.generation, counter=self.counter, measured_at_ms=0, done=self.done, total=TOTAL
        )


class Owner:
    """One process of an engine: keeps what it was assigned until it is told otherwise."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self.pid = name, pid
        self.routing = f"{name}/{pid}".encode()
        self.held: dict[str, Held] = {}
        self.hello_request: int | None = None
        self.outcome_requests: dict[int, str] = {}
        self.alive = True

    @property
    def source(self):
        return owner_hello(self.name, pid=self.pid).source


class Operations(RuleBasedStateMachine):
    @initialize(slots=st.integers(1, 3), keep=st.integers(1, 4), attempts=st.integers(1, 3))
    def boot(self, slots, keep, attempts):
        self.slots = slots
        self.world = World(finished_keep=keep, attempts=attempts, history_events=20, lease_s=30.0)
        self.pids = iter(range(100, 10_000))
        self.owners: dict[str, Owner] = {}
        self.taken = 0
        # Most histories are about operations that exist and owners that are there.
        for oid, user in zip(IDS[:4], [ADMIN, ADMIN, *USERS[1:3]], strict=True):
            self.world.submit(oid, principal=user)
        self.replace_owner("engine-0", told=False)
        self.world.write()

    # --- users ----------------------------------------------------------------------------

    @rule(oid=operation_ids, user=users, priority=st.integers(-2, 2), parent=st.none() | operation_ids)
    def submit(self, oid, user, priority, parent):
        self.world.submit(oid, principal=user, priority=priority, parent_id=parent)

    @rule(oid=operation_ids, user=users, mode=st.sampled_from(["soft", "hard"]))
    def cancel(self, oid, user, mode):
        self.world.cancel(oid, principal=user, mode=mode)

    @rule(oid=operation_ids, user=users, paused=st.booleans())
    def pause(self, oid, user, paused):
        self.world.ask(b"gateway", DoPause(user, oid, paused))

    @rule(oid=operation_ids, priority=st.integers(-5, 5))
    def prioritise(self, oid, priority):
        self.world.ask(b"gateway", DoPriority(ADMIN, oid, priority))

    @rule(oid=operation_ids, seq=st.integers(0, 60))
    def look(self, oid, seq):
        for message in (
            Snapshot(),
            ProgressState(),
            Status(),
            DoGet(ADMIN, oid),
            DoExplain(ADMIN, oid),
            DoList(ADMIN, ListOperations()),
            EventsSince("log", seq),
        ):
            number = self.world.ask(b"gateway", message)
            assert number in self.world.replies

    # --- owners ---------------------------------------------------------------------------

    def deliver(self):
        """Pushes reach the owner they are for, if it still is there."""
        pushes, self.taken = self.world.pushes[self.taken :], len(self.world.pushes)
        for routing, message in pushes:
            for owner in self.owners.values():
                if owner.routing == routing and owner.alive:
                    self.received(owner, message)

    def received(self, owner, message):
        if isinstance(message, Assign):
            held = owner.held.get(message.operation_id)
            if held is None or held.assign.generation < message.generation:
                owner.held[message.operation_id] = Held(message)
            elif held.assign.generation == message.generation:
                held.assign = message

    def owner_of(self, data):
        return data.draw(st.sampled_from(sorted(self.owners.values(), key=lambda o: o.pid)))

    def holding(self, data):
        owner = self.owner_of(data)
        if not owner.held:
            return owner, None
        return owner, owner.held[data.draw(st.sampled_from(sorted(owner.held)))]

    @rule(name=st.sampled_from(["engine-0", "engine-1"]), told=st.booleans())
    def replace_owner(self, name, told):
        """A new process; its predecessor is dead, which is noticed now or only by the hello."""
        old = self.owners.get(name)
        self.owners[name] = Owner(name, next(self.pids))
        if old is not None and told:
            self.world.die(old.source)
        self.hello(self.owners[name])

    def hello(self, owner):
        held = [
            HeldOperation(
                operation_id=oid,
                generation=held.assign.generation,
                state="ended" if held.ended else "running",
                measure=held.measure(),
            )
            for oid, held in sorted(owner.held.items())
        ]
        message = owner_hello(owner.name, pid=owner.pid, slots=self.slots, held=tuple(held))
        owner.hello_request = self.world.ask(owner.routing, message)
        self.welcome(owner)

    def welcome(self, owner):
        answer = self.world.replies.get(owner.hello_request)
        if isinstance(answer, OwnerWelcome):
            for oid in answer.drop:
                owner.held.pop(oid, None)
            for assign in answer.keep:
                self.received(owner, assign)
            owner.hello_request = None

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def say_hello_again(self, data):
        self.hello(self.owner_of(data))

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def heartbeat(self, data):
        owner = self.owner_of(data)
        self.world.tell(owner.routing, OwnerHeartbeat(owner.source, len(owner.held)))

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), older=st.integers(0, 1))
    def start(self, data, older):
        self.deliver()
        owner, held = self.holding(data)
        if held is not None:
            generation = held.assign.generation - older
            message = Started(operation_id=held.assign.operation_id, generation=generation, total=TOTAL)
            self.world.ask(owner.routing, message)

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), paused=st.booleans())
    def confirm_pause(self, data, paused):
        owner, held = self.holding(data)
        if held is not None:
            self.world.ask(owner.routing, PauseState(held.assign.operation_id, held.assign.generation, paused))

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), tile=st.integers(0, 5), done=st.integers(0, 40), older=st.integers(0, 1))
    def report(self, data, tile, done, older):
        self.deliver()
        _, held = self.holding(data)
        if held is None or held.ended:
            return
        held.done = min(TOTAL, held.done + done / 2)
        held.counter += 1
        measure = TileMeasure(held.assign.generation - older, held.counter, tile, 0, done, done * 10, 1000)
        self.world.report(held.assign.handle, 7, measure)
        self.world.report(held.assign.handle, 1, held.measure())

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), state=st.sampled_from(["completed", "failed", "canceled"]), again=st.booleans())
    def end(self, data, state, again):
        owner, held = self.holding(data)
        if held is None:
            return
        held.ended = held.ended or state
        for _ in range(1 + again):
            self.send_outcome(owner, held)

    def send_outcome(self, owner, held):
        message = Outcome(
            operation_id=held.assign.operation_id,
            generation=held.assign.generation,
            state=held.ended,
            final=held.measure(),
            error=ErrorInfo(code="x", message="y") if held.ended == "failed" else None,
        )
        number = self.world.ask(owner.routing, message)
        owner.outcome_requests[number] = held.assign.operation_id

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def release(self, data):
        owner, held = self.holding(data)
        if held is not None and not held.ended:
            oid = held.assign.operation_id
            message = Release(operation_id=oid, generation=held.assign.generation, reason="r", measure=held.measure())
            self.world.ask(owner.routing, message)
            del owner.held[oid]

    # --- time, disk, death ------------------------------------------------------------------

    @rule(elapsed_s=st.sampled_from([0.05, 0.3, 1.1, 3.5, 61.0]))
    def tick(self, elapsed_s):
        self.world.tick(elapsed_s)
        self.deliver()

    @rule(batches=st.integers(1, 3))
    def write(self, batches):
        self.world.write(batches)

    @rule()
    def write_everything(self):
        self.world.write()
        self.deliver()
        for owner in list(self.owners.values()):
            self.welcome(owner)
            self.acknowledged(owner)

    def acknowledged(self, owner):
        for number, oid in list(owner.outcome_requests.items()):
            answer = self.world.replies.get(number)
            if isinstance(answer, Ack) or (isinstance(answer, ErrorInfo) and answer.code == "conflict"):
                # What was answered is on disk: `Ack` means that this operation has its outcome.
                if isinstance(answer, Ack):
                    assert self.world.rows[oid].operation.state in TERMINAL_STATES
                owner.held.pop(oid, None)
                del owner.outcome_requests[number]

    @rule(disaster=st.sampled_from(["none", "none", "disk", "kill", "kill", "drain"]))
    def disaster(self, disaster):
        if disaster == "disk":
            self.world.fail()
        elif disaster == "kill":
            self.kill_broker()
        elif disaster == "drain":
            self.world.handle(Drain())

    @precondition(lambda self: self.world.failing)
    @rule()
    def repair_disk(self):
        self.world.recover()

    def kill_broker(self):
        self.world.boot()
        self.taken = len(self.world.pushes)
        for owner in self.owners.values():
            owner.hello_request = None
            owner.outcome_requests.clear()

    # --- what holds -------------------------------------------------------------------------

    @invariant()
    def memory_is_bounded(self):
        if not hasattr(self, "world"):
            return
        hub = self.world.hub
        assert len(hub.handles) <= len(hub.live)
        assert len(hub.cancel_set) <= len(hub.live)
        assert len(hub.log.events) <= self.world.settings.history_events
        assert len(hub.keys) == len(hub.records)
        if self.world.failing:
            # Refused requests leave nothing behind, however often they are repeated.
            assert hub.log.pending <= 200

    @invariant()
    def the_journal_is_consistent(self):
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.hub.draining:
            world.write()
            world.boot()
        world.recover()
        for oid in list(world.rows):
            world.ask(b"gateway", DoPause(ADMIN, oid, False))
        for name in sorted({"engine-0", "engine-1", *self.owners}):
            self.owners[name] = Owner(name, next(self.pids))
            self.hello(self.owners[name])
        for _ in range(60):
            world.tick(0.5)
            self.write_everything()
            for owner in self.owners.values():
                self.finish_all(owner)
            self.write_everything()
        world.check()
        unfinished = [row.operation for row in world.rows.values() if row.operation.state not in TERMINAL_STATES]
        assert not unfinished, [world.hub.explain(o.operation_id, world.now) for o in unfinished]
        # Everything that was journalled by this broker was published, each exactly once.
        assert len({event.seq for event in world.feed}) == len(world.feed)

    def finish_all(self, owner):
        world = self.world
        world.tell(owner.routing, OwnerHeartbeat(owner.source, len(owner.held)))
        for held in list(owner.held.values()):
            oid, generation = held.assign.operation_id, held.assign.generation
            world.ask(owner.routing, Started(operation_id=oid, generation=generation, total=TOTAL))
            for _, push in world.pushes[-50:]:
                if isinstance(push, PauseOwner) and push.operation_id == oid and push.generation == generation:
                    world.ask(owner.routing, PauseState(oid, generation, push.paused))
            held.ended = held.ended or "completed"
            self.send_outcome(owner, held)


TestOperations = Operations.TestCase
TestOperations.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestOperations = pytest.mark.scenario("J2")(TestOperations)
