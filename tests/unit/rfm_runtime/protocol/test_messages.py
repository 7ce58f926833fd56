"""Messages: every limit holds on both of its sides, and nothing that a client sends is unbounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from rfm_runtime.protocol import messages
from rfm_runtime.protocol.limits import (
    CHUNK_LIMIT_BYTES,
    ID_LIMIT,
    LABEL_LIMIT,
    LABELS_LIMIT,
    MESSAGE_LIMIT,
    NAME_LIMIT,
    PAGE_LIMIT,
    PARAMS_DEPTH,
    PRIORITY_MAX,
    PRIORITY_MIN,
)
from rfm_runtime.protocol.messages import NOTICES, REPLIES, REQUESTS
from rfm_runtime.protocol.operation import EVENT_TYPES, TERMINAL_EVENTS

ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:@-"
SUBMIT = {"operation_id": "a", "kind": "k", "request_key": "r"}


def accepts(kind: str, /, **fields: Any) -> bool:
    try:
        msgspec.convert(fields, REQUESTS[kind])
    except msgspec.ValidationError:
        return False
    return True


def lists(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(st.text(ID_CHARACTERS, min_size=1, max_size=ID_LIMIT))
def test_an_id_is_letters_digits_and_a_few_signs(text: str) -> None:
    assert accepts("explain", operation_id=text)


@given(st.text(ID_CHARACTERS, max_size=20), st.characters(exclude_characters=ID_CHARACTERS, codec="utf-8"), st.data())
def test_one_other_character_makes_it_no_id_wherever_it_stands(text: str, wrong: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    assert not accepts("explain", operation_id=text[:at] + wrong + text[at:])


@pytest.mark.parametrize("wrong", ["", "a" * (ID_LIMIT + 1), "a\n", "\na", "../a", "a/b", "a b", "é", "a\0"])
def test_what_could_leave_a_folder_or_a_line_is_no_id(wrong: str) -> None:
    assert not accepts("explain", operation_id=wrong)
    assert not accepts("submit", **SUBMIT | {"operation_id": wrong})
    assert not accepts("submit", **SUBMIT, parent_id=wrong)
    assert not accepts("subscribe", operations=[wrong])


@pytest.mark.parametrize(
    ("kind", "field", "within", "beyond"),
    [
        ("submit", "priority", [PRIORITY_MIN, 0, PRIORITY_MAX], [PRIORITY_MIN - 1, PRIORITY_MAX + 1, 1.5, "1", None]),
        ("submit", "name", ["", "n" * NAME_LIMIT], ["n" * (NAME_LIMIT + 1)]),
        ("submit", "kind", ["k" * NAME_LIMIT], ["k" * (NAME_LIMIT + 1)]),
        ("submit", "request_key", ["r", "r" * 128], ["", "r" * 129]),
        ("submit", "correlation_id", ["", "c" * 64], ["c" * 65]),
        ("submit", "labels", [{str(i): "" for i in range(LABELS_LIMIT)}], [{str(i): "" for i in range(33)}]),
        ("submit", "labels", [{"l" * LABEL_LIMIT: "v" * LABEL_LIMIT}], [{"l" * 257: ""}, {"l": "v" * 257}, {"l": 1}]),
        ("submit", "params", [{"a": lists(PARAMS_DEPTH)}], [{"a": lists(PARAMS_DEPTH + 1)}, [], {"a": 2**63}]),
        ("hello", "token", ["t" * 8192], ["t" * 8193]),
        ("hello", "caps", [["c"] * 32], [["c"] * 33, ["c" * 65]]),
        ("hello", "max_hz", [0.001, 20, 60], [0, -1, 60.1]),
        ("hello", "resume", [{"epoch": "e", "seq": 0}], [{"epoch": "e", "seq": -1}, {"epoch": "e" * 65, "seq": 0}]),
        ("hello", "client", [{"name": "n" * NAME_LIMIT}], [{"name": "n" * 257}, {"version": "v" * 65}]),
        ("subscribe", "operations", ["active", "all", "mine", [], {}], ["some", 1, None, ["a"] * 1001]),
        ("subscribe", "operations", [["a"] * 1000, {"states": ["running"]}], [{"states": ["walking"]}]),
        ("subscribe", "detail", ["summary", "tiles"], ["pixels"]),
        ("subscribe", "max_hz", [60], [0, 61]),
    ],
)
def test_a_field_takes_what_is_within_its_limit_and_nothing_beyond(
    kind: str, field: str, within: list[Any], beyond: list[Any]
) -> None:
    rest = SUBMIT if kind == "submit" else {}
    assert all(accepts(kind, **rest | {field: value}) for value in within)
    assert not [value for value in beyond if accepts(kind, **rest | {field: value})]


@pytest.mark.parametrize(
    ("kind", "field", "within", "beyond"),
    [
        ("cancel_operation", "mode", ["soft", "hard"], ["gentle", ""]),
        ("cancel_operation", "deadline_ms", [0, 3_600_000, None], [-1, 3_600_001]),
        ("cancel_operation", "reason", ["r" * MESSAGE_LIMIT], ["r" * (MESSAGE_LIMIT + 1)]),
        ("set_priority", "priority", [PRIORITY_MIN, PRIORITY_MAX], [PRIORITY_MIN - 1, PRIORITY_MAX + 1]),
        ("list_operations", "limit", [1, PAGE_LIMIT], [0, PAGE_LIMIT + 1]),
        ("list_operations", "cursor", ["c" * 256], ["c" * 257]),
        ("list_operations", "filter", [{"kinds": ["k"] * 32}], [{"kinds": ["k"] * 33}, {"text": "t" * 257}]),
        ("fetch_artifact", "offset", [0, 2**63 - 1], [-1, 2**63]),
        ("fetch_artifact", "length", [1, CHUNK_LIMIT_BYTES], [0, CHUNK_LIMIT_BYTES + 1]),
        ("fetch_artifact", "name", ["n" * NAME_LIMIT], ["n" * (NAME_LIMIT + 1)]),
        ("auth_refresh", "token", ["t" * 8192], ["t" * 8193]),
    ],
)
def test_a_command_takes_what_is_within_its_limit_and_nothing_beyond(
    kind: str, field: str, within: list[Any], beyond: list[Any]
) -> None:
    rest = {"operation_id": "a", "priority": 0, "name": "n", "token": "t"}
    assert all(accepts(kind, **rest | {field: value}) for value in within)
    assert not [value for value in beyond if accepts(kind, **rest | {field: value})]


@pytest.mark.parametrize(("count", "accepted"), [(0, False), (1, True), (256, True), (257, False)])
def test_submit_many_takes_1_to_256(count: int, accepted: bool) -> None:
    assert accepts("submit_many", operations=[SUBMIT] * count) == accepted


def inner(kind: inspect.Type, path: str) -> list[tuple[inspect.Type, str]]:
    """The types that a value of this type holds, with their places."""
    match kind:
        case inspect.StructType():
            # `params` and `details` are bounded as a whole, by PARAMS_LIMIT_BYTES and DETAILS_LIMIT_BYTES.
            fields = [field for field in kind.fields if field.name not in ("params", "details")]
            return [(field.type, f"{path}.{field.name}") for field in fields]
        case inspect.UnionType():
            return [(one, path) for one in kind.types]
        case inspect.ListType() | inspect.VarTupleType():
            return [(kind.item_type, f"{path}[]")]
        case inspect.DictType():
            return [(kind.key_type, f"{path} key"), (kind.value_type, f"{path}[]")]
    return []


def is_bounded(kind: inspect.Type) -> bool:
    match kind:
        case inspect.ListType() | inspect.VarTupleType() | inspect.DictType() | inspect.StrType() | inspect.BytesType():
            return kind.max_length is not None
        case inspect.IntType() | inspect.FloatType():
            return kind.le is not None and (kind.ge is not None or kind.gt is not None)
    return True


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_nothing_that_a_client_sends_is_unbounded(name: str) -> None:
    to_see, seen = [(inspect.type_info(REQUESTS[name]), name)], []
    while to_see:
        kind, path = to_see.pop()
        seen.append((kind, path))
        to_see += inner(kind, path)
    assert not [path for kind, path in seen if not is_bounded(kind)]


def test_no_envelope_type_has_two_meanings() -> None:
    tables = [set(REPLIES), set(NOTICES), set(EVENT_TYPES)]
    assert len(set().union(*tables)) == sum(len(table) for table in tables)
    structs = [struct for table in (REQUESTS, REPLIES, NOTICES) for struct in table.values()]
    assert len(set(structs)) == len(structs)


def test_an_outcome_is_an_event() -> None:
    assert TERMINAL_EVENTS < EVENT_TYPES


def test_every_public_struct_is_frozen() -> None:
    # One message is shared by all sessions that it is encoded for.
    structs = [getattr(messages, name) for name in messages.__all__ if isinstance(getattr(messages, name), type)]
    assert len(structs) > 30
    assert all(struct.__struct_config__.frozen for struct in structs if issubclass(struct, msgspec.Struct))
