"""What can be done to operations: the vectors that every face is held to, and a plan is what the server would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.permissions import require
from rfm_runtime.errors import ForbiddenError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationState
from rfm_ui.model.actions import Asker, Offers, Plan, Verb, Wish, plan, priority_after, why_not

VECTORS = json.loads((Path(__file__).parents[2] / "data/ui/actions.json").read_text(encoding="utf-8"))
STATES: tuple[OperationState, ...] = (
    "pending", "queued", "running", "paused", "cancelling", "completed", "failed", "canceled",
)  # fmt: skip
VERBS: tuple[Verb, ...] = ("cancel", "pause", "resume", "retry", "prioritise")
REQUESTS = {
    "cancel": "cancel_operation",
    "pause": "pause",
    "resume": "resume",
    "retry": "submit",
    "prioritise": "set_priority",
}


def operation(
    name: str = "a",
    *,
    state: OperationState = "running",
    owner: str = "ann",
    kind: str = "render",
    priority: int = 0,
    parent_id: str | None = None,
) -> Operation:
    return Operation(
        operation_id=name,
        kind=kind,
        name=name,
        owner=owner,
        state=state,
        at_seq=1,
        created_at_ms=0,
        priority=priority,
        parent_id=parent_id,
    )


def described(one: dict[str, Any]) -> Operation:
    return operation(
        one.get("id", "a"),
        state=one.get("state", "running"),
        owner=one.get("owner", "ann"),
        kind=one.get("kind", "render"),
        priority=one.get("priority", 0),
        parent_id=one.get("parent"),
    )


def asking(vector: dict[str, Any]) -> tuple[Wish, Asker]:
    kinds = vector.get("kinds", ["render"])
    asker = Asker(
        vector.get("user", "ann"),
        tuple(vector.get("roles", ["operator"])),
        None if kinds is None else frozenset(kinds),
    )
    return Wish(vector["verb"], to=vector.get("to"), by=vector.get("by", 0)), asker


@pytest.mark.scenario("J92")
@pytest.mark.parametrize("vector", VECTORS["why_not"], ids=lambda one: f"{one['verb']} {one['state']}")
def test_why_something_cannot_be_done(vector: dict[str, Any]) -> None:
    wish, asker = asking(vector)
    one = described(vector)

    assert why_not(wish, one, asker) == vector["reason"]
    assert Offers([one], asker).hits(wish) == (not vector["reason"])
    if "after" in vector:
        assert priority_after(wish, one) == vector["after"]


@pytest.mark.scenario("J92")
@pytest.mark.parametrize("vector", VECTORS["plans"], ids=lambda one: one["what"])
def test_what_a_wish_does_to_what_is_chosen(vector: dict[str, Any]) -> None:
    wish, asker = asking(vector)
    known = [described(one) for one in (*vector["chosen"], *vector.get("others", ()))]

    found = plan(
        wish,
        known[: len(vector["chosen"])],
        asker,
        lambda operation_id: [one for one in known if one.parent_id == operation_id],
    )

    assert [one.name for one in found.hits] == vector["hits"]
    assert [one.name for one in found.along] == vector["along"]
    assert found.must_confirm == vector["must_confirm"]
    assert found.kinds == vector["counts"]
    assert found.owners == vector["owners"]
    assert found.reasons == vector["reasons"]
    assert found.why_nothing == vector.get("why_nothing", "")
    if vector["hits"]:
        assert (found.words, found.asked) == (vector["words"], vector["asked"])


def numbered(many: list[Operation]) -> list[Operation]:
    """With ids of their own, and two thirds of them parts of others."""
    return [
        msgspec.structs.replace(
            one, operation_id=f"op-{k}", name=f"op-{k}", parent_id=f"op-{(k * 7) % 12}" if k % 3 else None
        )
        for k, one in enumerate(many)
    ]


operations = st.lists(
    st.builds(
        operation,
        state=st.sampled_from(STATES),
        owner=st.sampled_from(["ann", "bob"]),
        kind=st.sampled_from(["render", "copying"]),
        priority=st.integers(-100, 100),
    ),
    max_size=12,
).map(numbered)
wishes = st.builds(
    Wish, st.sampled_from(VERBS), to=st.none() | st.integers(-100, 100), by=st.sampled_from([-10, 10, 300])
)
askers = st.builds(
    Asker,
    st.just("ann"),
    st.lists(st.sampled_from(["viewer", "operator", "admin", "reporter"]), max_size=2).map(tuple),
    st.none() | st.just(frozenset({"render"})),
)


def made(wish: Wish, chosen: list[Operation], asker: Asker, known: list[Operation]) -> Plan:
    return plan(wish, chosen, asker, lambda parent: [one for one in known if one.parent_id == parent])


@given(wishes, operations, askers, st.data())
def test_a_plan_has_each_once_and_nothing_else(
    wish: Wish, known: list[Operation], asker: Asker, data: st.DataObject
) -> None:
    chosen = [one for one in known if data.draw(st.booleans())]

    found = made(wish, chosen, asker, known)

    told = [one.operation_id for one in (*found.hits, *(one for one, _reason in found.left_out))]
    assert sorted(told) == sorted(one.operation_id for one in chosen), "what is chosen is hit or left out"
    assert len({one.operation_id for one in found.everything}) == len(found.everything)
    assert all(reason for _one, reason in found.left_out)
    assert bool(found.why_nothing) != bool(found.hits)
    counted = [int(words.partition(" ")[0].replace(",", "")) for words in found.kinds]
    assert sum(counted) == len(found.everything)
    assert found.must_confirm == (
        len(found.everything) > 1
        or (wish.verb == "cancel" and any(one.owner != "ann" for one in found.everything))
    )  # fmt: skip


@given(wishes, operations, askers)
def test_many_are_looked_at_as_one_by_one(wish: Wish, chosen: list[Operation], asker: Asker) -> None:
    offers, found = Offers(chosen, asker), made(wish, chosen, asker, [])

    assert offers.hits(wish) == len(found.hits)
    assert offers.why_nothing(wish) == found.why_nothing


@given(wishes, operations, askers)
def test_what_is_offered_is_what_the_server_lets_one_do(wish: Wish, known: list[Operation], asker: Asker) -> None:
    who = Principal(asker.user, asker.roles)
    for one in made(wish, known, asker, known).hits:
        require(who, REQUESTS[wish.verb], one.operation_id, one)
        assert (one.state in TERMINAL_STATES) == (wish.verb == "retry")
        assert wish.verb != "prioritise" or -100 <= priority_after(wish, one) <= 100


@given(operations, askers)
def test_what_is_left_out_for_a_right_is_refused_by_the_server(known: list[Operation], asker: Asker) -> None:
    who = Principal(asker.user, asker.roles)
    for one, reason in made(Wish("cancel"), known, asker, known).left_out:
        if reason.startswith(("belongs", "may")) and {"viewer", "operator"} & set(asker.roles):
            with pytest.raises(ForbiddenError):
                require(who, "cancel_operation", one.operation_id, one)
