"""Toasts: a few at once, each as long as it takes to read, none lost that fits, none gone while somebody looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.notifying.notifier import Telling
from rfm_runtime.core.notifying.rules import Ways
from rfm_runtime.core.notifying.words import Tone
from rfm_ui.model.toasts import READ_BAD_S, READ_S, ROOM, WAITING_LIMIT, Stack

pytestmark = pytest.mark.scenario("J119")


def telling(number: int = 0, tone: Tone = "good") -> Telling:
    return Telling(
        when="completed", tone=tone, title=f"t{number}", body="", said="", operation_ids=(), ways=Ways(toast=True)
    )


def titles(stack: Stack) -> list[str]:
    return [one.telling.title for one in stack.shown]


def test_each_goes_once_it_could_be_read_and_what_failed_stays_longer() -> None:
    stack = Stack()
    stack.put(telling(0), 0.0)
    stack.put(telling(1, "bad"), 0.0)
    assert not stack.tick(READ_S - 0.1)
    assert stack.tick(READ_S)
    assert titles(stack) == ["t1"]
    assert stack.tick(READ_BAD_S)
    assert titles(stack) == []


def test_what_has_no_place_waits_and_its_time_begins_when_it_is_shown() -> None:
    stack = Stack()
    for number in range(ROOM + 2):
        stack.put(telling(number), 0.0)
    assert (titles(stack), stack.waiting) == ([f"t{number}" for number in range(ROOM)], 2)
    stack.dismiss(stack.shown[0].number, 5.0)
    assert titles(stack)[-1] == f"t{ROOM}"
    stack.tick(READ_S)
    assert titles(stack) == [f"t{ROOM}", f"t{ROOM + 1}"]
    stack.dismiss_all()
    assert (titles(stack), stack.waiting) == ([], 0)


def test_of_a_flood_the_newest_wait() -> None:
    stack = Stack()
    for number in range(ROOM + WAITING_LIMIT + 5):
        stack.put(telling(number), 0.0)
    assert stack.waiting == WAITING_LIMIT
    stack.tick(READ_S)
    assert titles(stack)[0] == f"t{ROOM + 5}"


def test_while_somebody_looks_none_goes() -> None:
    stack = Stack()
    stack.put(telling(0), 0.0)
    stack.hold(is_held=True, now_s=6.0)
    stack.put(telling(1), 50.0)
    assert not stack.tick(1000.0)
    stack.hold(is_held=False, now_s=1000.0)
    assert not stack.tick(1001.9)
    assert stack.tick(1002.0)
    assert titles(stack) == ["t1"]
    assert not stack.tick(1000.0 + READ_S - 0.1)
    assert stack.tick(1000.0 + READ_S)


@given(st.lists(st.tuples(st.sampled_from(["put", "dismiss", "tick", "hold", "let go"]), st.floats(0.0, 30.0))))
def test_over_any_history_each_is_shown_once_in_order_and_there_is_room(steps: list[tuple[str, float]]) -> None:
    stack = Stack()
    now_s, put = 0.0, 0
    seen: list[int] = []
    for what, wait_s in steps:
        now_s += wait_s
        if what == "put":
            stack.put(telling(put), now_s)
            put += 1
        elif what == "dismiss" and stack.shown:
            stack.dismiss(stack.shown[0].number, now_s)
        elif what == "tick":
            stack.tick(now_s)
        elif what in ("hold", "let go"):
            stack.hold(is_held=what == "hold", now_s=now_s)
        seen += [one.number for one in stack.shown if one.number not in seen]
        assert len(stack.shown) <= ROOM
        assert not stack.waiting or len(stack.shown) == ROOM
    assert seen == sorted(set(seen))
    assert len(seen) + stack.waiting == min(put, len(seen) + WAITING_LIMIT)
