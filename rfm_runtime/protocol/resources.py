"""What a process and its host use, whether that is healthy, and what would help: as processes tell each other, and
watchers are told.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from rfm_runtime.protocol.crew import CrewUsage

__all__ = [
    "Advice",
    "ChildUsage",
    "ChildrenUsage",
    "Flow",
    "GetMetrics",
    "GetUsage",
    "Health",
    "HealthState",
    "HostUsage",
    "MetricsReply",
    "ProcessUsage",
    "ResourceReport",
    "Resources",
    "Topic",
    "Usage",
    "UsageCourse",
    "UsagePoint",
    "UsageReply",
]

HealthState = Literal["healthy", "degraded", "unhealthy"]
Topic = Literal["workers", "memory", "tile_size", "watchers", "disk", "descriptors"]


class ChildUsage(Struct, frozen=True, kw_only=True):
    """One process below another. cpu_percent: over the last interval; 100 is one core."""

    pid: int
    cpu_percent: float
    memory_bytes: int


class ChildrenUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All processes below one, theirs included: an engine's workers. Memory that they share counts for each.

    each: known to the process above alone, and left out where it is told.
    """

    processes: int = 0
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    each: tuple[ChildUsage, ...] = ()


class ProcessUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process, without its children. Where the system does not tell, None or 0.

    cpu_percent: over the last interval; 100 is one core. memory_bytes: resident. sockets: of the descriptors.
    loop_lag_ms: the latest that its event loop came in the interval; None without a loop, or before it was looked at.
    """

    name: str
    role: str
    pid: int
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    peak_memory_bytes: int = 0
    threads: int = 0
    descriptors: int | None = None
    descriptors_limit: int | None = None
    sockets: int | None = None
    loop_lag_ms: float | None = None
    children: ChildrenUsage = ChildrenUsage()


class HostUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine, as one process may use it. Where the system does not tell, None or 0.

    cores: that affinity and the cgroup's quota leave to the process. cpu_percent: of the whole machine, at most 100.
    cgroup: of the smallest limit that holds; used without file cache that the kernel gives up. disk: of the state
    folder's file system, free for this user.
    """

    cores: int
    cpu_percent: float = 0.0
    load_1m: float | None = None
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    cgroup_memory_limit_bytes: int | None = None
    cgroup_memory_used_bytes: int | None = None
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None


class Health(Struct, frozen=True, omit_defaults=True):
    """reasons: one sentence for each condition that is not well, `topic: figures`; the worst first."""

    state: HealthState = "healthy"
    reasons: tuple[str, ...] = ()


class Flow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What goes through a process, over the last interval.

    messages_per_s: of a gateway, those to its watchers; of a broker, progress that came in; of an engine, tasks that
    came back. coalesced_per_s: progress whose place something newer took before it went on. latency_*: of a gateway,
    from a request to its answer; of a broker, of writing to the journal; None where there was nothing.
    connections_per_s: watchers that came in, or came back. waiting: of a gateway, progress that is to be sent; of a
    broker, operations that are to begin; of an engine, tiles that are to be finished.
    """

    messages_per_s: float = 0.0
    coalesced_per_s: float = 0.0
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    connections_per_s: float = 0.0
    waiting: int = 0


class ResourceReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sample. measured_at_ms: since 1970. flow: of those that have one."""

    process: ProcessUsage
    host: HostUsage
    health: Health
    measured_at_ms: int
    flow: Flow | None = None


class Advice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen, and what to do. setting: what to change, as in the settings file or a render's parameters."""

    topic: Topic
    text: str
    setting: str | None = None


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one process of a runtime tells the broker every few seconds, with what it alone knows.

    workers: of an engine, those that take tasks. tiles, tile_px, tile_s: of the frame that it works on: how many, of
    which edge, and their mean duration; 0 and None without one. sessions: of a gateway; slow_sessions: those that get
    progress less often than they asked for, since they do not keep up. crew: of an engine, what each worker does.
    """

    report: ResourceReport
    workers: int = 0
    tiles: int = 0
    tile_px: int = 0
    tile_s: float | None = None
    sessions: int = 0
    slow_sessions: int = 0
    crew: CrewUsage | None = None


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`metrics`: all processes of a runtime, and what would help. health: of the worst, with everybody's reasons.

    crews: for gateways, which tell each watcher no more of them than he may see.
    """

    measured_at_ms: int
    health: Health = Health()
    reports: tuple[ResourceReport, ...] = ()
    advice: tuple[Advice, ...] = ()
    crews: tuple[CrewUsage, ...] = ()


class GetMetrics(Struct, frozen=True):
    """`get_metrics`. → `metrics_reply`"""


class MetricsReply(Struct, frozen=True, omit_defaults=True):
    """What was told last; None before the first."""

    resources: Resources | None = None


class UsagePoint(Struct, frozen=True, array_like=True):
    """The most that a process used, its children included, from `t_ms` (since 1970) on until the next point.

    From `messages_per_s` on as in `Flow`; -1 is a latency that is not known.
    """

    t_ms: int
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    loop_lag_ms: float = 0.0
    messages_per_s: float = 0.0
    coalesced_per_s: float = 0.0
    latency_p50_ms: float = -1.0
    latency_p99_ms: float = -1.0
    connections_per_s: float = 0.0
    waiting: int = 0


class UsageCourse(Struct, frozen=True, kw_only=True):
    """One process over time. points: in the order of time, `spacing_ms` apart where it was heard. flows: whether
    something goes through it.
    """

    name: str
    role: str
    points: tuple[UsagePoint, ...]
    flows: bool = False


class GetUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`get_usage`: what processes have used in the last `span_s` seconds. → `usage_reply`

    Of what the gateway that answers has heard since it came up.
    """

    span_s: Annotated[int, Meta(ge=10, le=86_400)] = 600


class UsageReply(Struct, frozen=True, kw_only=True):
    """By name of the process."""

    spacing_ms: int
    courses: tuple[UsageCourse, ...]
