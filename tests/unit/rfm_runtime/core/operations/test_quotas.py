"""Quotas of users: what is refused, with what is used and allowed, and that a restart counts the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_runtime.core.operations.quotas import Charge, charge
from rfm_runtime.engine.limits import MOST
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    DoGet,
    DoSubmit,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    Principal,
    Started,
    Submitted,
)
from rfm_runtime.protocol.messages import Kind, OperationReply, SubmitRequest
from rfm_runtime.protocol.operation import Artifact, ErrorInfo
from rfm_runtime.render.request import AUTO_MAX_ITER
from rfm_runtime.testing.operations import World, owner_hello

pytestmark = pytest.mark.scenario("J53")

KIND = "render.test"
ANN, BOB, ROOT = (Principal(user, ("admin",)) for user in ("ann", "bob", "root"))
SMALL = {"width_px": 100, "height_px": 10, "max_iter": 50}


def world_with(**quotas: Any) -> World:
    world = World(**quotas)
    world.hub.validators = {KIND: lambda _params: None}
    return world


def submit(world: World, operation_id: str, who: Principal = ANN, **params: Any) -> str:
    """ "ok", or the code of the refusal."""
    number = world.submit(operation_id, principal=who, kind=KIND, params={**SMALL, **params})
    world.write()
    answer = world.replies[number]
    return answer.code if isinstance(answer, ErrorInfo) else "ok"


def refusal(world: World, operation_id: str, **params: Any) -> ErrorInfo:
    number = world.submit(operation_id, principal=ANN, kind=KIND, params={**SMALL, **params})
    answer = world.replies[number]
    assert isinstance(answer, ErrorInfo)
    return answer


def end(world: World, operation_id: str, size_bytes: int = 0) -> None:
    """It runs to its end, and leaves a file of that size."""
    kinds = (Kind(kind=KIND, description="", params_schema={}),)
    hello = owner_hello(resumable=(KIND,), slots=50)
    hello = type(hello)(**{name: getattr(hello, name) for name in hello.__struct_fields__} | {"kinds": kinds})
    world.call(b"e", hello, OwnerWelcome)
    world.tick()
    world.write()
    assign = next(m for _, m in reversed(world.pushes) if isinstance(m, Assign) and m.operation_id == operation_id)
    world.call(b"e", Started(operation_id=operation_id, generation=assign.generation, total=1.0), Ack)
    final = OperationMeasure(generation=assign.generation, counter=9, measured_at_ms=0, done=1.0, total=1.0)
    files = (Artifact(name="n", media_type="x/y", size_bytes=size_bytes, sha256="0"),) if size_bytes else ()
    done = Outcome(
        operation_id=operation_id, generation=assign.generation, state="completed", final=final, artifacts=files
    )
    world.call(b"e", done, Ack)


@pytest.mark.parametrize(
    ("quotas", "fits"),
    [
        ({}, 9),
        ({"quota_running": 3}, 3),
        ({"quota_pixels": 3_500}, 3),
        ({"quota_iterations": 200_000}, 4),
        ({"quota_running": 5, "quota_pixels": 2_000, "quota_iterations": 10**9}, 2),
    ],
)
def test_so_many_fit_and_what_ends_makes_room_for_another(quotas: dict[str, int], fits: int) -> None:
    world = world_with(**quotas)
    answers = [submit(world, f"op-{number}") for number in range(9)]
    assert answers == ["ok"] * fits + ["quota_exceeded"] * (9 - fits)
    # Others have their own.
    assert submit(world, "bobs", BOB) == "ok"
    world.cancel("op-0", principal=ROOT)
    world.write()
    assert submit(world, "another") == "ok"
    assert submit(world, "and-another") == ("ok" if fits == 9 else "quota_exceeded")


def test_a_refusal_says_what_is_used_and_allowed_and_when_to_come_again() -> None:
    world = world_with(quota_pixels=1_500)
    assert submit(world, "op") == "ok"
    refused = refusal(world, "more")
    assert refused.code == "quota_exceeded"
    assert refused.message == (
        "ann has 1,000 pixels in renders that have not ended, 1,500 are allowed, and this asks for 1,000 more"
    )
    assert refused.retry_after_ms == 1000
    too_large = refusal(world, "huge", width_px=1000)
    # Whatever ends, it will never fit: a program that comes again would do so for ever.
    assert (too_large.code, too_large.temporary) == ("too_large", False)
    assert too_large.retry_after_ms is None
    assert "smaller" in (too_large.hint or "")


def test_a_repeated_submit_is_no_second_one() -> None:
    world = world_with(quota_running=1)
    assert submit(world, "op") == "ok"
    assert submit(world, "op") == "ok"
    assert submit(world, "more") == "quota_exceeded"


def test_all_or_none_of_a_batch() -> None:
    world = world_with(quota_pixels=2_500)
    batch = tuple(
        SubmitRequest(operation_id=f"op-{n}", kind=KIND, request_key=f"k-{n}", params=dict(SMALL)) for n in range(3)
    )
    assert world.refused(b"g", DoSubmit(principal=ANN, submissions=batch)).code == "too_large"
    assert world.rows == {}
    assert len(world.call(b"g", DoSubmit(principal=ANN, submissions=batch[:2]), Submitted).replies) == 2


def test_files_count_until_their_operation_is_forgotten() -> None:
    world = world_with(quota_stored_bytes=1000, finished_keep=2)
    for number, size_bytes in enumerate((400, 500, 200)):
        assert submit(world, f"op-{number}") == "ok"
        end(world, f"op-{number}", size_bytes)
        # The first two alone would be within it, and are; the third goes beyond, as nobody could know.
    world.tick()
    assert "op-0" not in world.hub.records
    assert submit(world, "four") == "ok"
    end(world, "four", 900)
    world.tick()
    refused = refusal(world, "five")
    assert refused.message == "ann has 1,100 bytes of files of renders, 1,000 are allowed"
    assert submit(world, "bobs", BOB) == "ok"


def test_programs_that_report_count_as_running() -> None:
    world = world_with(quota_running=1, quota_pixels=1)
    world.call(b"r", owner_hello("program", role="reporter", pid=5), OwnerWelcome)
    measure = OperationMeasure(generation=1, counter=1, measured_at_ms=0, done=0.0)

    def announce(operation_id: str) -> Announce:
        return Announce(principal=ANN, operation_id=operation_id, kind="external", name="n", measure=measure)

    world.call(b"r", announce("one"), Assign)
    # Said again is not said twice.
    world.call(b"r", announce("one"), Assign)
    assert world.refused(b"r", announce("two")).code == "quota_exceeded"
    final = OperationMeasure(generation=1, counter=9, measured_at_ms=0, done=1.0)
    # An outcome is never refused for a quota.
    world.call(b"r", Outcome(operation_id="one", generation=1, state="completed", final=final), Ack)
    world.call(b"r", announce("two"), Assign)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "cancel", "end", "restart", "tick"]),
        st.sampled_from([ANN, BOB]),
        st.integers(1, 40),
        st.integers(0, 300),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_nobody_has_more_than_is_allowed_whatever_happens_and_a_restart_counts_the_same(steps: Any) -> None:
    limits = {"quota_running": 3, "quota_pixels": 5_000, "quota_iterations": 200_000, "quota_stored_bytes": 500}
    world = world_with(**limits, finished_keep=3)
    count = 0
    for step, who, size, stored in steps:
        live = sorted(oid for oid in world.hub.live if world.hub.records[oid].operation.owner == who.user)
        match step:
            case "submit":
                count += 1
                submit(world, f"op-{count}", who, width_px=size * 10)
            case "cancel" if live:
                world.cancel(live[0], principal=ROOT)
                world.write()
            case "end" if live:
                end(world, live[0], stored)
            case "restart":
                world.boot()
                world.hub.validators = {KIND: lambda _params: None}
            case _:
                world.tick()
        world.write()
        # Its own tables against all records: see `sanity_check`, which also runs at each step.
        world.hub.sanity_check()
        for user in ("ann", "bob"):
            used = {name: table[user] for name, table in world.hub.quotas.used.items()}
            assert used["running"] <= 3
            assert used["pixels"] <= 5_000
            assert used["iterations"] <= 200_000
    before = {name: dict(table) for name, table in world.hub.quotas.used.items()}
    listed = set(world.hub.records)
    world.boot()
    if set(world.hub.records) == listed:
        assert {name: dict(table) for name, table in world.hub.quotas.used.items()} == before


def test_what_a_render_takes() -> None:
    assert charge("external", {"width_px": 5, "height_px": 5}) == Charge()
    assert charge(KIND, SMALL) == Charge(1_000, 50_000)
    for auto in (0, "auto"):
        assert charge(KIND, {**SMALL, "max_iter": auto}) == Charge(1_000, 1_000 * AUTO_MAX_ITER)
    assert charge(KIND, {}).pixels > 0
    assert AUTO_MAX_ITER == MOST


def test_each_sample_of_a_pixel_may_take_all_its_iterations() -> None:
    assert charge(KIND, {**SMALL, "samples": 4}) == Charge(1000, 4 * 50_000)
    world = world_with(quota_iterations=100_000)
    assert submit(world, "op", samples=2) == "ok"
    assert submit(world, "more") == "quota_exceeded"


def test_whoever_looks_at_forgotten_operations_takes_no_room_from_their_owner() -> None:
    world = world_with(quota_stored_bytes=1000, finished_keep_s=5.0)
    for number in range(3):
        assert submit(world, f"op-{number}") == "ok"
        end(world, f"op-{number}", 600)
        world.tick(6.0)
        world.tick(0.05)
    assert world.hub.records == {}
    for number in range(3):
        world.call(b"g", DoGet(Principal("vi", ("viewer",)), f"op-{number}"), OperationReply)
    assert len(world.hub.records) == 3
    world.hub.sanity_check()
    assert submit(world, "new") == "ok"
    world.tick(6.0)
    world.hub.sanity_check()


def test_a_program_that_calls_its_kind_a_render_has_no_pixels() -> None:
    world = world_with(quota_running=3, quota_pixels=1_000, quota_iterations=50_000)
    world.call(b"r", owner_hello("program", role="reporter", pid=5), OwnerWelcome)
    measure = OperationMeasure(generation=1, counter=1, measured_at_ms=0, done=0.0)
    for name in ("one", "two"):
        announce = Announce(principal=ANN, operation_id=name, kind="render.mine", name="n", measure=measure)
        world.call(b"r", announce, Assign)
    assert dict(world.hub.quotas.used["running"]) == {"ann": 2}
    assert not world.hub.quotas.used["pixels"]
    assert not world.hub.quotas.used["iterations"]
    assert submit(world, "op") == "ok"
    final = OperationMeasure(generation=1, counter=9, measured_at_ms=0, done=1.0)
    world.call(b"r", Outcome(operation_id="one", generation=1, state="completed", final=final), Ack)
    world.hub.sanity_check()
    assert world.hub.quotas.used["pixels"] == {"ann": 1_000}
