"""What is written down, and that a flood of it is bounded and counted to the last one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.config import Settings
from rfm_runtime.core.auditing import (
    EVENTS,
    KEYS_LIMIT,
    LINES_BURST,
    LINES_PER_S,
    UNCOUNTED,
    WINDOW_S,
    AuditEvent,
    Auditor,
    Entry,
    weakened,
)

pytestmark = pytest.mark.scenario("J51")

STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 6.0),
        st.sampled_from(get_args(AuditEvent)),
        st.sampled_from(["", "ann", "bob"]),
        st.integers(1, 40),
    ),
    max_size=60,
)


def test_every_event_is_explained() -> None:
    assert EVENTS.keys() == set(get_args(AuditEvent))


@given(STEPS)
def test_everything_is_counted_once_and_the_first_of_a_kind_at_once(steps: list[tuple[float, Any, str, int]]) -> None:
    now_s, noted, written = 0.0, dict.fromkeys(EVENTS, 0), dict.fromkeys(EVENTS, 0)
    auditor = Auditor(now_s)
    seen: set[tuple[str, str]] = set()
    for elapsed_s, event, user, times in steps:
        now_s += elapsed_s
        for _ in range(times):
            auditor.note(Entry(at_ms=round(now_s * 1000), event=event, user=user, session=f"s{times}"), now_s)
        noted[event] += times
        lines = auditor.take(now_s)
        if (event, user) not in seen:
            seen.add((event, user))
            assert any((line.event, line.user) == (event, user) for line in lines)
        for line in lines:
            written[line.event] += line.count
        auditor.sanity_check()
    for line in auditor.take(now_s, all_of_it=True):
        written[line.event] += line.count
    assert written == noted
    assert auditor.take(now_s, all_of_it=True) == []


def test_repetitions_within_a_window_are_one_line_with_their_number() -> None:
    auditor = Auditor(0.0)
    for number in range(1000):
        auditor.note(Entry(at_ms=number, event="sign_in_refused", address="a", reason="wrong token"), number / 1000)
    assert [line.count for line in auditor.take(1.0)] == [1]
    assert auditor.take(WINDOW_S / 2) == []
    (line,) = auditor.take(WINDOW_S)
    assert (line.count, line.at_ms, line.address) == (999, 1, "a")
    assert auditor.take(3 * WINDOW_S) == []


def test_a_flood_of_different_ones_writes_a_bounded_number_of_lines_and_hides_nobody_elses() -> None:
    auditor = Auditor(0.0)
    lines: list[Entry] = []
    for number in range(100_000):
        now_s = number / 1000
        auditor.note(Entry(at_ms=number, event="denied", user="eve", operation_id=f"op-{number}"), now_s)
        if number % 50 == 0:
            lines += auditor.take(now_s)
    auditor.note(Entry(at_ms=0, event="acted_on_anothers", user="root"), 100.0)
    auditor.sanity_check()
    lines += auditor.take(100.0, all_of_it=True)
    assert len(lines) <= LINES_BURST + 100 * LINES_PER_S + 100 / WINDOW_S + KEYS_LIMIT
    assert sum(line.count for line in lines if line.event == "denied") == 100_000
    assert [line.user for line in lines if line.event == "acted_on_anothers"] == ["root"]


def test_what_is_done_to_others_has_a_line_each() -> None:
    auditor = Auditor(0.0)
    for event in sorted(UNCOUNTED):
        for _ in range(3):
            auditor.note(Entry(at_ms=0, event=event, user="root"), 0.0)
    assert len(auditor.take(0.0)) == 3 * len(UNCOUNTED)


FOLDERS = {"state_dir": "/s", "runtime_dir": "/r", "cache_dir": "/c"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ()),
        ({"host": "0.0.0.0"}, ("host",)),
        ({"host": "::1", "port": 1}, ()),
        ({"allowed_origins": ("https://lab.example",)}, ("allowed_origins",)),
        ({"commands_per_s": 49.0, "connections_per_user": 15}, ()),
        ({"host": "127.0.0.2"}, ()),
        ({"user_commands_per_s": 200.0, "user_inbound_per_s": 750.0, "client_inbound_per_s": 500.0}, ()),
        (
            {"user_commands_per_s": 201.0, "user_inbound_per_s": 751.0, "client_inbound_per_s": 501.0},
            ("user_commands_per_s", "user_inbound_per_s", "client_inbound_per_s"),
        ),
        ({"commands_per_s": 51.0, "connections_per_user": 17}, ("connections_per_user", "commands_per_s")),
    ],
)
def test_what_protects_less_than_by_default_is_named(given: dict[str, Any], found: tuple[str, ...]) -> None:
    settings = msgspec.convert({**FOLDERS, **given}, Settings)
    assert weakened(settings) == found
