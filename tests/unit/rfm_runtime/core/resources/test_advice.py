"""Advice: each rule says what was seen and what to do, and nothing that would then be taken back."""

from __future__ import annotations

import re
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace as changed

from rfm_runtime.core.resources.advice import (
    RULES,
    TILE_PX,
    Facts,
    advise,
    descriptors,
    disk,
    memory,
    tile_size,
    watchers,
    workers,
)
from rfm_runtime.protocol.resources import HostUsage, ProcessUsage

pytestmark = pytest.mark.scenario("J18")

GIB = 1024**3
MIB = 1024**2
HOST = HostUsage(
    cores=8,
    memory_total_bytes=16 * GIB,
    memory_available_bytes=12 * GIB,
    disk_total_bytes=100 * GIB,
    disk_free_bytes=50 * GIB,
)
IDLE = Facts(host=HOST)


def frame(tiles: int, tile_px: int, tile_s: float, count: int = 8) -> Facts:
    return Facts(host=HOST, workers=count, tiles=tiles, tile_px=tile_px, tile_s=tile_s)


def room(count: int, each: int, rest: int, limit: int, cores: int = 8) -> Facts:
    """Workers that hold `each` bytes beside `rest` in a cgroup with that limit."""
    host = changed(
        HOST, cores=cores, cgroup_memory_limit_bytes=limit, cgroup_memory_used_bytes=min(limit, count * each + rest)
    )
    return Facts(host=host, workers=count, worker_memory_bytes=count * each)


def number(setting: str | None) -> int:
    return int((setting or "").partition(" = ")[2])


def test_nothing_is_advised_where_nothing_is_wrong() -> None:
    assert advise(IDLE) == ()
    assert advise(replace(frame(200, 128, 0.05), worker_memory_bytes=GIB, sessions=100, slow_sessions=1)) == ()


def test_a_process_without_an_engine_or_figures_is_told_nothing() -> None:
    assert advise(Facts(host=HostUsage(cores=1), processes=(ProcessUsage(name="a", role="", pid=1),))) == ()


def test_more_workers_than_usable_cores_are_too_many() -> None:
    advice = workers(replace(IDLE, workers=12))
    assert advice is not None
    assert advice.text.startswith("12 workers on 8 usable cores:")
    assert advice.setting == "workers = 8"


def test_fewer_workers_than_usable_cores_are_too_few() -> None:
    advice = workers(replace(IDLE, workers=1))
    assert advice is not None
    assert advice.text.startswith("1 worker on 8 usable cores,")
    assert advice.setting == "workers = 8"


def test_no_more_workers_are_advised_than_memory_has_room_for() -> None:
    assert workers(room(3, 500 * MIB, 0, 2 * GIB)) is None
    advice = workers(room(2, 500 * MIB, 0, 2 * GIB))
    assert advice is not None
    assert advice.setting == "workers = 3"


def test_where_workers_fill_the_memory_as_many_are_advised_as_fit() -> None:
    advice = memory(room(4, 450 * MIB, 100 * MIB, 2 * GIB))
    assert advice is not None
    assert advice.text == (
        "1.9 of 2.0 GiB of the cgroup's limit are used, and 4 workers hold 450 MiB each: 3 would fit. Run 3, or give"
        " them more memory."
    )
    assert advice.setting == "workers = 3"


def test_the_machine_is_the_limit_where_the_cgroup_has_none() -> None:
    host = changed(HOST, memory_available_bytes=GIB)
    advice = memory(Facts(host=host, workers=8, worker_memory_bytes=14 * GIB))
    assert advice is not None
    assert "15.0 of 16.0 GiB of the machine's memory are used" in advice.text


def test_one_worker_is_advised_where_the_rest_leaves_room_for_none() -> None:
    advice = memory(room(4, 100 * MIB, 2 * GIB, 2 * GIB))
    assert advice is not None
    assert advice.setting == "workers = 1"
    alone = memory(room(1, 100 * MIB, 2 * GIB, 2 * GIB))
    assert alone is not None
    assert alone.setting is None


@given(
    st.integers(1, 64), st.integers(1, 8 * GIB), st.integers(0, 4 * GIB), st.integers(GIB, 8 * GIB), st.integers(1, 32)
)
def test_as_many_workers_as_were_advised_are_right(count: int, each: int, rest: int, limit: int, cores: int) -> None:
    before = room(count, each, rest, limit, cores)
    said = [advice for advice in (memory(before), workers(before)) if advice is not None and advice.setting]
    assert len({advice.setting for advice in said}) <= 1
    for advice in said:
        assert 1 <= number(advice.setting) <= cores
        if count * each + rest <= limit:
            after = room(number(advice.setting), each, rest, limit, cores)
            assert workers(after) is None
            again = memory(after)
            assert again is None or again.setting is None


def test_tiles_that_are_done_at_once_are_too_small() -> None:
    advice = tile_size(frame(2040, 64, 0.0012))
    assert advice is not None
    assert advice.text.startswith("2,040 tiles of 64 pixels take 1.2 ms each,")
    assert advice.setting == "tile_px = 128"


def test_tiles_of_ten_seconds_are_too_large() -> None:
    advice = tile_size(frame(400, 256, 12.0))
    assert advice is not None
    assert advice.text.startswith("400 tiles of 256 pixels take 12.0 s each:")
    assert advice.setting == "tile_px = 128"


def test_few_tiles_for_many_workers_are_too_large() -> None:
    advice = tile_size(frame(20, 512, 1.0))
    assert advice is not None
    assert "for 8 workers" in advice.text
    assert advice.setting == "tile_px = 256"


def test_a_small_quick_frame_is_left_alone() -> None:
    assert tile_size(frame(6, 128, 0.001)) is None
    assert tile_size(frame(20, 128, 0.004)) is None


@given(st.integers(1, 100_000), st.integers(*TILE_PX), st.floats(1e-5, 1e4), st.integers(1, 64))
def test_another_size_is_one_that_a_render_takes_and_is_not_taken_back(
    tiles: int, tile_px: int, tile_s: float, count: int
) -> None:
    advice = tile_size(frame(tiles, tile_px, tile_s, count))
    if advice is None:
        return
    edge_px = number(advice.setting)
    assert TILE_PX[0] <= edge_px <= TILE_PX[1]
    area = (edge_px / tile_px) ** 2
    again = tile_size(frame(-(-tiles // 4) if area > 1 else 4 * tiles, edge_px, tile_s * area, count))
    assert again is None or (number(again.setting) > edge_px) == (area > 1)


def test_slow_watchers_are_told_by_the_limits_that_make_them_slow() -> None:
    advice = watchers(replace(IDLE, sessions=20, slow_sessions=7))
    assert advice is not None
    assert advice.text.startswith("7 of 20 sessions get progress at less than 20 Hz, since more than 32 KiB")
    assert "(write_limit_bytes)" in advice.text
    assert advice.setting == "max_hz = 10"


@pytest.mark.parametrize(("sessions", "slow"), [(0, 0), (1, 1), (100, 9)])
def test_few_slow_watchers_are_their_own_affair(sessions: int, slow: int) -> None:
    assert watchers(replace(IDLE, sessions=sessions, slow_sessions=slow)) is None


def test_a_full_disk_is_to_be_cleaned() -> None:
    advice = disk(Facts(host=changed(HOST, disk_free_bytes=GIB // 2)))
    assert advice is not None
    assert advice.text.startswith("0.5 of 100.0 GiB are free where the state is. Remove old renders with")
    assert advice.setting == "state_dir"


def test_the_process_nearest_to_its_limit_of_descriptors_is_named() -> None:
    process = ProcessUsage(
        name="gateway-0", role="gateway", pid=1, descriptors=900, descriptors_limit=1024, sockets=880
    )
    spare = changed(process, name="broker", descriptors=50)
    advice = descriptors(Facts(host=HOST, processes=(spare, process, spare)))
    assert advice is not None
    assert advice.text.startswith("gateway-0 has 900 of 1,024 descriptors open, 880 of them sockets.")
    assert "2,048" in advice.text
    assert advice.setting is None
    assert descriptors(Facts(host=HOST, processes=(spare,))) is None


def test_all_that_is_wrong_is_advised_in_the_order_of_the_rules() -> None:
    process = ProcessUsage(name="gateway-0", role="gateway", pid=1, descriptors=1000, descriptors_limit=1024)
    facts = replace(
        room(12, 300 * MIB, 0, 2 * GIB),
        processes=(process,),
        tiles=20,
        tile_px=256,
        tile_s=20.0,
        sessions=4,
        slow_sessions=4,
    )
    facts = replace(facts, host=changed(facts.host, disk_free_bytes=0))
    said = advise(facts)
    assert [advice.topic for advice in said] == ["memory", "disk", "descriptors", "workers", "tile_size", "watchers"]
    assert len(said) == len(RULES)
    assert all(re.search(r"\d", advice.text) for advice in said)
