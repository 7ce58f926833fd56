"""What an audit finds in a journal that was written by the real hub, and in the same with something broken."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.operations.audit import FOUND_LIMIT, Audit
from rfm_runtime.protocol.internal import Ack, Assign, OperationMeasure, Outcome, OwnerWelcome, Started
from rfm_runtime.testing.operations import World, owner_hello

pytestmark = pytest.mark.scenario("J24")

E = b"engine"


@pytest.fixture
def world():
    """Three operations that ended, and one that runs."""
    world = World()
    world.write()
    assert isinstance(world.call(E, owner_hello(slots=4), OwnerWelcome), OwnerWelcome)
    for operation_id in ("a", "b", "c", "d"):
        world.submit(operation_id)
        world.write()
        world.tick()
        world.write()
        assign = next(
            push for _, push in world.pushes if isinstance(push, Assign) and push.operation_id == operation_id
        )
        world.call(E, Started(operation_id=operation_id, generation=assign.generation), Ack)
        if operation_id != "d":
            final = OperationMeasure(assign.generation, 5, 0, done=1.0, total=1.0)
            told = Outcome(operation_id=operation_id, generation=assign.generation, state="completed", final=final)
            world.call(E, told, Ack)
    return world


def audited(events, rows, *, hole=0, head=None):
    audit = Audit(hole)
    for event in events:
        audit.event(event.seq, event)
    for row in rows:
        audit.row(row.operation.operation_id, row.operation.state, row)
    audit.end(head if head is not None else events[-1].seq)
    return audit


def test_what_the_broker_writes_is_fine(world):
    audit = audited(world.events, world.rows.values())
    assert audit.found == []
    assert (audit.events, dict(audit.operations)) == (len(world.events), {"completed": 3, "running": 1})


def test_what_was_forgotten_is_no_hole(world):
    gone = {event.seq for event in world.events if event.operation_id == "b"}
    events = [event for event in world.events if event.seq not in gone]
    rows = [row for row in world.rows.values() if row.operation.operation_id != "b"]
    assert audited(events, rows, hole=max(gone)).found == []
    assert audited(events, rows, hole=max(gone) - 1).found == [f"event {max(gone)} is missing"]


def test_each_event_that_is_lost_or_doubled_is_found(world):
    for index in range(len(world.events) - 1):
        events = [*world.events[:index], *world.events[index + 1 :]]
        assert any("missing" in one for one in audited(events, world.rows.values()).found)
        events = [*world.events[: index + 1], *world.events[index:]]
        assert any("comes after" in one for one in audited(events, world.rows.values()).found)
    assert any("not at" in one for one in audited(world.events[:-1], world.rows.values(), head=len(world.events)).found)


def test_rows_and_events_that_disagree_are_found(world):
    rows = dict(world.rows)
    operation = rows["a"].operation

    def found(**changes):
        changed = msgspec.structs.replace(rows["a"], operation=msgspec.structs.replace(operation, **changes))
        return audited(world.events, [*(rows[name] for name in "bcd"), changed]).found

    assert any("with 1 outcomes" in one for one in found(state="running"))
    assert any("as of event 1" in one for one in found(at_seq=1))
    assert any("not brought to its end" in one for one in found(ended_at_ms=None))
    assert any("its parent nobody" in one for one in found(parent_id="nobody"))
    without = audited(world.events, [rows[name] for name in "bcd"]).found
    assert without == ["a: 4 events, and no operation"]
    twin = msgspec.structs.replace(rows["a"], request_key=rows["b"].request_key)
    assert any("request key" in one for one in audited(world.events, [twin, *(rows[n] for n in "bcd")]).found)


def test_a_second_outcome_is_found(world):
    last = world.events[-1]
    outcome = next(event for event in world.events if event.type == "operation_completed")
    again = msgspec.structs.replace(outcome, seq=last.seq + 1)
    assert any("a second outcome" in one for one in audited([*world.events, again], world.rows.values()).found)


def test_of_many_findings_the_first_are_told_and_all_are_counted(world):
    events = [msgspec.structs.replace(world.events[-1], seq=seq) for seq in range(1000, 2000, 2)]
    audit = audited([*world.events, *events], world.rows.values())
    assert len(audit.found) == FOUND_LIMIT
    assert audit.count >= 500
