"""What the runtime's processes use, as rows and as curves. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Final, NamedTuple

from rfm_runtime.core.counts import counted
from rfm_runtime.core.resources.sizes import part, size
from rfm_runtime.core.text import printable
from rfm_runtime.protocol.resources import ChildrenUsage, HostUsage, ProcessUsage, Resources, UsagePoint, UsageReply

__all__ = [
    "TRAFFIC",
    "USE",
    "Chart",
    "Curve",
    "ProcessRow",
    "ago",
    "ago_unit",
    "curves",
    "host_line",
    "process_rows",
    "spacing_s",
    "top",
    "troubles",
]

MIB = 1024.0**2
NAN = float("nan")
FIGURES = 9
"""Of a curve, beside its name and its times."""
STEPS_S = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0)
MINUTES_S = 7_200
"""What is not longer is told in minutes."""


class ProcessRow(NamedTuple):
    """Texts, in the order of the columns."""

    name: str
    cpu: str
    memory: str
    threads: str
    descriptors: str
    lag: str
    children: str


class Curve(NamedTuple):
    """One process: seconds before now (negative), and what it used; NaN where nothing is known.

    From messages_per_s on: what went through it, NaN for a process that nothing goes through.
    """

    name: str
    seconds: tuple[float, ...]
    cpu_percent: tuple[float, ...]
    memory_mib: tuple[float, ...]
    lag_ms: tuple[float, ...]
    messages_per_s: tuple[float, ...]
    coalesced_per_s: tuple[float, ...]
    latency_p50_ms: tuple[float, ...]
    latency_p99_ms: tuple[float, ...]
    connections_per_min: tuple[float, ...]
    waiting: tuple[float, ...]

    def is_known(self, figure: str) -> bool:
        """Whether there is anything to draw."""
        return not all(map(isnan, getattr(self, figure)))


class Chart(NamedTuple):
    """What one chart is of: a field of `Curve`, and what stands above it. dotted: it is known now and then alone."""

    figure: str
    title: str
    dotted: bool = False


USE: Final = (Chart("cpu_percent", "CPU, %"), Chart("memory_mib", "Memory, MiB"), Chart("lag_ms", "Loop lag, ms"))
TRAFFIC: Final = (
    Chart("messages_per_s", "Messages, 1/s"),
    Chart("coalesced_per_s", "Coalesced, 1/s"),
    Chart("waiting", "Waiting operations, messages, tiles"),
    Chart("latency_p50_ms", "Latency, median, ms", dotted=True),
    Chart("latency_p99_ms", "Latency, 99 %, ms", dotted=True),
    Chart("connections_per_min", "Connections, 1/min"),
)


def top(rows: Iterable[Iterable[float]]) -> float:
    """Where a chart's axis ends: above the highest, and not below 1."""
    most = max((value for row in rows for value in row if not isnan(value)), default=0.0)
    return max(1.0, most * 1.15)


def ago(seconds: float, span_s: int) -> str:
    """A mark of the axis of time: how long ago that was."""
    return f"{abs(seconds) / (60.0 if span_s <= MINUTES_S else 3600.0):g}"


def spacing_s(span_s: int) -> float:
    """Between two marks of that axis."""
    return next((step for step in STEPS_S if span_s <= 6 * step), span_s / 6)


def ago_unit(span_s: int) -> str:
    """What that counts."""
    return "minutes ago" if span_s <= MINUTES_S else "hours ago"


def process_rows(resources: Resources) -> list[ProcessRow]:
    """A row for each process, by name."""
    reports = sorted(resources.reports, key=lambda report: report.process.name)
    return [_row(report.process) for report in reports]


def troubles(resources: Resources) -> list[str]:
    """What is not well, the worst first, then what would help."""
    return [printable(text) for text in (*resources.health.reasons, *(advice.text for advice in resources.advice))]


def host_line(resources: Resources) -> str:
    """The machine in one line; of several hosts the first."""
    if not resources.reports:
        return ""
    host = resources.reports[0].host
    memory = part(host.memory_total_bytes - host.memory_available_bytes, host.memory_total_bytes)
    facts = [counted(host.cores, "core"), f"{host.cpu_percent:.0f} % busy", f"{memory} of memory in use"]
    return ", ".join([*facts, *_disk(host)])


def curves(usage: UsageReply, now_ms: float) -> list[Curve]:
    """For charts, oldest first. Where a process was not heard for a while its curve has a gap (NaN)."""
    found = []
    for course in usage.courses:
        rows: list[tuple[float, ...]] = []
        before_ms: int | None = None
        for point in course.points:
            if before_ms is not None and point.t_ms - before_ms > 2.5 * usage.spacing_ms:
                rows.append(((point.t_ms - 1 - now_ms) / 1000, *(NAN,) * FIGURES))
            rows.append(((point.t_ms - now_ms) / 1000, *_figures(point, flows=course.flows)))
            before_ms = point.t_ms
        columns: list[tuple[float, ...]] = [*zip(*rows, strict=True)] if rows else [()] * (1 + FIGURES)
        found.append(Curve(_named(course.name, course.role), *columns))
    return found


def _figures(point: UsagePoint, *, flows: bool) -> tuple[float, ...]:
    used = point.cpu_percent, point.memory_bytes / MIB, point.loop_lag_ms
    if not flows:
        return (*used, *(NAN,) * (FIGURES - len(used)))
    latencies = (NAN if one < 0.0 else one for one in (point.latency_p50_ms, point.latency_p99_ms))
    per_min = 60.0 * point.connections_per_s
    return (*used, point.messages_per_s, point.coalesced_per_s, *latencies, per_min, float(point.waiting))


def _named(name: str, role: str) -> str:
    """A server within somebody's program has no name of its own."""
    return printable(name or role or "program")


def _disk(host: HostUsage) -> list[str]:
    return [] if host.disk_free_bytes is None else [f"{size(host.disk_free_bytes)} of disk free"]


def _row(process: ProcessUsage) -> ProcessRow:
    return ProcessRow(
        name=_named(process.name, process.role),
        cpu=f"{process.cpu_percent:.0f} %",
        memory=size(process.memory_bytes),
        threads=str(process.threads),
        descriptors="" if process.descriptors is None else str(process.descriptors),
        lag="" if process.loop_lag_ms is None else f"{process.loop_lag_ms:.0f} ms",
        children=_children(process.children) if process.children.processes else "",
    )


def _children(children: ChildrenUsage) -> str:
    many = counted(children.processes, "process", "processes")
    return f"{many}, {children.cpu_percent:.0f} %, {size(children.memory_bytes)}"
