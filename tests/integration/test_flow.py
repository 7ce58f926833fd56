"""What goes through broker and gateway, as the runtime itself measures it."""

from __future__ import annotations

from functools import partial

import pytest

from rfm_runtime import Client
from rfm_runtime.protocol.resources import UsagePoint
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.whole import ENDLESS, KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J106")]


def newest(client: Client) -> dict[str, tuple[UsagePoint, ...]]:
    return {course.name: course.points for course in client.usage().courses if course.flows}


def test_it_is_measured_and_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    with runtime(tmp_path_factory.mktemp("rt"), workers=1, resources_interval_s=0.5) as running:
        check(running)


def check(running: Runtime) -> None:
    with Client(url=running.url, token=running.info.token) as client:
        operation = client.submit(KIND, QUICK)
        assert operation.wait(60) == "completed"
        eventually(lambda: {"broker", "gateway-0"} <= newest(client).keys(), what="both have a flow")

        def most(name: str, figure: str) -> float:
            return max(float(getattr(point, figure)) for point in newest(client)[name])

        for name in ("broker", "gateway-0"):
            for figure in ("messages_per_s", "latency_p99_ms"):
                eventually(partial(most, name, figure), what=f"{figure} of {name}")
            assert most(name, "latency_p50_ms") <= most(name, "latency_p99_ms")
        eventually(lambda: most("gateway-0", "connections_per_s") > 0.0, what="somebody has come in")
        eventually(lambda: most("engine-0", "messages_per_s") > 0.0, what="tasks that came back")
        endless = client.submit(KIND, ENDLESS)
        try:
            eventually(lambda: most("engine-0", "waiting") > 0.0, what="tiles that wait")
        finally:
            endless.cancel()
