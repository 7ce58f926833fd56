"""Health: every condition has its bound, more of anything is never healthier, and nothing flaps."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace

from rfm_runtime.core.resources.health import (
    CGROUP,
    DESCRIPTORS,
    DISK,
    LOOP_LAG_MS,
    MACHINE,
    STARVATION,
    Bound,
    health,
)
from rfm_runtime.protocol.resources import Health, HealthState, HostUsage, ProcessUsage

pytestmark = pytest.mark.scenario("J18")

GIB = 1024**3
LIMIT_BYTES = 2 * GIB
TOTAL_BYTES = 16 * GIB
BOUNDS = [LOOP_LAG_MS, CGROUP, MACHINE, DESCRIPTORS, DISK]
RANKS: dict[HealthState, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2}
STATES: list[HealthState] = ["healthy", "degraded", "unhealthy"]

PROCESS = ProcessUsage(name="broker", role="broker", pid=1, descriptors_limit=1024)
HOST = HostUsage(
    cores=4,
    memory_total_bytes=TOTAL_BYTES,
    memory_available_bytes=TOTAL_BYTES,
    cgroup_memory_limit_bytes=LIMIT_BYTES,
    disk_total_bytes=100 * GIB,
    disk_free_bytes=50 * GIB,
)

processes = st.builds(
    replace,
    st.just(PROCESS),
    descriptors=st.none() | st.integers(0, 1024),
    loop_lag_ms=st.none() | st.floats(0, 10_000),
)
hosts = st.builds(
    replace,
    st.just(HOST),
    load_1m=st.none() | st.floats(0, 100),
    memory_available_bytes=st.integers(0, TOTAL_BYTES),
    cgroup_memory_used_bytes=st.none() | st.integers(0, LIMIT_BYTES),
    disk_free_bytes=st.integers(0, 2 * GIB),
)
samples = st.tuples(processes, hosts)


@st.composite
def previous(draw: st.DrawFn) -> Health | None:
    """What was said after any history."""
    said = None
    for process, host in draw(st.lists(samples, max_size=3)):
        said = health(process, host, said)
    return said


@given(samples, samples, previous())
def test_more_use_is_never_healthier(
    one: tuple[ProcessUsage, HostUsage], other: tuple[ProcessUsage, HostUsage], before: Health | None
) -> None:
    (process, host), (more_process, more_host) = one, other
    worse_process = replace(
        process,
        descriptors=max(process.descriptors or 0, more_process.descriptors or 0),
        loop_lag_ms=max(process.loop_lag_ms or 0.0, more_process.loop_lag_ms or 0.0),
    )
    worse_host = replace(
        host,
        load_1m=max(host.load_1m or 0.0, more_host.load_1m or 0.0),
        memory_available_bytes=min(host.memory_available_bytes, more_host.memory_available_bytes),
        cgroup_memory_used_bytes=max(host.cgroup_memory_used_bytes or 0, more_host.cgroup_memory_used_bytes or 0),
        disk_free_bytes=min(host.disk_free_bytes or 0, more_host.disk_free_bytes or 0),
    )
    least, most = health(process, host, before), health(worse_process, worse_host, before)
    assert RANKS[most.state] >= RANKS[least.state]
    assert len(most.reasons) >= len(least.reasons)


@given(samples, previous())
def test_the_same_use_leads_to_the_same_state_at_once_and_to_the_same_answer_soon(
    sample: tuple[ProcessUsage, HostUsage], before: Health | None
) -> None:
    first = health(*sample, before)
    second = health(*sample, first)
    assert second.state == first.state
    assert set(second.reasons) == set(first.reasons)
    assert health(*sample, second) == second


@given(samples, previous())
def test_the_past_never_makes_a_process_healthier(
    sample: tuple[ProcessUsage, HostUsage], before: Health | None
) -> None:
    assert RANKS[health(*sample, before).state] >= RANKS[health(*sample).state]


@given(samples, previous())
def test_a_state_has_reasons_and_a_healthy_process_has_none(
    sample: tuple[ProcessUsage, HostUsage], before: Health | None
) -> None:
    said = health(*sample, before)
    assert (said.state == "healthy") == (not said.reasons)
    topics = [reason.partition(":")[0] for reason in said.reasons]
    assert len(set(topics)) == len(topics)


@pytest.mark.parametrize("bound", BOUNDS)
@given(figures=st.lists(st.floats(0.0, 0.999), min_size=1, max_size=20))
def test_a_figure_that_hovers_at_a_bound_stays_what_it_was_reported_as(bound: Bound, figures: list[float]) -> None:
    state = bound.state(bound.degraded, "healthy")
    assert state == "degraded"
    for share in figures:
        state = bound.state(bound.degraded * (1.0 - bound.margin * share), state)
        assert state == "degraded"
    assert bound.state(bound.degraded * (1.0 - 1.01 * bound.margin), state) == "healthy"


@pytest.mark.parametrize("bound", BOUNDS)
@given(figures=st.lists(st.floats(0.0, 0.999), min_size=1, max_size=20))
def test_a_figure_that_stays_below_a_bound_is_never_reported(bound: Bound, figures: list[float]) -> None:
    state: HealthState = "healthy"
    for share in figures:
        state = bound.state(bound.degraded * share, state)
        assert state == "healthy"


@pytest.mark.parametrize("bound", [*BOUNDS, STARVATION])
def test_a_process_that_recovers_passes_from_unhealthy_over_degraded(bound: Bound) -> None:
    assert bound.degraded < bound.unhealthy * (1.0 - bound.margin)
    assert [bound.state(bound.degraded, before) for before in STATES] == ["degraded"] * 3


@pytest.mark.parametrize(
    ("process", "host", "state", "reason"),
    [
        ({"loop_lag_ms": 300.0}, {}, "degraded", "event loop: it came up to 300 ms late"),
        ({"loop_lag_ms": 2500.0}, {}, "unhealthy", "event loop: it came up to 2500 ms late"),
        (
            {},
            {"cgroup_memory_used_bytes": int(1.8 * GIB) + 1},
            "degraded",
            "memory: 1.8 of 2.0 GiB of the cgroup's limit are used",
        ),
        (
            {},
            {"cgroup_memory_used_bytes": LIMIT_BYTES},
            "unhealthy",
            "memory: 2.0 of 2.0 GiB of the cgroup's limit are used",
        ),
        (
            {},
            {"memory_available_bytes": GIB // 2},
            "degraded",
            "machine's memory: 0.5 of 16.0 GiB are available",
        ),
        ({"descriptors": 1000}, {}, "unhealthy", "descriptors: 1,000 of 1,024 are open"),
        ({}, {"disk_free_bytes": GIB // 2}, "degraded", "disk: 0.5 of 100.0 GiB are free where the state is"),
        ({}, {"disk_free_bytes": 0}, "unhealthy", "disk: 0.0 of 100.0 GiB are free where the state is"),
        (
            {"loop_lag_ms": 150.0},
            {"load_1m": 12.0},
            "degraded",
            "cpu: a load of 12.0 on 4 usable cores, and the event loop came 150 ms late",
        ),
    ],
)
def test_a_reason_says_its_figures(
    process: dict[str, float], host: dict[str, float], state: HealthState, reason: str
) -> None:
    assert health(replace(PROCESS, **process), replace(HOST, **host)) == Health(state, (reason,))


def test_the_worst_comes_first() -> None:
    said = health(replace(PROCESS, loop_lag_ms=300.0), replace(HOST, disk_free_bytes=0))
    assert [reason.partition(":")[0] for reason in said.reasons] == ["disk", "event loop"]
    assert said.state == "unhealthy"


def test_load_alone_is_no_fault() -> None:
    assert health(PROCESS, replace(HOST, load_1m=400.0)).state == "healthy"
    assert health(replace(PROCESS, loop_lag_ms=90.0), replace(HOST, load_1m=400.0)).state == "healthy"


def test_one_condition_that_is_reported_lowers_no_other_bound() -> None:
    before = health(PROCESS, replace(HOST, disk_free_bytes=GIB // 2))
    assert before.state == "degraded"
    below = replace(HOST, cgroup_memory_used_bytes=int(0.88 * LIMIT_BYTES))
    assert health(PROCESS, below, before).state == "healthy"


def test_a_small_file_system_may_be_well() -> None:
    small = replace(HOST, disk_total_bytes=GIB, disk_free_bytes=GIB // 2)
    assert health(PROCESS, small).state == "healthy"
    assert health(PROCESS, replace(small, disk_free_bytes=GIB // 12)).state == "degraded"


def test_what_is_not_known_is_no_fault() -> None:
    assert health(ProcessUsage(name="", role="", pid=1), HostUsage(cores=0)) == Health()
