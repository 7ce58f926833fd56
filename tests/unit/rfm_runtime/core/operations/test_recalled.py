"""Operations that somebody asks for long after they have ended: they are answered for, and push out nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_runtime.core.operations.keeping import RECALLED_LIMIT
from rfm_runtime.protocol.internal import DoGet, DoList, DoSubmit, Principal, Snapshot, SnapshotPage, Submitted
from rfm_runtime.protocol.messages import ListOperations, ListReply, OperationReply, SubmitRequest
from rfm_runtime.testing.operations import KIND, World

pytestmark = pytest.mark.scenario("J53")

ROOT, VIEWER = Principal("root", ("admin",)), Principal("vi", ("viewer",))


def canceled(world: World, *operation_ids: str) -> None:
    """Submitted, and ended before they began."""
    for operation_id in operation_ids:
        world.submit(operation_id, principal=ROOT)
        world.cancel(operation_id, principal=ROOT)
    world.write()


def settle(world: World, elapsed_s: float = 0.05) -> None:
    world.tick(elapsed_s)
    world.tick()
    world.hub.sanity_check()


def look_at(world: World, operation_id: str) -> None:
    assert world.call(b"g", DoGet(VIEWER, operation_id), OperationReply).operation.operation_id == operation_id


def listed(world: World) -> set[str]:
    """As a list has them; a snapshot of a gateway that begins has the same."""
    page = world.call(b"g", DoList(ROOT, ListOperations()), ListReply)
    snapshot = world.call(b"g", Snapshot(), SnapshotPage)
    ids = {operation.operation_id for operation in page.operations}
    assert {operation.operation_id for operation in snapshot.operations} == ids
    assert sum(world.hub.log.committed.counts().values()) == len(ids)
    return ids


def test_a_viewer_pushes_nothing_out_of_the_list() -> None:
    world = World(finished_keep=5, finished_keep_s=3600.0)
    old, new = [f"old-{number}" for number in range(5)], [f"new-{number}" for number in range(5)]
    canceled(world, *old)
    canceled(world, *new)
    settle(world)
    assert listed(world) == set(new)
    for operation_id in old * 2:
        look_at(world, operation_id)
        settle(world)
    assert listed(world) == set(new)
    world.boot()
    assert listed(world) >= set(new)


def test_of_what_is_recalled_the_oldest_is_forgotten_again() -> None:
    count = RECALLED_LIMIT + 20
    world = World(finished_keep=0)
    canceled(world, *(f"op-{number}" for number in range(count)))
    for _ in range(count // 64 + 1):
        settle(world)
    assert not world.hub.records
    for number in range(count):
        look_at(world, f"op-{number}")
    settle(world)
    assert list(world.hub.records) == [f"op-{number}" for number in range(20, count)]
    look_at(world, "op-0")
    assert "op-0" in world.hub.records


def test_one_request_may_speak_of_more_than_are_kept() -> None:
    count = RECALLED_LIMIT + 20
    world = World(finished_keep=0, operations_per_user=2 * count)
    batch = tuple(SubmitRequest(operation_id=f"op-{n}", kind=KIND, request_key=f"k-{n}") for n in range(count))
    for _ in range(2):
        submitted = world.call(b"g", DoSubmit(principal=ROOT, submissions=batch), Submitted)
        for reply in submitted.replies:
            world.cancel(reply.operation_id, principal=ROOT)
        world.write()
        for _ in range(count // 64 + 1):
            settle(world)
    assert all(reply.duplicate for reply in submitted.replies)
    assert len(world.rows) == count


STEPS = st.lists(st.tuples(st.sampled_from(["end", "look", "again", "tick", "boot"]), st.integers(0, 9)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_is_listed_is_what_ended_last_whoever_looks_at_what(steps: Any) -> None:
    world = World(finished_keep=3, finished_keep_s=3600.0)
    ended: list[str] = []
    for step, number in steps:
        match step:
            case "end":
                ended.append(f"op-{len(ended)}")
                canceled(world, ended[-1])
            case "look" if ended:
                look_at(world, ended[number % len(ended)])
            case "again" if ended:
                # The same key once more: it is no second one.
                reply = world.submit(ended[number % len(ended)], principal=ROOT)
                world.write()
                assert world.replies[reply].replies[0].duplicate
            case "boot":
                world.boot()
        settle(world)
        assert listed(world) == set(ended[-3:])
