"""A crowd that loses its connections at once comes back at the gateway's rate, each watcher once. Real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rfm_runtime.config import Settings
from rfm_runtime.testing.crowd import Comings, Crowd, Wave, comings, metrics, percentile, total
from rfm_runtime.testing.runtime import Runtime, runtime

pytestmark = [pytest.mark.integration, pytest.mark.alone]


def kill(running: Runtime) -> None:
    for name, process in running.processes().items():
        if name.startswith("gateway"):
            process.kill()


def restart(running: Runtime) -> None:
    for name, process in running.processes().items():
        if name.startswith("gateway"):
            process.terminate()


def start_again(running: Runtime) -> None:
    running.stop()
    running.start()


async def storm(running: Runtime, count: int, strike: Callable[[Runtime], None]) -> tuple[Wave, Comings]:
    """A crowd gathers, loses its connections at once, and comes back; how, with what has to hold of it."""
    crowd = Crowd(running.settings, count)
    try:
        await crowd.gather()
        crowd.forget()
        since = datetime.now(UTC)
        await asyncio.to_thread(strike, running)
        wave = await crowd.come_back(60.0)
        came = comings(running.folders.logs, since)
        check(running.settings, wave, came, await asyncio.to_thread(metrics, running.url), count)
        return wave, came
    finally:
        await crowd.close()


def check(settings: Settings, wave: Wave, came: Comings, found: dict[str, float], count: int) -> None:
    rate, gateways = settings.handshakes_per_s, settings.gateways
    assert total(found, "rfm_gateway_sessions") == count
    assert came.sessions_max <= count, "double sessions"
    hellos = sum(value for name, value in found.items() if 'what="received_hello"' in name)
    assert hellos == count, "each said hello once"
    # A bucket of one second's worth, refilled at the rate: by every gateway, which has just started.
    assert count <= gateways * rate * (1.0 + wave.all_live_s)
    assert came.peak_per_s <= 2 * rate
    refused = sum(value for name, value in found.items() if 'what="refused_handshakes"' in name)
    assert refused <= 2 * count, "nobody is sent away again and again"


@pytest.mark.scenario("D5")
@pytest.mark.parametrize("strike", [kill, restart])
def test_a_crowd_comes_back_at_the_rate_of_its_gateway(tmp_path: Path, strike: Callable[[Runtime], None]) -> None:
    count, rate = 200, 50.0
    limits = {"connections_per_address": count, "connections_per_user": count, "handshakes_per_s": rate}
    with runtime(tmp_path, workers=1, **limits) as running:
        wave, _ = asyncio.run(storm(running, count, strike))
        assert wave.all_live_s >= (count - 2 * rate) / rate, "they were let in faster than the rate"


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.timeout(240)
@pytest.mark.scenario("D5")
@pytest.mark.parametrize(("strike", "gateways"), [(kill, 1), (restart, 1), (start_again, 1), (kill, 2)])
def test_two_thousand_watchers_are_live_again_within_15_s(
    tmp_path: Path, strike: Callable[[Runtime], None], gateways: int
) -> None:
    count = 2000
    limits = {"connections_per_address": count, "connections_per_user": count}
    with runtime(tmp_path, workers=1, gateways=gateways, **limits) as running:
        wave, came = asyncio.run(storm(running, count, strike))
        memory = {name: process.memory_info().rss / 2**20 for name, process in running.processes().items()}
        p50, p99 = (percentile(wave.live_s, share) for share in (0.5, 0.99))
        print(
            f"{strike.__name__}, {gateways} gateways: live p50 {p50:.1f} s, p99 {p99:.1f} s, "
            f"all {wave.all_live_s:.1f} s, {wave.tries} tries, peak {came.peak_per_s}/s a gateway, memory {memory}"
        )
        assert wave.all_live_s <= 15.0
