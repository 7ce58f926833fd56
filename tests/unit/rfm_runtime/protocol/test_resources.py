"""Resources: what a process says of itself comes out of both encodings as it went in, and takes little room."""

from __future__ import annotations

from typing import Any, get_args

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from rfm_runtime.protocol import resources
from rfm_runtime.protocol.resources import (
    Advice,
    ChildrenUsage,
    Health,
    HealthState,
    HostUsage,
    ProcessUsage,
    ResourceReport,
    Topic,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
COUNT = st.integers(0, 2**63 - 1)
NUMBER = st.floats(0, allow_nan=False, allow_infinity=False)

reports = st.builds(
    ResourceReport,
    process=st.builds(
        ProcessUsage,
        name=TEXT,
        role=TEXT,
        pid=COUNT,
        cpu_percent=NUMBER,
        memory_bytes=COUNT,
        peak_memory_bytes=COUNT,
        threads=COUNT,
        descriptors=st.none() | COUNT,
        descriptors_limit=st.none() | COUNT,
        sockets=st.none() | COUNT,
        loop_lag_ms=st.none() | NUMBER,
        children=st.builds(ChildrenUsage, processes=COUNT, cpu_percent=NUMBER, memory_bytes=COUNT),
    ),
    host=st.builds(
        HostUsage,
        cores=COUNT,
        cpu_percent=NUMBER,
        load_1m=st.none() | NUMBER,
        memory_total_bytes=COUNT,
        memory_available_bytes=COUNT,
        cgroup_memory_limit_bytes=st.none() | COUNT,
        cgroup_memory_used_bytes=st.none() | COUNT,
        disk_free_bytes=st.none() | COUNT,
        disk_total_bytes=st.none() | COUNT,
    ),
    health=st.builds(Health, st.sampled_from(get_args(HealthState)), st.lists(TEXT).map(tuple)),
    measured_at_ms=COUNT,
)
advices = st.builds(Advice, topic=st.sampled_from(get_args(Topic)), text=TEXT, setting=st.none() | TEXT)


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
@given(reports | advices)
def test_it_comes_out_as_it_went_in(codec: Any, sent: ResourceReport | Advice) -> None:
    assert codec.decode(codec.encode(sent), type=type(sent)) == sent


def test_what_is_not_known_takes_no_room() -> None:
    report = ResourceReport(
        process=ProcessUsage(name="", role="", pid=1), host=HostUsage(cores=1), health=Health(), measured_at_ms=0
    )
    assert msgspec.to_builtins(report) == {
        "process": {"name": "", "role": "", "pid": 1},
        "host": {"cores": 1},
        "health": {},
        "measured_at_ms": 0,
    }


def test_a_state_or_topic_that_nobody_knows_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'sick'"):
        msgspec.convert({"state": "sick"}, Health)
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'weather'"):
        msgspec.convert({"topic": "weather", "text": ""}, Advice)


def test_every_public_struct_is_frozen() -> None:
    # One report is shared by all that it is told to.
    structs = [getattr(resources, name) for name in resources.__all__ if isinstance(getattr(resources, name), type)]
    assert len(structs) == 16
    assert all(struct.__struct_config__.frozen for struct in structs)
