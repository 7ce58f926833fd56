"""What waits for a connection: the vectors that every face is held to, and what holds of any commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.protocol.operation import Operation, OperationState
from rfm_ui.model.pending import Action, Command, PendingCommands, badge, dropped_in_words, phrase, why_not

pytestmark = pytest.mark.scenario("J112")

VECTORS = json.loads((Path(__file__).parents[3] / "data/ui/pending.json").read_text(encoding="utf-8"))


def operation(operation_id: str, state: OperationState, priority: int = 0) -> Operation:
    return Operation(
        operation_id=operation_id,
        kind="k",
        name="",
        state=state,
        owner="ann",
        created_at_ms=0,
        at_seq=1,
        priority=priority,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["name"])
def test_what_becomes_of_them(vector: dict[str, Any]) -> None:
    pending = PendingCommands()
    for action, operation_id, *value in vector["commands"]:
        pending.add(Command(action, operation_id, value=value[0] if value else 0))

    due = pending.due({name: operation(name, state) for name, state in vector["states"].items()})

    def said(command: Command) -> list[Any]:
        return [command.action, command.operation_id, *([command.value] if command.action == "priority" else [])]

    assert [said(one.command) for one in due.send] == vector["send"]
    assert [[one.command.action, one.command.operation_id, why] for one, why in due.dropped] == vector["dropped"]
    assert len(pending) == 0


commands = st.builds(Command, st.sampled_from(get_args(Action)), st.sampled_from("ab"), st.just(""), st.integers(-2, 2))
states = st.dictionaries(st.sampled_from("ab"), st.sampled_from(get_args(OperationState)))
OPPOSITES = {"pause": "resume", "resume": "pause"}


@given(st.lists(commands, max_size=12), states)
def test_no_two_of_one_operation_contradict_each_other(given_: list[Command], known: dict[str, Any]) -> None:
    pending = PendingCommands()
    for command in given_:
        number, gone = pending.add(command)
        waiting = {one.number: one.command for one in pending.all}
        assert number is None or waiting[number] == command
        assert not set(gone) & set(waiting)
        for operation_id in "ab":
            assert pending.of(operation_id) == [one for one in waiting.values() if one.operation_id == operation_id]
            actions = [one.action for one in pending.of(operation_id)]
            assert len(actions) == len(set(actions))
            assert "cancel" not in actions or actions == ["cancel"]
            assert not {"pause", "resume"} <= set(actions)
    last_cancel = {one.operation_id for one in given_ if one.action == "cancel"}
    assert last_cancel <= {one.command.operation_id for one in pending.all}, "a cancel is never lost"
    numbers = [one.number for one in pending.all]
    assert numbers == sorted(numbers), "they are sent in the order in which they were given"

    operations = {name: operation(name, state) for name, state in known.items()}
    before = pending.all
    due = pending.due(operations)

    assert sorted([*due.send, *(one for one, _why in due.dropped)], key=lambda one: one.number) == before
    assert all(not why_not(one.command, operations.get(one.command.operation_id)) for one in due.send)
    assert all(why for _one, why in due.dropped)
    assert pending.due(operations).send == []


@given(st.lists(commands, min_size=1, max_size=8), st.data())
def test_what_is_taken_back_is_not_sent_and_nothing_else_is_missing(given_: list[Command], data: st.DataObject) -> None:
    pending = PendingCommands()
    for command in given_:
        pending.add(command)
    before = pending.all
    if not before:
        return
    chosen = data.draw(st.sampled_from(before))
    assert pending.take_back(chosen.number)
    assert not pending.take_back(chosen.number)
    assert pending.due({}).send == [one for one in before if one != chosen]


def test_in_words() -> None:
    assert dropped_in_words(["a", "b"]) == "a; b"
    assert dropped_in_words([str(number) for number in range(1205)]) == "0; 1; 2; 3; 4; and 1,200 more"
    assert badge([]) == ""
    assert badge([Command("pause", "x"), Command("priority", "x", value=5)]) == "to be sent: pause, priority +5"
    assert phrase(Command("cancel", "01J0000000ABCDEFGH", "photos")) == "cancel photos"
    assert phrase(Command("cancel", "01J0000000ABCDEFGH")) == "cancel ABCDEFGH"
    assert phrase(Command("priority", "x", "a\nb", 5)) == "give a?b priority +5"
    assert phrase(Command("priority", "x", "photos", 0)) == "give photos priority 0"
    assert phrase(Command("retry", "x", "photos")) == "retry photos"
