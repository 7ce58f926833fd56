"""Ten thousand operations that stand still cost a tick nothing, and a page costs what it shows: looks are counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rfm_runtime.core.operations.committed import Committed
from rfm_runtime.core.operations.keeping import SPARE
from rfm_runtime.core.operations.record import Asked, Send, StoredOperation, Tick
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    DoList,
    DoPause,
    HeldOperation,
    OperationMeasure,
    Outcome,
    OwnerHeartbeat,
    OwnerWelcome,
    Snapshot,
)
from rfm_runtime.protocol.messages import ListOperations
from rfm_runtime.protocol.operation import Operation, OperationFilter, OperationState
from rfm_runtime.testing.operations import ADMIN, KIND, World, owner_hello

RUNNING = 8000
QUEUED = 2000
PROGRAM = owner_hello("program", pid=500, role="reporter")

pytestmark = pytest.mark.scenario("H5")


class Looks:
    """How often a table was asked for one of its entries."""

    def __init__(self) -> None:
        self.count = 0


class Records(dict):
    """Counts every look at a record, one by one or at all."""

    def __init__(self, records, looks):
        super().__init__(records)
        self._looks = looks

    def __getitem__(self, key):
        self._looks.count += 1
        return super().__getitem__(key)

    def get(self, key, default=None):
        self._looks.count += 1
        return super().get(key, default)

    def __iter__(self):
        for key in super().__iter__():
            self._looks.count += 1
            yield key

    def items(self):
        return [(key, self[key]) for key in self]

    def values(self):
        return [self[key] for key in self]


def row(operation_id: str, created_ms: int, state: OperationState) -> StoredOperation:
    reported = state == "running"
    operation = Operation(
        operation_id=operation_id,
        kind=KIND,
        name=operation_id,
        owner="local",
        state=state,
        at_seq=0,
        created_at_ms=created_ms,
        started_at_ms=created_ms if reported else None,
        generation=1 if reported else 0,
    )
    claim = PROGRAM.source if reported else None
    return StoredOperation(
        operation=operation,
        params={},
        request_key=operation_id,
        body_digest=b"",
        claim=claim,
        claim_resumable=False,
        started=reported,
        reported=reported,
        pausable=True,
    )


def step(counter: int) -> OperationMeasure:
    return OperationMeasure(generation=1, counter=counter + 1, measured_at_ms=0, done=float(counter), total=1000.0)


@pytest.fixture(scope="module")
def many() -> tuple[World, dict[str, int]]:
    """A broker that was told by a program of what it has; handles by operation."""
    world = World()
    for number in range(RUNNING + QUEUED):
        state: OperationState = "running" if number % 5 else "queued"
        operation_id = f"op-{number * 7919 % (RUNNING + QUEUED):05}"
        world.rows[operation_id] = row(operation_id, world.wall_ms - number // 3, state)
    world.boot()
    ours = [oid for oid, stored in world.rows.items() if stored.reported]
    held = tuple(HeldOperation(operation_id=oid, generation=1, state="running", measure=step(0)) for oid in ours)
    hello = owner_hello("program", pid=500, role="reporter", held=held)
    welcome = world.call(b"program", hello, OwnerWelcome)
    assert len(welcome.keep) == RUNNING
    for elapsed_s in (0.05, 1.1, 1.1):
        world.tick(elapsed_s)
        world.write()
    return world, {assign.operation_id: assign.handle for assign in welcome.keep}


@contextmanager
def counted(world: World) -> Iterator[Looks]:
    """Looks at records meanwhile."""
    looks, records = Looks(), world.hub.records
    world.hub.records = Records(records, looks)
    try:
        yield looks
    finally:
        world.hub.records = records


def turn(world: World) -> int:
    """A tick as the shell does it, without the checks of `World`, which look at everything; how much was shown."""
    world.mono_s += 0.05
    world.wall_ms += 50
    world.hub.handle(Tick(), world.now)
    return len(world.hub.progress(world.now))


def test_an_idle_tick_looks_at_nothing_and_one_with_progress_at_what_moved(many):
    world, handles = many
    world.tell(b"program", OwnerHeartbeat(PROGRAM.source, RUNNING))
    with counted(world) as looks:
        assert turn(world) == 0
        # Whoever is first in the queue, which nobody can take.
        assert looks.count <= 5
    moving = list(handles)[:100]
    for oid in moving:
        assert world.report(handles[oid], 1, step(50))
    with counted(world) as looks:
        assert turn(world) == len(moving)
        assert looks.count <= 3 * len(moving)
    world.hub.sanity_check()


class Operations(dict):
    """The operations of a `Committed`, which counts what is shown of them."""

    def __init__(self, operations, looks):
        super().__init__(operations)
        self._looks = looks

    def __getitem__(self, key):
        self._looks.count += 1
        return super().__getitem__(key)

    def __iter__(self):
        raise AssertionError("all are looked at")

    values = items = __iter__


def asked(world: World, message) -> object:
    (command,) = world.hub.handle(Asked(b"gateway", 1, message), world.now)
    assert isinstance(command, Send)
    return command.answer


@pytest.mark.parametrize("states", [None, ["queued"], ["running", "queued"], ["failed"]])
def test_a_page_looks_at_what_it_shows_and_all_pages_are_the_whole_in_order(many, states):
    world, _ = many
    committed: Committed = world.hub.log.committed
    expected = sorted(
        (row.operation for row in world.rows.values() if states is None or row.operation.state in states),
        key=lambda operation: (-operation.created_at_ms, operation.operation_id),
    )
    known, looks = committed._by_id, Looks()
    committed._by_id = Operations(known, looks)
    listed, cursor, pages = [], None, 0
    try:
        while True:
            request = ListOperations(filter=OperationFilter(states=states), limit=300, cursor=cursor)
            reply = asked(world, DoList(ADMIN, request))
            listed += [operation.operation_id for operation in reply.operations]
            pages, cursor = pages + 1, reply.cursor
            if cursor is None:
                break
    finally:
        committed._by_id = known
    assert listed == [operation.operation_id for operation in expected]
    assert looks.count <= pages * 301


def test_a_page_of_a_snapshot_looks_at_what_it_shows(many):
    world, _ = many
    committed: Committed = world.hub.log.committed
    known, looks = committed._by_id, Looks()
    committed._by_id = Operations(known, looks)
    shown, cursor = [], ""
    try:
        while True:
            before = looks.count
            page = asked(world, Snapshot(cursor))
            shown += [operation.operation_id for operation in page.operations]
            assert looks.count - before <= 501
            cursor = page.cursor
            if not cursor:
                break
    finally:
        committed._by_id = known
    assert shown == sorted(world.rows)


def test_the_orders_follow_every_change():
    operations = [row(f"op-{number}", 1000 + number % 3, "queued").operation for number in range(9)]
    committed = Committed(operations[:4])
    for operation in operations[4:]:
        committed.put(operation)
    committed.put(row("op-5", 1002, "running").operation)
    committed.put(row("op-6", 2000, "queued").operation)
    committed.drop("op-0")
    committed.drop("op-0")
    committed.sanity_check()
    assert committed.counts() == {"queued": 7, "running": 1}
    assert [operation.operation_id for operation in committed.newest(["running"], None)] == ["op-5"]
    newest = [operation.operation_id for operation in committed.newest(None, None)]
    assert newest == ["op-6", "op-2", "op-5", "op-8", "op-1", "op-4", "op-7", "op-3"]
    assert [operation.operation_id for operation in committed.newest(None, (-1001, "op-4"))] == ["op-7", "op-3"]
    assert [operation.operation_id for operation in committed.after("op-6", 1)] == ["op-7"]
    committed._ids.reverse()
    with pytest.raises(AssertionError):
        committed.sanity_check()


def test_a_stale_table_is_found(many):
    world, handles = many
    hub = world.hub
    oid = next(iter(handles))
    assert world.report(handles[oid], 1, step(60))
    for table in (hub.moved, hub.keeping.moved):
        del table[oid]
        with pytest.raises(AssertionError):
            hub.sanity_check()
        table[oid] = None
    hub.owners.in_hand["local"] -= 1
    with pytest.raises(AssertionError):
        hub.sanity_check()
    hub.owners.in_hand["local"] += 1
    world.ask(b"gateway", DoPause(ADMIN, oid, True))
    owner = hub.owners.get("program")
    assert owner is not None
    owner.unconfirmed.clear()
    with pytest.raises(AssertionError):
        hub.sanity_check()
    owner.unconfirmed.add(oid)
    hub.sanity_check()


def test_what_has_ended_is_left_in_no_table_while_the_journal_always_has_something_to_write():
    world = World()
    owner = b"program"
    world.call(owner, PROGRAM, OwnerWelcome)
    world.call(owner, announce("stays"), Assign)
    for number in range(100):
        assign = world.call(owner, announce(f"op-{number}"), Assign)
        assert world.report(assign.handle, 1, step(50))
        # No checkpoint while a batch waits.
        world.submit(f"waits-{number}")
        world.tick(1.1)
        done = Outcome(operation_id=f"op-{number}", generation=1, state="completed", final=step(60))
        world.call(owner, done, Ack)
    keeping = world.hub.keeping
    assert len(keeping._scheduled) == 1
    assert len(keeping._due) <= 2 + SPARE
    assert len(keeping.moved) <= 1
    assert len(world.hub.moved) <= 1


def announce(operation_id: str) -> Announce:
    return Announce(principal=ADMIN, operation_id=operation_id, kind="script", name="n", measure=step(0))
