"""Control groups: the smallest limit on the way to the root, in both versions; nonsense is no limit and no error."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rfm_runtime.observe.cgroups import OOM_LOOK_S, OOM_RECENT_S, CgroupMemory, OomKills, cgroup_memory, cpu_quota

pytestmark = pytest.mark.scenario("J18")

GIB = 1024**3
V1_NO_LIMIT = str(2**63 - 4096)


def machine(root: Path, own: str | bytes, files: dict[str, str | bytes]) -> Path:
    """A folder with the process's groups and files below /sys/fs/cgroup."""
    everything = {"proc/self/cgroup": own, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}
    for name, content in everything.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def test_a_machine_without_groups_has_no_limit(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path) is None
    assert cpu_quota(tmp_path) is None


def test_v2_says_limit_and_use(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/user.slice/rfm.service\n",
        {
            "user.slice/rfm.service/memory.max": f"{2 * GIB}\n",
            "user.slice/rfm.service/memory.current": f"{GIB}\n",
            "user.slice/rfm.service/cpu.max": "150000 100000\n",
        },
    )
    assert cgroup_memory(root) == CgroupMemory(2 * GIB, GIB)
    assert cpu_quota(root) == 1.5


@pytest.mark.parametrize(("inner", "outer"), [(1, 2), (2, 1)])
def test_of_nested_limits_the_smallest_counts_with_its_own_use(tmp_path: Path, inner: int, outer: int) -> None:
    root = machine(
        tmp_path,
        "0::/a/b\n",
        {
            "a/b/memory.max": f"{inner * GIB}",
            "a/b/memory.current": f"{inner}",
            "a/b/cpu.max": f"{inner}00000 100000",
            "a/memory.max": f"{outer * GIB}",
            "a/memory.current": f"{outer}",
            "a/cpu.max": f"{outer}00000 100000",
        },
    )
    assert cgroup_memory(root) == CgroupMemory(GIB, 1)
    assert cpu_quota(root) == 1.0


def test_max_is_no_limit_and_the_one_above_counts(tmp_path: Path) -> None:
    files = {"a/b/memory.max": "max\n", "a/b/cpu.max": "max 100000\n"}
    root = machine(tmp_path, "0::/a/b\n", files)
    assert cgroup_memory(root) is None
    assert cpu_quota(root) is None
    machine(root, "0::/a/b\n", {"a/memory.max": str(GIB), "a/memory.current": "5", "a/cpu.max": "50000 100000"})
    assert cgroup_memory(root) == CgroupMemory(GIB, 5)
    assert cpu_quota(root) == 0.5


def test_v1_says_limit_and_use(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "5:cpu,cpuacct:/rfm\n4:memory:/rfm\n1:name=systemd:/rfm\n",
        {
            "memory/rfm/memory.limit_in_bytes": f"{GIB}\n",
            "memory/rfm/memory.usage_in_bytes": f"{GIB // 2}\n",
            "memory/memory.limit_in_bytes": f"{V1_NO_LIMIT}\n",
            "cpu/rfm/cpu.cfs_quota_us": "200000\n",
            "cpu/rfm/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cgroup_memory(root) == CgroupMemory(GIB, GIB // 2)
    assert cpu_quota(root) == 2.0


def test_v1_without_a_limit_says_so_with_a_number(tmp_path: Path) -> None:
    files = {"memory/memory.limit_in_bytes": V1_NO_LIMIT, "memory/memory.usage_in_bytes": "5"}
    assert cgroup_memory(machine(tmp_path, "4:memory:/\n", files)) is None


def test_in_a_container_of_v1_the_mount_has_the_limit(tmp_path: Path) -> None:
    files = {"memory/memory.limit_in_bytes": str(GIB), "memory/memory.usage_in_bytes": "5"}
    assert cgroup_memory(machine(tmp_path, "4:memory:/docker/0123\n", files)) == CgroupMemory(GIB, 5)


def test_nothing_is_read_from_beside_the_mount(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/../../a\n", {"../a/memory.max": "5", "memory.max": str(GIB)})
    assert cgroup_memory(root) == CgroupMemory(GIB, None)


def test_file_cache_that_the_kernel_gives_up_is_not_used(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/a\n4:memory:/b\n",
        {
            "a/memory.max": "1000",
            "a/memory.current": "900",
            "a/memory.stat": "anon 200\ninactive_file 600\nactive_file 100\n",
            "memory/b/memory.limit_in_bytes": "2000",
            "memory/b/memory.usage_in_bytes": "1500",
            "memory/b/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
        },
    )
    assert cgroup_memory(root) == CgroupMemory(1000, 300)
    (root / "sys/fs/cgroup/a/memory.max").unlink()
    assert cgroup_memory(root) == CgroupMemory(2000, 1000)


NUMBERS = st.sampled_from(
    [b"", b"max", b"-1", b"0", b"1e3", b"1_0", "²".encode(), b"9" * 5000, b"100000", b"max 100000"]
)
CONTENT = st.binary(max_size=40) | NUMBERS | st.lists(NUMBERS, max_size=3).map(b" ".join)
OWN = st.binary(max_size=40) | st.builds(bytes.__add__, st.sampled_from([b"0::/", b"4:memory,cpu:/"]), CONTENT)
NAMES = [
    "memory.max",
    "memory.current",
    "memory.stat",
    "cpu.max",
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "cpu/cpu.cfs_quota_us",
    "cpu/cpu.cfs_period_us",
]


@given(OWN, st.dictionaries(st.sampled_from(NAMES), CONTENT))
def test_whatever_the_files_hold_the_answer_is_a_limit_or_none(
    tmp_path_factory: pytest.TempPathFactory, own: bytes, files: dict[str, str | bytes]
) -> None:
    root = machine(tmp_path_factory.mktemp("machine"), own, files)
    found, quota = cgroup_memory(root), cpu_quota(root)
    assert found is None or (0 < found.limit_bytes < 2**60 and (found.used_bytes is None or found.used_bytes >= 0))
    assert quota is None or quota > 0.0


def kills(own: int, above: int) -> dict[str, str | bytes]:
    """Files in which the kernel counts: of the group in version 2 and in version 1, and of the machine."""
    return {
        "job/memory.events": f"low 0\noom 9\noom_kill {own}\n",
        "memory/job/memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {own}\n",
        "../../../proc/vmstat": f"nr_free_pages 7\noom_kill {above}\n",
    }


OWN = "4:memory:/job\n0::/job\n"


@pytest.mark.scenario("C6")
def test_each_out_of_memory_kill_explains_one_death(tmp_path: Path) -> None:
    oom = OomKills(machine(tmp_path, OWN, kills(2, 40)))
    assert not oom.claim(0.0)
    # Two workers at once, counted by three files each.
    machine(tmp_path, OWN, kills(4, 42))
    assert oom.claim(1.0)
    assert oom.claim(1.0)
    assert not oom.claim(1.0)
    # By the machine alone: in a group below this one.
    machine(tmp_path, OWN, kills(4, 43))
    assert oom.claim(2.0)
    assert not OomKills(tmp_path / "nothing").claim(0.0)


@pytest.mark.scenario("C6")
def test_an_out_of_memory_kill_of_long_ago_explains_no_death(tmp_path: Path) -> None:
    oom = OomKills(machine(tmp_path, OWN, kills(2, 40)))
    # Somebody else's browser, a night ago.
    machine(tmp_path, OWN, kills(2, 41))
    oom.look(OOM_LOOK_S)
    oom.look(OOM_LOOK_S + OOM_RECENT_S)
    assert not oom.claim(OOM_LOOK_S + OOM_RECENT_S + 1.0)
    # One that was counted before its death was noticed is it all the same.
    machine(tmp_path, OWN, kills(3, 42))
    oom.look(30.0)
    assert oom.claim(30.1)
