"""Garbage is counted each time and said once a second."""

from __future__ import annotations

from collections import Counter

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.observe import logs
from rfm_runtime.observe.garbage import Garbage


@pytest.mark.scenario("G9")
def test_a_flood_is_counted_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    garbage = Garbage(logs.get("test"), lambda socket: counts.update([socket]))
    with caplog.at_level("WARNING"):
        for _ in range(1000):
            garbage.found("command", BadRequestError("nothing that is anything"))
        garbage.found("data", BadRequestError("nor this"))
    assert counts == {"command": 1000, "data": 1}
    assert 2 <= len(caplog.records) <= 5
