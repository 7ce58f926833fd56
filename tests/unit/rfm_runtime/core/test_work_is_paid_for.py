"""Whoever makes gateway or broker look at thousands of operations pays for it, or they are not looked at."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.committed import Committed
from rfm_runtime.core.operations.queries import SCAN_LIMIT, list_page, matches
from rfm_runtime.core.operations.schedule import ORDERED_AT_ONCE, Candidate, Usage, Waiting, order
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.session import FINISHED_SHOWN
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import AuthRefresh, ListOperations, ListReply, OperationList, ResumeFrom, Subscribed
from rfm_runtime.protocol.operation import ErrorInfo, Operation, OperationFilter
from rfm_runtime.testing.sessions import Gate, Story, Watcher

pytestmark = pytest.mark.scenario("G8", "J70")

FINISHED = 1000


def gate_with_finished(live: int = 0) -> tuple[Gate, Story]:
    story = Story()
    for number in range(FINISHED + live):
        story.accept(f"op-{number:05}")
        if number < FINISHED:
            story.end(f"op-{number:05}")
    return Gate(story.answer, commands_per_s=10.0, commands_burst=20, history_events=10 * FINISHED).boot(), story


def left(watcher: Watcher) -> float:
    return watcher.gate.core.sessions[watcher.number].bucket.tokens


def listed(watcher: Watcher) -> list[str]:
    while not any(page.more is False for page in watcher.all(OperationList)):
        watcher.gate.tick(0.05)
    return [operation.operation_id for page in watcher.all(OperationList) for operation in page.operations]


def test_a_subscription_costs_what_is_looked_at_for_its_list() -> None:
    gate, _ = gate_with_finished(live=100)
    everything, active = gate.connect().hello(), gate.connect().hello()
    everything.subscribe("all")
    active.subscribe("active")
    assert left(everything) == 20.0 - 5.0 - (FINISHED + 100) / 100
    assert left(active) == 20.0 - 5.0 - (FINISHED_SHOWN + 100) / 100
    assert len(listed(everything)) == FINISHED + 100
    newest = [f"op-{number:05}" for number in reversed(range(FINISHED - FINISHED_SHOWN, FINISHED + 100))]
    assert listed(active) == newest, "what has not ended, then what ended last"


def test_who_subscribes_again_and_again_is_told_to_wait_and_so_are_his_other_connections() -> None:
    gate, _ = gate_with_finished()
    watchers = [gate.connect().hello("eve") for _ in range(12)]
    for watcher in watchers:
        for _ in range(4):
            watcher.subscribe("all")
    lists = sum(len(watcher.all(Subscribed)) for watcher in watchers)
    # Of 80 that his connections have together each list costs 15, and the last may owe.
    assert lists <= 6
    assert {error.code for watcher in watchers for error in watcher.all(ErrorInfo)} == {"rate_limited"}
    other = gate.connect().hello("bob").subscribe("all")
    assert len(listed(other)) == FINISHED


def test_who_resumes_pays_for_no_list() -> None:
    gate, story = gate_with_finished()
    watcher = gate.connect().hello(resume=ResumeFrom(epoch=story.epoch, seq=story.head)).subscribe("all")
    assert watcher.all(Subscribed) == [Subscribed(recovered=True)]
    assert left(watcher) == 15.0


def test_a_list_for_another_token_is_paid_for() -> None:
    gate, _ = gate_with_finished()
    gate.grants["narrow"] = Grant(Principal("ann", ("viewer",), ("test",)), 10**12, "id", 1)
    watcher = gate.connect().hello("ann").subscribe("all")
    # Until its bucket is full again.
    gate.tick(10.0)
    watcher.say(AuthRefresh("narrow"), request_id=1)
    assert left(watcher) == 20.0 - 5.0 - FINISHED / 100


def operation(number: int, name: str) -> Operation:
    return Operation(
        operation_id=f"op-{number:06}",
        kind="test",
        name=name,
        owner="ann",
        state="completed",
        at_seq=number,
        created_at_ms=number // 3,
    )


class Looked:
    """Counts what is shown and what is passed over."""

    def __init__(self, committed: Committed) -> None:
        self._committed = committed
        self.count = 0

    def newest(self, states, after):  # type: ignore[no-untyped-def]
        for found in self._committed.newest(states, after):
            self.count += 1
            yield found


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_a_page_of_what_few_pass_ends_in_time_and_all_pages_are_the_whole(limit: int) -> None:
    total = 2 * SCAN_LIMIT + 500
    committed = Committed(operation(n, "rare" if n % 1500 == 0 else "often") for n in range(total))
    wanted = OperationFilter(text="rare")
    expected = [found for found in committed.newest(None, None) if matches(found, wanted)]
    shown: list[Operation] = []
    cursor: str | None = None
    while True:
        looked = Looked(committed)
        request = ListOperations(filter=wanted, limit=limit, cursor=cursor)
        page: ListReply = list_page(looked, request, lambda found: found)  # type: ignore[arg-type]
        assert looked.count <= SCAN_LIMIT
        assert len(page.operations) <= limit
        shown += page.operations
        cursor = page.cursor
        if cursor is None:
            break
    assert shown == expected


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.uuids().map(str),
        st.sampled_from(["ann", "bob", "eve"]),
        st.integers(-3, 3),
        st.floats(0, 1000),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda candidate: candidate.operation_id,
)


@given(CANDIDATES, st.dictionaries(st.sampled_from(["ann", "bob", "eve"]), st.integers(0, 5)))
def test_of_a_few_each_is_told_exactly_how_many_are_ahead(candidates: list[Candidate], hand: dict[str, int]) -> None:
    waiting = Waiting()
    for candidate in candidates:
        waiting.put(candidate, "test")
    ordered = order(candidates, Usage(), hand, 1000.0)
    for place, candidate in enumerate(ordered):
        assert waiting.ahead(candidate, Usage(), hand, 1000.0) == place


def test_thousands_are_put_in_order_for_one_of_many_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 20 * ORDERED_AT_ONCE
    waiting = Waiting()
    candidates = [Candidate(f"op-{number:05}", f"user-{number % 3}", 0, float(number)) for number in range(count)]
    for candidate in candidates:
        waiting.put(candidate, "test")
    looks: Counter[str] = Counter()
    listed_before = waiting.candidates

    def looked() -> list[Candidate]:
        looks["all"] += 1
        return listed_before()

    monkeypatch.setattr(waiting, "candidates", looked)
    places = [waiting.ahead(candidate, Usage(), {}, 0.0) for candidate in candidates]
    assert sorted(places) == list(range(count))
    assert looks["all"] == 1
    # What comes meanwhile is told where its priority puts it.
    late = [Candidate("high", "ann", 1, 0.0), Candidate("same", "ann", 0, 0.0), Candidate("low", "ann", -1, 0.0)]
    for candidate in late:
        waiting.put(candidate, "test")
    assert [waiting.ahead(candidate, Usage(), {}, 0.0) for candidate in late] == [0, count, count]
    # A moment later they stand in the order as well.
    assert waiting.ahead(late[2], Usage(), {}, 1.0) == count + 2
    assert looks["all"] == 2
