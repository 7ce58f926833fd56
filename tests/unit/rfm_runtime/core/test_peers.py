"""Whom a host lets in: the list says it, whatever was done to it before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.peers import REMEMBERED, SAY_AGAIN_S, Doorkeeper, allowing, listed, revoking, written
from rfm_runtime.errors import ConfigError

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)
LISTS = st.dictionaries(NAMES, KEYS, max_size=8).filter(lambda found: len(set(found.values())) == len(found))
OWN = b"\x01" * 32


@given(LISTS)
def test_a_list_is_read_as_it_was_written(allowed: dict[str, str]) -> None:
    assert listed(written(allowed), "f") == allowed


def refusal(call: Callable[..., Any], *arguments: Any) -> ConfigError | None:
    try:
        call(*arguments)
    except ConfigError as error:
        return error
    return None


@given(st.text() | st.lists(st.sampled_from(["a", "1" * 64, " ", "\n", "#"])).map("".join))
def test_any_text_is_a_list_or_refused_with_its_line(text: str) -> None:
    refused = refusal(listed, text, "the-file")
    if refused is None:
        found = listed(text, "the-file")
        assert listed(written(found), "f") == found
    else:
        assert "the-file, line " in refused.message
        assert refused.hint


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(["1" * 64, "2" * 64, "3" * 64]))))
def test_names_and_keys_stay_one_to_one(steps: list[tuple[bool, str, str]]) -> None:
    allowed: dict[str, str] = {}
    for adds, name, key in steps:
        change: tuple[Any, ...] = (allowing, allowed, name, key) if adds else (revoking, allowed, name)
        refused = refusal(*change)
        if refused is None:
            allowed = change[0](*change[1:])
            assert (name in allowed) is adds
        else:
            assert refused.hint
            assert (name in allowed or key in allowed.values()) if adds else name not in allowed
        assert len(set(allowed.values())) == len(allowed)


@pytest.mark.parametrize(
    ("name", "key"), [("", "1" * 64), ("a b", "1" * 64), ("a", "1" * 63), ("a", "g" * 64), ("a", ""), ("\n", "1" * 64)]
)
def test_what_is_no_name_or_key_is_refused(name: str, key: str) -> None:
    with pytest.raises(ConfigError):
        allowing({}, name, key)


@given(LISTS, LISTS, st.lists(st.binary(max_size=40)))
def test_exactly_those_on_the_list_are_let_in(first: dict[str, str], then: dict[str, str], others: list[bytes]) -> None:
    keeper = Doorkeeper(OWN, first)
    gone = keeper.relist(then)
    assert set(gone) == {name for name, key in first.items() if key not in then.values() and key != OWN.hex()}
    assert keeper.knock(OWN) == "this host"
    for name, key in then.items():
        assert keeper.knock(bytes.fromhex(key)) in {name, "this host"}
    strangers = [key for key in others if key.hex() not in then.values() and key != OWN]
    assert [keeper.knock(key) for key in strangers] == [None] * len(strangers)
    assert keeper.refused == len(strangers)


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 100)), max_size=600))
def test_a_refused_key_is_said_once_a_minute_and_invented_ones_fill_no_log(knocks: list[tuple[int, float]]) -> None:
    keeper = Doorkeeper(OWN, {})
    now_s = 0.0
    said: dict[bytes, float] = {}
    for number, wait_s in knocks:
        now_s += wait_s
        key = number.to_bytes(32, "big")
        if keeper.worth_saying(key, now_s):
            assert now_s - said.get(key, -SAY_AGAIN_S) >= SAY_AGAIN_S
            said[key] = now_s
        assert sum(now_s - at < SAY_AGAIN_S for at in said.values()) <= REMEMBERED
