"""Quotas at a real runtime, before and after its broker was killed and it was started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.errors import QuotaExceededError
from rfm_runtime.testing.runtime import eventually, runtime
from tests.whole import ENDLESS, KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J53")]


def test_a_quota_holds_through_a_killed_broker_and_a_restart(tmp_path: Path) -> None:
    endless_px = int(ENDLESS["width_px"]) * int(ENDLESS["height_px"])
    limits = {"quota_pixels": endless_px + 10, "quota_stored_bytes": 1000}
    with runtime(tmp_path, workers=1, drain_timeout_s=0.0, **limits) as running:
        with Client(settings=running.settings) as client:
            endless = client.submit(KIND, ENDLESS)
            with pytest.raises(QuotaExceededError, match=f"has {endless_px:,} pixels in renders that have not ended"):
                client.submit(KIND, QUICK)
            running.kill("broker")
            eventually(lambda: client.operation(endless.id).state == "running", timeout_s=30, what="it goes on")
            with pytest.raises(QuotaExceededError, match="pixels"):
                client.submit(KIND, QUICK)
            client.cancel(endless.id)
            assert endless.wait(30) == "canceled"
            assert client.submit(KIND, QUICK).wait(60) == "completed"
            with pytest.raises(QuotaExceededError, match="bytes of files of renders, 1,000 are allowed") as refused:
                client.submit(KIND, QUICK)
            assert "finished_keep_s" in (refused.value.hint or "")
        running.stop()
        running.start()
        with (
            Client(settings=running.settings) as client,
            pytest.raises(QuotaExceededError, match="bytes of files of renders"),
        ):
            client.submit(KIND, QUICK)
