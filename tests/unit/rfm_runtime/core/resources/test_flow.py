"""What goes through a process: rates are those of the interval, quantiles are durations that occurred."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.resources.flow import KEPT, FlowMeter
from rfm_runtime.protocol.resources import Flow

pytestmark = pytest.mark.scenario("E11", "J106")


def test_rates_are_those_since_the_last_time() -> None:
    meter = FlowMeter(10.0)
    first = meter.flow(12.0, messages=100, coalesced=10, connections=4, waiting=3)
    assert first == Flow(messages_per_s=50.0, coalesced_per_s=5.0, connections_per_s=2.0, waiting=3)
    again = meter.flow(14.0, messages=104, coalesced=10, connections=4, waiting=0)
    assert again == Flow(messages_per_s=2.0)


def test_a_count_that_is_smaller_is_no_negative_rate() -> None:
    meter = FlowMeter(0.0)
    meter.flow(1.0, messages=100, coalesced=100, connections=0, waiting=0)
    assert meter.flow(2.0, messages=50, coalesced=0, connections=0, waiting=0) == Flow()
    assert meter.flow(2.0, messages=60, coalesced=0, connections=0, waiting=0).messages_per_s == 0.0


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=300))
def test_quantiles_are_durations_that_occurred(seconds: list[float]) -> None:
    meter = FlowMeter(0.0)
    for one in seconds:
        meter.took(one)
    flow = meter.flow(1.0, messages=0, coalesced=0, connections=0, waiting=0)
    p50_ms, p99_ms = flow.latency_p50_ms, flow.latency_p99_ms
    assert p50_ms is not None
    assert p99_ms is not None
    known = {round(1000.0 * one, 3) for one in seconds}
    assert {p50_ms, p99_ms} <= known
    assert 2 * sum(round(1000.0 * one, 3) <= p50_ms for one in seconds) >= len(seconds)
    assert 100 * sum(round(1000.0 * one, 3) > p99_ms for one in seconds) <= len(seconds)
    # They count once.
    assert meter.flow(2.0, messages=0, coalesced=0, connections=0, waiting=0).latency_p50_ms is None


def test_memory_is_bounded() -> None:
    meter = FlowMeter(0.0)
    for number in range(3 * KEPT):
        meter.took(float(number))
    flow = meter.flow(1.0, messages=0, coalesced=0, connections=0, waiting=0)
    assert flow.latency_p50_ms == 1000.0 * (2 * KEPT + KEPT // 2 - 1)
