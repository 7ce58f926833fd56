"""A silence is what was not heard: however short before a look, and whatever its writer says of itself meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.testing.chaos import record
from rfm_runtime.testing.chaos.record import Record

pytestmark = pytest.mark.scenario("J30")


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(record, "time", clock)
    return clock


def test_the_longest_silence_since_the_last_look_is_told_also_when_it_is_over(tmp_path: Path, clock: Clock) -> None:
    written = Record(tmp_path / "watcher.jsonl")
    clock.now_s += 0.9
    written.write("progress")
    clock.now_s += 0.1
    assert written.silence_s() == pytest.approx(0.9)
    # Each is told once, and one that goes on as long as it is by then.
    assert written.silence_s() == pytest.approx(0.1)
    clock.now_s += 3.0
    assert written.silence_s() == pytest.approx(3.1)
    clock.now_s += 1.0
    assert written.silence_s() == pytest.approx(4.1)
    written.close()


def test_who_tries_to_connect_again_and_again_has_heard_nothing(tmp_path: Path, clock: Clock) -> None:
    written = Record(tmp_path / "watcher.jsonl")
    for kind in ("closed", "fresh", "open") * 4:
        clock.now_s += 0.5
        written.write(kind)
    assert written.silence_s() == pytest.approx(6.0)
    written.write("live", seq=1)
    assert written.silence_s() == pytest.approx(6.0)
    assert written.silence_s() == pytest.approx(0.0)
    written.close()
