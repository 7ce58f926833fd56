"""Bars over time: none hides another, all of a period are there, marks are round, and zooming keeps its place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.gantt import LONGEST_MS, SHORTEST_MS, Period, kept, laid_out, marks, neighbour

NOW_MS = 1_800_000_000_000.0
PERIOD = Period(NOW_MS - 100_000, NOW_MS, follows=False)


def operation(number: int, begin_s: int, waited_s: int | None, ran_s: int | None) -> Operation:
    begin_ms = int(NOW_MS) - begin_s * 1000
    started_ms = None if waited_s is None else begin_ms + waited_s * 1000
    ended_ms = None if ran_s is None else (started_ms or begin_ms) + ran_s * 1000
    return Operation(
        operation_id=f"op-{number}", kind="loop", name=f"n{number}", owner="ann", at_seq=1, created_at_ms=begin_ms,
        state="running" if ended_ms is None else "completed", started_at_ms=started_ms, ended_at_ms=ended_ms,
    )  # fmt: skip


OPERATIONS = st.lists(
    st.tuples(st.integers(0, 200), st.none() | st.integers(0, 20), st.none() | st.integers(0, 60)), max_size=40
)


@given(OPERATIONS)
def test_no_bar_hides_another_and_all_of_the_period_are_there(drawn: list[tuple[int, int | None, int | None]]) -> None:
    operations = [operation(k, *one) for k, one in enumerate(drawn)]

    spans = laid_out(operations, PERIOD, NOW_MS)

    for span in spans:
        assert span.begin_ms <= span.started_ms <= span.end_ms
    by_lane: dict[int, float] = {}
    for span in spans:
        assert by_lane.get(span.lane, 0.0) <= span.begin_ms, "two bars in one place"
        by_lane[span.lane] = span.end_ms
    ends = {one.operation_id: one.ended_at_ms or NOW_MS for one in operations}
    expected = {one for one, end_ms in ends.items() if end_ms >= PERIOD.begin_ms}
    assert {span.operation_id for span in spans} >= {
        one.operation_id for one in operations if one.operation_id in expected and one.created_at_ms <= PERIOD.end_ms
    }
    most = max((sum(s.begin_ms <= t.begin_ms <= s.end_ms + 200.0 for s in spans) for t in spans), default=0)
    assert 1 + max((span.lane for span in spans), default=-1) <= most, "no more lanes than are needed"


@given(st.floats(0.01, 100.0), st.floats(0.0, 1.0))
def test_zooming_keeps_its_place(factor: float, at: float) -> None:
    zoomed = PERIOD.zoomed(factor, at)

    kept_ms = PERIOD.begin_ms + PERIOD.length_ms * at
    assert abs(zoomed.place(kept_ms) - at) < 1e-6
    assert SHORTEST_MS * 0.999 <= zoomed.length_ms <= LONGEST_MS * 1.001


def test_it_follows_the_clock_until_it_is_moved() -> None:
    following = Period(NOW_MS - 1000, NOW_MS).at(NOW_MS + 5000)
    assert following.begin_ms < NOW_MS + 5000 < following.end_ms

    still = following.moved(-0.5)

    assert still.at(NOW_MS + 50_000) == still


@given(st.floats(SHORTEST_MS, LONGEST_MS), st.integers(1, 30))
def test_marks_are_round_and_not_too_many(length_ms: float, most: int) -> None:
    period = Period(NOW_MS, NOW_MS + length_ms)

    found = marks(period, most)

    assert len(found) <= most + 1
    assert all(period.begin_ms <= mark.at_ms <= period.end_ms for mark in found)
    assert all(mark.at_ms % 1000 == 0 for mark in found)
    assert len({mark.at_ms for mark in found}) == len(found)


@given(OPERATIONS, st.floats(0.1, 4.0), st.floats(-1.5, 1.5))
def test_what_is_kept_is_what_has_a_bar_and_what_lives(spans, zoom, moved) -> None:
    operations = {f"op-{k}": operation(k, *span) for k, span in enumerate(spans)}
    period = PERIOD.zoomed(zoom, 0.5).moved(moved)
    bars = {span.operation_id for span in laid_out(operations.values(), period, NOW_MS)}

    left = kept(operations, period)

    assert bars <= left.keys()
    assert all(one.ended_at_ms is None or one.operation_id in bars for one in left.values())
    assert {one for one in operations if operations[one].ended_at_ms is None} <= left.keys()


@given(OPERATIONS)
def test_keys_go_from_bar_to_bar_in_the_order_of_their_beginning(spans) -> None:
    bars = laid_out([operation(k, *span) for k, span in enumerate(spans)], PERIOD, NOW_MS)
    if not bars:
        assert neighbour(bars, "", 1) is None
        return
    seen = [neighbour(bars, "", 1)]
    for _ in bars[1:]:
        seen.append(neighbour(bars, seen[-1].operation_id, -1))
    assert [(span.begin_ms, span.operation_id) for span in seen] == sorted(
        ((span.begin_ms, span.operation_id) for span in bars), reverse=True
    )
    assert neighbour(bars, seen[-1].operation_id, -1) == seen[-1]
