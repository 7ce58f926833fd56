"""What the runtime uses, for watchers who ask for it."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.sessions.pace import Pace
from rfm_runtime.protocol.messages import Subscribe, Unsubscribe
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.resources import (
    GetMetrics,
    Health,
    HostUsage,
    MetricsReply,
    ProcessUsage,
    ResourceReport,
    Resources,
)
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("J18")


def told(at_ms):
    process = ProcessUsage(name="broker", role="broker", pid=1)
    report = ResourceReport(process=process, host=HostUsage(cores=2), health=Health(), measured_at_ms=at_ms)
    return Resources(measured_at_ms=at_ms, reports=(report,))


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def gate(story):
    return Gate(story.answer).boot()


def tell(gate, story, at_ms):
    gate.feed(msgspec.structs.replace(story.frame(), resources=told(at_ms)))


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_who_subscribed_to_it_is_told_each_time(gate, story, encoding):
    watcher = gate.connect(encoding).hello("eve").subscribe(metrics=True)
    other = gate.connect(encoding).hello("eve").subscribe()
    for at_ms in (1, 2):
        tell(gate, story, at_ms)
    assert watcher.all(Resources) == [told(1), told(2)]
    assert other.all(Resources) == []


def test_a_late_one_is_told_the_newest(gate, story):
    tell(gate, story, 1)
    assert gate.connect().hello("eve").subscribe(metrics=True).all(Resources) == [told(1)]


def test_a_slow_one_is_told_the_newest_alone(gate, story):
    watcher = gate.connect().hello("eve").subscribe(metrics=True)
    watcher.forget()
    watcher.frozen = True
    watcher.take(b"x" * gate.settings.write_limit_bytes, binary=False)
    for at_ms in (1, 2, 3):
        tell(gate, story, at_ms)
    watcher._stuck.popleft()
    watcher.frozen = False
    watcher.read()
    gate.ticks(1.0)
    assert watcher.all(Resources) == [told(3)]


def test_who_wants_it_no_more_is_told_no_more(gate, story):
    watcher = gate.connect().hello("eve").subscribe(metrics=True)
    watcher.say(Unsubscribe())
    tell(gate, story, 1)
    watcher.say(Subscribe())
    tell(gate, story, 2)
    assert watcher.all(Resources) == []


def test_it_can_be_asked_for(gate, story):
    watcher = gate.connect().hello("eve")
    watcher.say(GetMetrics(), request_id=1)
    tell(gate, story, 1)
    watcher.say(GetMetrics(), request_id=2)
    assert watcher.all(MetricsReply) == [MetricsReply(), MetricsReply(told(1))]


@pytest.mark.scenario("G3")
def test_who_may_see_nothing_does_not_see_this(gate):
    watcher = gate.connect().hello("nobody")
    watcher.say(GetMetrics(), request_id=1)
    assert [error.code for error in watcher.all(ErrorInfo)] == ["forbidden"]


def test_a_gateway_says_how_many_sessions_are_slow(gate):
    gate.connect().hello("eve")
    watcher = gate.connect().hello("eve")
    assert gate.core.usage(told(1).reports[0]).sessions == 2
    assert gate.core.usage(told(1).reports[0]).slow_sessions == 0
    session = gate.core.sessions[watcher.number]
    session.pace = Pace(step=1)
    assert gate.core.usage(told(1).reports[0]).slow_sessions == 1
