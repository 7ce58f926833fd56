"""What stands beside the bar."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.cli.bar import Interval, Message, Rate, details, interruption
from rfm_runtime.protocol.operation import Eta, ProgressUpdate, TileMap


def update(**fields: Any) -> ProgressUpdate:
    values = {"operation_id": "x", "rev": (1, 1), "at_seq": 1, "measured_at_ms": 0, "done": 0.0}
    return ProgressUpdate(**values | fields)


FULL = update(tiles=TileMap(total=135, done=8, committed=b""), eta_ms=Eta(25_100, 37_900))


def test_the_time_left_is_the_last_to_go() -> None:
    assert details(FULL, 11.7e9, 60) == "8/135 tiles, 11.7 G it/s, 25.1 s–37.9 s left"
    assert details(FULL, 11.7e9, 40) == "8/135 tiles, 25.1 s–37.9 s left"
    assert details(FULL, 11.7e9, 20) == "25.1 s–37.9 s left"
    assert details(FULL, 11.7e9, 12) == "8/135 tiles"
    assert details(FULL, 11.7e9, 5) == ""


def test_a_narrow_estimate_is_one_number() -> None:
    assert details(update(eta_ms=Eta(10_000, 11_000)), 0, 60) == "10.0 s left"


def test_the_step_is_said_where_there_are_no_figures() -> None:
    assert details(update(step="image\x1b"), 0, 60) == "image?"
    assert details(update(step="reference orbit"), 0, 10) == "reference…"


def test_what_is_said_before_the_work_begins_is_said_once_and_not_at_all_if_it_is_over_at_once():
    message, waiting = Message(), update(message="compiling", progress=0.0)
    said = []
    for tenth in range(30):
        assert message.told(waiting, tenth / 10)
        said.append(message.due(tenth / 10))
    assert said.index("compiling") == 5
    assert [text for text in said if text] == ["compiling"]
    assert message.told(update(message="finding out", progress=0.0), 3.0)
    assert not message.told(update(progress=0.0), 3.1)
    assert not message.due(9.0)
    assert not message.told(update(message="half of it", progress=50.0), 3.2)
    assert not message.due(9.0)


def test_lines_are_as_far_apart_as_they_are_to_be_from_when_the_work_begins() -> None:
    interval = Interval(0.0)
    waiting = update(message="compiling", tiles=TileMap(total=20, done=0, committed=b""))
    assert not any(interval.is_over(waiting, quarter / 4) for quarter in range(40))
    # What is over at once has no line, however long it was waited for.
    assert not interval.is_over(update(progress=99.0, iterations=5), 10.5)
    assert [quarter for quarter in range(44, 64) if interval.is_over(update(iterations=9), quarter / 4)] == [47, 55, 63]


def test_what_an_operation_says_of_itself_comes_first():
    assert details(update(message="compiling kernels", step="prepare"), 0, 60) == "compiling kernels"
    assert details(update(message="compiling kernels"), 0, 10) == "compiling…"


def test_rate_is_of_the_last_measures_and_never_negative() -> None:
    rate = Rate()
    assert rate.measured(update(measured_at_ms=0, iterations=0)) == 0
    assert rate.measured(update(measured_at_ms=1000, iterations=5000)) == 5000
    assert rate.measured(update(measured_at_ms=1100, iterations=9000)) == 5000
    assert rate.measured(update(measured_at_ms=2000, iterations=5500)) == 500
    assert rate.measured(update(measured_at_ms=3000, iterations=100)) == 0


@pytest.mark.parametrize(
    ("link", "state", "stale", "text"),
    [
        ("live", "running", False, ""),
        ("live", "running", True, "engine silent"),
        ("live", "paused", False, "paused"),
        ("live", "queued", True, "queued"),
        ("live", "completed", False, ""),
        ("reconnecting", "running", False, "connection lost, trying again"),
        ("draining", "paused", True, "connection lost, trying again"),
        ("closed", "running", False, ""),
    ],
)
def test_interruption(link: str, state: str, stale: bool, text: str) -> None:
    assert interruption(link, state, stale=stale) == text
