"""The lag of a loop: a blocked one shows it, while it is blocked too; one that does not run has none."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from rfm_runtime.observe.loop_lag import TICK_S, LoopLag
from rfm_runtime.testing.runtime import eventually
from tests.loops import running_loop

pytestmark = pytest.mark.scenario("J18")


def test_a_loop_that_is_blocked_now_is_late() -> None:
    release = threading.Event()
    with running_loop() as loop:
        lag = LoopLag(loop)
        eventually(lambda: lag.take_ms() is not None, what="the first tick")
        loop.call_soon_threadsafe(release.wait)
        eventually(lambda: (lag.take_ms() or 0.0) > 300.0, what="lag of a blocked loop")
        release.set()
        lag.stop()


def test_a_loop_that_was_blocked_tells_once() -> None:
    blocked = threading.Event()

    def block() -> None:
        time.sleep(3 * TICK_S)
        blocked.set()

    with running_loop() as loop:
        lag = LoopLag(loop)
        eventually(lambda: lag.take_ms() is not None, what="the first tick")
        loop.call_soon_threadsafe(block)
        blocked.wait()
        assert eventually(lag.take_ms, what="lag") >= 2 * TICK_S * 1000
        # A busy machine may be late by itself, but not each time by that much.
        eventually(lambda: (lag.take_ms() or 0.0) < 2 * TICK_S * 1000, what="a loop in time")
        lag.stop()


def test_a_loop_that_does_not_run_has_no_lag() -> None:
    loop = asyncio.new_event_loop()
    lag = LoopLag(loop)
    assert lag.take_ms() is None
    loop.run_until_complete(asyncio.sleep(0))
    assert lag.take_ms() is None
    loop.close()
    assert lag.take_ms() is None
    assert LoopLag(loop).take_ms() is None


def test_no_tick_follows_a_stop() -> None:
    with running_loop() as loop:
        lag = LoopLag(loop)
        eventually(lambda: lag.take_ms() is not None, what="the first tick")
        lag.stop()
        # Nothing renews what was due, so that it seems ever later.
        eventually(lambda: (lag.take_ms() or 0.0) > 2 * TICK_S * 1000, what="no tick")
