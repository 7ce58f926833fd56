"""Steps of a program's own operation, and what an announcement tells of others' operations: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.core.operations.record import Heard
from rfm_runtime.protocol.internal import (
    Announce,
    Assign,
    LastWord,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    Principal,
)
from rfm_runtime.testing.operations import World, owner_hello

pytestmark = pytest.mark.scenario("J50")

REPORTER, OTHER = Principal("rep", ("reporter",)), Principal("ann", ("operator",))


def begin(world: World, operation_id: str, who: Principal = REPORTER, parent_id: str | None = None) -> Any:
    measure = OperationMeasure(1, 1, 0, done=0.0, total=1.0)
    announce = Announce(
        principal=who, operation_id=operation_id, kind="script", name="n", measure=measure, parent_id=parent_id
    )
    number = world.ask(b"E", announce)
    world.write()
    return world.replies[number]


@pytest.fixture
def world() -> World:
    world = World()
    world.call(b"E", owner_hello(role="reporter", resumable=()), OwnerWelcome)
    return world


def parent_of(world: World, operation_id: str) -> str | None:
    found: str | None = world.hub.records[operation_id].operation.parent_id
    return found


def test_a_reporter_has_steps_below_its_own_operation(world: World) -> None:
    begin(world, "outer")
    assert isinstance(begin(world, "inner", parent_id="outer"), Assign)
    assert parent_of(world, "inner") == "outer"


def test_a_parent_that_is_not_to_be_seen_is_as_one_that_there_is_not(world: World) -> None:
    begin(world, "anns", OTHER)
    narrow = Principal("rep", ("reporter",), ("script",))
    assert isinstance(begin(world, "a", parent_id="anns"), Assign)
    assert isinstance(begin(world, "b", parent_id="none-such"), Assign)
    assert isinstance(begin(world, "c", narrow, parent_id="a"), Assign)
    assert [parent_of(world, name) for name in ("a", "b", "c")] == [None, None, "a"]


def test_what_is_seen_and_anothers_is_refused(world: World) -> None:
    begin(world, "anns", OTHER)
    assert begin(world, "bobs", Principal("bob", ("operator",)), parent_id="anns").code == "forbidden"
    assert isinstance(begin(world, "roots", Principal("root", ("admin",)), parent_id="anns"), Assign)


@pytest.mark.scenario("J33")
@pytest.mark.parametrize(
    ("who", "below"),
    [
        # It is seen, and another's: below it puts only who may cancel it.
        (Principal("bob", ("operator",)), None),
        # It is not seen.
        (REPORTER, None),
        (Principal("root", ("admin",)), "anns"),
        (OTHER, "anns"),
    ],
)
def test_what_was_left_on_disk_has_no_parent_that_it_could_not_have_had(
    world: World, who: Principal, below: str | None
) -> None:
    """Its outcome counts all the same: what has ended is not lost for where it was to stand."""
    begin(world, "anns", OTHER)
    measure = OperationMeasure(1, 9, 0, done=1.0, total=1.0)
    word = LastWord(
        announce=Announce(
            principal=who, operation_id="left", kind="script", name="n", measure=measure, parent_id="anns"
        ),
        outcome=Outcome(operation_id="left", generation=1, state="completed", final=measure),
        kept_at_ms=world.now.wall_ms,
    )
    world.handle(Heard(owner_hello().source, (word,), True))
    world.write()
    assert (world.rows["left"].operation.state, parent_of(world, "left")) == ("completed", below)
