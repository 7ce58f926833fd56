"""A period from far away: every figure is what a plain count of the same operations gives."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_runtime.core.operations.queries import Life, during
from rfm_runtime.core.reports import timeline as module
from rfm_runtime.core.reports.timeline import timeline
from rfm_runtime.errors import TooLargeError
from rfm_runtime.protocol.operation import OperationState
from rfm_runtime.protocol.timeline import Buckets, GetTimeline

pytestmark = pytest.mark.scenario("E11", "J104")

ENDED: list[OperationState] = ["completed", "failed", "canceled"]
ALIVE: list[OperationState] = ["pending", "queued", "running", "paused", "cancelling"]


def life(number: int = 0, state: OperationState = "completed", **fields: object) -> Life:
    known = {"operation_id": f"op-{number}", "kind": "k", "name": "", "owner": "ann", "created_at_ms": 0}
    return msgspec.convert({"state": state, **known, **fields}, Life)


@st.composite
def lives(draw: st.DrawFn) -> list[Life]:
    """Any, also of clocks that went back."""
    moments = st.integers(0, 60)
    found = []
    for number in range(draw(st.integers(0, 12))):
        ended = draw(st.booleans())
        found.append(
            life(
                number,
                draw(st.sampled_from(ENDED if ended else ALIVE)),
                kind=draw(st.sampled_from(["x", "y", "z"])),
                owner=draw(st.sampled_from(["ann", "bob"])),
                created_at_ms=draw(moments),
                started_at_ms=draw(st.none() | moments),
                ended_at_ms=draw(moments) if ended else None,
            )
        )
    return found


def plain(found: list[Life], wanted: GetTimeline, now_ms: int) -> dict[str, list[int]]:
    """Millisecond by millisecond."""
    figures: dict[str, list[int]] = {
        name: [0] * wanted.bins
        for name in ("submitted", "started", "completed", "failed", "canceled", "peak", "busy_ms")
    }
    for i in range(wanted.bins):
        begin_ms = wanted.since_ms + i * wanted.width_ms
        for at_ms in range(begin_ms, begin_ms + wanted.width_ms):
            running = instant = 0
            for one in found:
                created_ms = one.created_at_ms
                end_ms = None if one.ended_at_ms is None else max(created_ms, one.ended_at_ms)
                start_ms = None if one.started_at_ms is None else max(created_ms, one.started_at_ms)
                if start_ms is not None and end_ms is not None:
                    start_ms = min(start_ms, end_ms)
                figures["submitted"][i] += created_ms == at_ms
                figures["started"][i] += start_ms == at_ms
                if end_ms == at_ms:
                    figures[one.state][i] += 1
                if start_ms is not None:
                    until_ms = max(start_ms, now_ms) if end_ms is None else end_ms
                    running += start_ms <= at_ms < until_ms
                    instant += start_ms == until_ms == at_ms
            figures["busy_ms"][i] += running
            figures["peak"][i] = max(figures["peak"][i], running + instant)
    return figures


def of(buckets: Buckets) -> dict[str, list[int]]:
    return {
        name: list(getattr(buckets, name))
        for name in ("submitted", "started", "completed", "failed", "canceled", "peak", "busy_ms")
    }


@settings(max_examples=300, deadline=None)
@given(
    found=lives(),
    since_ms=st.integers(0, 50),
    width_ms=st.integers(1, 9),
    bins=st.integers(1, 8),
    now_ms=st.integers(0, 70),
    by=st.sampled_from(["kind", "owner", "state"]),
    rows=st.integers(0, 4),
)
def test_every_figure_is_what_a_plain_count_gives(found, since_ms, width_ms, bins, now_ms, by, rows):
    wanted = GetTimeline(since_ms=since_ms, width_ms=width_ms, bins=bins, by=by, rows=rows)
    until_ms = since_ms + width_ms * bins
    there = [one for one in found if during(one.created_at_ms, one.ended_at_ms, since_ms, until_ms)]

    made = timeline(there, wanted, now_ms)

    # Of all of them: what was not there has left no mark.
    assert of(made.everything) == plain(found, wanted, now_ms)
    assert made.everything.operations == len(there)
    assert len(made.rows) <= rows
    names = [row.name for row in made.rows]
    for row in made.rows:
        assert of(row) == plain([one for one in found if getattr(one, by) == row.name], wanted, now_ms)
    left = [one for one in there if getattr(one, by) not in names]
    assert made.others == len({getattr(one, by) for one in left})
    if left:
        assert made.rest is not None
        assert of(made.rest) == plain(left, wanted, now_ms)
    else:
        assert made.rest is None
    busy = [sum(row.busy_ms) for row in made.rows]
    assert busy == sorted(busy, reverse=True)


@settings(max_examples=200, deadline=None)
@given(found=lives(), since_ms=st.integers(0, 60), length_ms=st.integers(1, 30))
def test_what_was_there_is_what_has_a_moment_in_the_period(found, since_ms, length_ms):
    for one in found:
        end_ms = 10**6 if one.ended_at_ms is None else max(one.created_at_ms, one.ended_at_ms)
        moments = range(one.created_at_ms, end_ms + 1)
        meant = any(at_ms in moments for at_ms in range(since_ms, since_ms + length_ms))
        assert during(one.created_at_ms, one.ended_at_ms, since_ms, since_ms + length_ms) == meant


def test_too_many_are_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(module, "LOOKED_LIMIT", 3)
    wanted = GetTimeline(since_ms=0, width_ms=10, bins=1)
    assert timeline([life(number) for number in range(3)], wanted, 5).everything.operations == 3
    with pytest.raises(TooLargeError, match="more than 3 operations") as refused:
        timeline([life(number) for number in range(4)], wanted, 5)
    assert "shorter period" in (refused.value.hint or "")
