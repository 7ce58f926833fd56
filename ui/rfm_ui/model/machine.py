"""What the runtime's processes use, as rows and as curves. Pure."""

from __future__ import annotations

from typing import NamedTuple

from rfm_runtime.core.counts import counted
from rfm_runtime.core.resources.sizes import part, size
from rfm_runtime.core.text import printable
from rfm_runtime.protocol.resources import ChildrenUsage, HostUsage, ProcessUsage, Resources, UsageReply

__all__ = ["Curve", "ProcessRow", "curves", "host_line", "process_rows", "troubles"]

MIB = 1024.0**2


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
    """One process: seconds before now (negative), and what it used."""

    name: str
    seconds: tuple[float, ...]
    cpu_percent: tuple[float, ...]
    memory_mib: tuple[float, ...]
    lag_ms: tuple[float, ...]


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
        rows: list[tuple[float, float, float, float]] = []
        before_ms: int | None = None
        for point in course.points:
            if before_ms is not None and point.t_ms - before_ms > 2.5 * usage.spacing_ms:
                rows.append(((point.t_ms - 1 - now_ms) / 1000, *(float("nan"),) * 3))
            values = point.cpu_percent, point.memory_bytes / MIB, point.loop_lag_ms
            rows.append(((point.t_ms - now_ms) / 1000, *values))
            before_ms = point.t_ms
        seconds, cpu, memory, lag = zip(*rows, strict=True) if rows else ((), (), (), ())
        found.append(Curve(_named(course.name, course.role), seconds, cpu, memory, lag))
    return found


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
