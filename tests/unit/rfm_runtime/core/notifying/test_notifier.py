"""What is told, and what is not: vectors that every face is held to, and what holds over any history."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_runtime.core.notifying.notifier import IDS_LIMIT, Moment, Notifier, Telling
from rfm_runtime.protocol.notifying import Quiet, Rule, Rules
from rfm_runtime.protocol.operation import Operation, ProgressUpdate

pytestmark = pytest.mark.scenario("E12", "J116")

VECTORS = json.loads((Path(__file__).parents[4] / "data/ui/notifications.json").read_text(encoding="utf-8"))
WALL_MS = 1_700_000_000_000


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    notifier = Notifier(msgspec.convert(case["rules"], Rules), case["user"])
    for step in case["steps"]:
        now = Moment(step["at_s"], case["begin_ms"] + round(1000 * step["at_s"]), case["offset_s"])
        if "tick" in step:
            told = notifier.tick(now)
        else:
            changed = {one["operation_id"]: msgspec.convert(one, Operation) for one in step["changed"]}
            missed, is_live = set(step.get("missed", ())), step.get("live", True)
            told = notifier.take(changed, now, gone=step.get("gone", ()), missed=missed, is_live=is_live)
        assert json.loads(msgspec.json.encode(told)) == step["told"], step["at_s"]


# --- any history ----------------------------------------------------------------------------------

ALL = Rule(rule_id="all", when=("accepted", "started", "paused", "completed", "failed", "canceled"), whose="anybody")
FAILED = Rule(rule_id="failed", when=("failed",), whose="anybody", urgent=True, sound=True)
STEPS: dict[str, tuple[str, ...]] = {
    "queued": ("running", "canceled"),
    "running": ("paused", "queued", "completed", "failed", "canceled"),
    "paused": ("running", "canceled"),
}


def operation(number: int, state: Any, at_ms: int = WALL_MS, done: float = 0.0) -> Operation:
    operation_id = f"op-{number}"
    ended_at_ms = at_ms if state in ("completed", "failed", "canceled") else None
    started_at_ms = None if state == "queued" else WALL_MS
    latest = ProgressUpdate(operation_id=operation_id, rev=(1, 1), at_seq=1, measured_at_ms=at_ms, done=done)
    return Operation(
        operation_id=operation_id, kind="copy", name=f"name {number}", owner="ann", state=state, at_seq=1,
        created_at_ms=WALL_MS, started_at_ms=started_at_ms, ended_at_ms=ended_at_ms, latest=latest,
    )  # fmt: skip


def histories(steps: list[int]) -> Iterator[Operation]:
    """Operations that come and go on, one step each, as the numbers say."""
    states: dict[int, str] = {}
    for place, step in enumerate(steps):
        alive = [number for number, state in states.items() if state in STEPS]
        if not alive or step % 3 == 0:
            number = len(states)
            states[number] = "queued"
        else:
            number = alive[step % len(alive)]
            following = STEPS[states[number]]
            states[number] = following[step // 3 % len(following)]
        yield operation(number, states[number], WALL_MS + place)


def looked() -> Notifier:
    """One that has seen an empty list."""
    notifier = Notifier(Rules(rules=(ALL, FAILED)), "ann")
    assert not notifier.take({}, Moment(0.0, WALL_MS))
    return notifier


@given(st.lists(st.integers(0, 1000), max_size=200), st.lists(st.floats(0.0, 20.0), min_size=200, max_size=200))
def test_each_thing_that_an_operation_comes_to_is_told_exactly_once(steps: list[int], waits: list[float]) -> None:
    notifier = looked()
    told: list[Telling] = []
    expected: Counter[tuple[str, str]] = Counter()
    seen: dict[str, str] = {}
    now_s = 0.0
    for one, wait_s in zip(histories(steps), waits, strict=False):
        now_s += wait_s
        now = Moment(now_s, WALL_MS + round(1000 * now_s))
        told += [*notifier.tick(now), *notifier.take({one.operation_id: one}, now)]
        reached = {"queued": "accepted" if one.operation_id not in seen else "", "running": "started"}
        when = reached.get(one.state, one.state)
        if when == "started" and seen[one.operation_id] == "paused":
            when = ""
        if when:
            expected[one.operation_id, when] = 1
        seen[one.operation_id] = one.state
    for _ in range(100):
        now_s += 30.0
        told += notifier.tick(Moment(now_s, WALL_MS + round(1000 * now_s)))
    assert sum(one.count for one in told) == sum(expected.values())
    named = Counter((operation_id, str(one.when)) for one in told for operation_id in one.operation_ids)
    assert named == expected
    assert all(one.count == len(one.operation_ids) for one in told)


@given(st.integers(1, 3000), st.floats(0.0, 120.0))
@settings(max_examples=30)
def test_a_flood_is_told_in_few_words_and_all_of_it_is_counted(count: int, over_s: float) -> None:
    notifier = looked()
    told: list[Telling] = []
    second = 0
    for number in range(count):
        at_s = over_s * number / count
        while second < at_s:
            second += 1
            told += notifier.tick(Moment(float(second), WALL_MS))
        done = operation(number, "completed")
        told += notifier.take({done.operation_id: done}, Moment(at_s, WALL_MS))
    for after in range(1, 130):
        told += notifier.tick(Moment(over_s + after, WALL_MS))
    assert sum(one.count for one in told) == count
    # Three at once, then after 5, 10, 20, 40, 60 seconds; where one comes every few seconds it is told.
    assert len(told) <= 3 + max(4, over_s / 10.0) * 1.3
    assert all(len(one.operation_ids) == min(one.count, IDS_LIMIT) for one in told)
    assert [one.count for one in told[:3]] == [1] * min(3, len(told))


@given(st.lists(st.integers(0, 1000), max_size=100))
def test_nothing_is_told_of_what_was_so_before_one_looked(steps: list[int]) -> None:
    newest = {one.operation_id: one for one in histories(steps)}
    notifier = Notifier(Rules(rules=(ALL,)), "ann")
    half = len(newest) // 2
    first, second = dict(list(newest.items())[:half]), dict(list(newest.items())[half:])
    assert not notifier.take(first, Moment(0.0, WALL_MS), missed=first, is_live=False)
    assert not notifier.take(second, Moment(1.0, WALL_MS), missed=second, is_live=True)
    assert not notifier.tick(Moment(100.0, WALL_MS))
    # And of it nothing is told a second time.
    assert not notifier.take(newest, Moment(2.0, WALL_MS))


@given(st.lists(st.integers(0, 1000), max_size=100), st.data())
def test_whatever_was_missed_is_told_in_one_sentence(steps: list[int], data: st.DataObject) -> None:
    """Of a list, in any order and in any pages: what was alive and has ended, and what came and ended meanwhile."""
    all_of_it = list(histories(steps))
    cut = data.draw(st.integers(0, len(all_of_it)))
    before = {one.operation_id: one for one in all_of_it[:cut]}
    after = {one.operation_id: one for one in all_of_it}
    had_ended = {one.operation_id for one in before.values() if one.ended_at_ms is not None}
    have_ended = {one.operation_id for one in after.values() if one.ended_at_ms is not None}
    ended_meanwhile = have_ended - had_ended
    rules = Rules(rules=(Rule(rule_id="ends", when=("completed", "failed", "canceled"), whose="anybody"),))
    notifier = Notifier(rules, "ann")
    notifier.take(before, Moment(0.0, WALL_MS), missed=before)
    # The newest that is known is not newer than what was missed: both are of the server's clock.
    listed = data.draw(st.permutations(list(after.values())))
    page = data.draw(st.integers(0, len(listed)))
    told = []
    for part, is_live in ((listed[:page], False), (listed[page:], True)):
        changed = {one.operation_id: one for one in part}
        told += notifier.take(changed, Moment(9.0, WALL_MS), missed=changed, is_live=is_live)
    assert len(told) == (1 if ended_meanwhile else 0)
    assert sorted(operation_id for one in told for operation_id in one.operation_ids) == sorted(ended_meanwhile)
    assert not notifier.take(after, Moment(10.0, WALL_MS))


NIGHT = Quiet(from_minute=22 * 60, to_minute=7 * 60)


@given(st.lists(st.tuples(st.integers(0, 48 * 60), st.booleans()), max_size=40))
def test_at_night_only_what_is_urgent_is_told_and_the_rest_in_the_morning(happened: list[tuple[int, bool]]) -> None:
    rules = Rules(
        rules=(
            Rule(rule_id="done", when=("completed",), whose="anybody", sound=True, voice=True),
            Rule(rule_id="failed", when=("failed",), whose="anybody", urgent=True, sound=True),
        ),
        quiet=(NIGHT,),
    )
    begin_ms = 1_700_438_400_000
    notifier = Notifier(rules, "ann")
    notifier.take({}, Moment(0.0, begin_ms))
    by_minute: dict[int, list[bool]] = {}
    for minute, failed in happened:
        by_minute.setdefault(minute, []).append(failed)
    told: list[tuple[int, Telling]] = []
    numbers = iter(range(1000))
    for minute in range(72 * 60):
        now = Moment(60.0 * minute, begin_ms + 60_000 * minute)
        told += [(minute, one) for one in notifier.tick(now)]
        for failed in by_minute.get(minute, ()):
            one = operation(next(numbers), "failed" if failed else "completed", begin_ms + 60_000 * minute)
            told += [(minute, telling) for telling in notifier.take({one.operation_id: one}, now)]
    for minute, one in told:
        if minute % 1440 >= 22 * 60 or minute % 1440 < 7 * 60:
            assert one.rules == ("failed",)
        if one.title == "While it was quiet":
            assert minute % 1440 == 7 * 60
            assert not one.ways.sound
            assert not one.ways.voice
    assert sum(one.count for _, one in told) == len(happened)


def running(notifier: Notifier, at_s: float, done: float, **options: Any) -> list[Telling]:
    one = operation(1, "running", WALL_MS + round(1000 * at_s), done)
    return notifier.take({one.operation_id: one}, Moment(at_s, WALL_MS), **options)


@pytest.mark.scenario("J117")
def test_what_stands_still_is_told_once_and_not_while_nobody_can_know() -> None:
    rules = Rules(rules=(Rule(rule_id="still", when=("stalled",), stalled_s=60.0),))
    notifier = Notifier(rules, "ann")
    running(notifier, 0.0, 1.0, missed={"op-1"})
    running(notifier, 50.0, 2.0)
    assert not notifier.tick(Moment(109.0, WALL_MS))
    # A measure that says the same is no progress.
    running(notifier, 105.0, 2.0)
    (told,) = notifier.tick(Moment(110.0, WALL_MS))
    assert (told.title, told.body) == ("name 1 makes no progress", "nothing more was done for 1 m 00 s · copy")
    assert not notifier.tick(Moment(500.0, WALL_MS))

    notifier = Notifier(rules, "ann")
    running(notifier, 0.0, 1.0, missed={"op-1"})
    running(notifier, 10.0, 2.0)
    # The connection is away: it may get on, and nobody hears of it.
    notifier.take({}, Moment(20.0, WALL_MS), is_live=False)
    assert not notifier.tick(Moment(300.0, WALL_MS))
    notifier.take({}, Moment(301.0, WALL_MS), is_live=True)
    assert not notifier.tick(Moment(360.0, WALL_MS))
    assert [one.when for one in notifier.tick(Moment(361.0, WALL_MS))] == ["stalled"]


@pytest.mark.scenario("J117")
def test_each_time_that_a_rule_names_is_told() -> None:
    rules = Rules(rules=tuple(Rule(rule_id=f"{s}", when=("stalled",), stalled_s=s, name=f"{s}") for s in (60.0, 600.0)))
    notifier = Notifier(rules, "ann")
    running(notifier, 0.0, 1.0, missed={"op-1"})
    told = [(second, one.rules) for second in range(1300) for one in notifier.tick(Moment(float(second), WALL_MS))]
    assert told == [(60, ("60.0",)), (600, ("600.0",))]
    # It moves, and stands again: that is no news of the same rule.
    running(notifier, 1300.0, 2.0)
    assert not [one for second in range(1300, 2000) for one in notifier.tick(Moment(float(second), WALL_MS))]


def test_another_server_is_looked_at_anew() -> None:
    notifier = looked()
    one = operation(1, "completed")
    assert notifier.take({one.operation_id: one}, Moment(1.0, WALL_MS))
    notifier.forget()
    others = {f"op-{number}": operation(number, "failed") for number in range(5)}
    assert not notifier.take(others, Moment(2.0, WALL_MS), missed=others)
    assert not notifier.tick(Moment(90.0, WALL_MS))


def test_other_rules_tell_nothing_of_what_was() -> None:
    notifier = Notifier(Rules(), "ann")
    notifier.take({}, Moment(0.0, WALL_MS))
    one = operation(1, "failed")
    assert not notifier.take({one.operation_id: one}, Moment(1.0, WALL_MS))
    notifier.use(Rules(rules=(FAILED,)), "ann")
    assert not notifier.take({one.operation_id: one}, Moment(2.0, WALL_MS))
    other = operation(2, "failed")
    (told,) = notifier.take({other.operation_id: other}, Moment(3.0, WALL_MS))
    assert told.ways.sound


def test_what_is_gone_is_forgotten() -> None:
    notifier = looked()
    for number in range(500):
        one = operation(number, "running")
        notifier.take({one.operation_id: one}, Moment(number, WALL_MS))
        notifier.take({}, Moment(number, WALL_MS), gone=[one.operation_id])
    assert not notifier._states
    assert not notifier._told
    assert not notifier._still
    assert not notifier._stood


def test_of_what_was_missed_in_quiet_hours_the_urgent_is_told_and_the_rest_waits() -> None:
    always = (Quiet(from_minute=0, to_minute=0),)
    notifier = Notifier(Rules(rules=(ALL, FAILED), quiet=always), "ann")
    running = {one.operation_id: one for one in (operation(1, "running"), operation(2, "running"))}
    notifier.take(running, Moment(0.0, WALL_MS), missed=running, is_live=True)
    notifier.take({}, Moment(1.0, WALL_MS), is_live=False)
    ended = {
        one.operation_id: one for one in (operation(1, "failed", WALL_MS + 2), operation(2, "completed", WALL_MS + 2))
    }

    told = notifier.take(ended, Moment(3.0, WALL_MS + 3), missed=ended, is_live=True)

    assert [(one.operation_ids, one.rules, one.ways.sound) for one in told] == [(("op-1",), ("failed",), True)]
    # In the morning the other one, and not the first again.
    notifier.use(Rules(rules=(ALL, FAILED)), "ann")
    assert [one.operation_ids for one in notifier.tick(Moment(4.0, WALL_MS + 4))] == [("op-2",)]
