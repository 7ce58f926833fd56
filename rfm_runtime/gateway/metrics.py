"""The gateway's metrics, in a registry of its own. Counts that the core keeps are read when asked for.

What all processes use is in another one: every gateway knows it, and it is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from rfm_runtime.core.sessions.hub import GatewayCore
from rfm_runtime.protocol.resources import ResourceReport

__all__ = ["Metrics"]


class _CoreCounts:
    """What the core counts: its decisions as one family, and progress that was never sent."""

    def __init__(self, core: GatewayCore) -> None:
        self._core = core

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("rfm_gateway_decisions", "What the gateway decided, by kind", labels=["what"])
        for what, count in sorted(self._core.counts.items()):
            family.add_metric([what], count)
        yield family
        yield CounterMetricFamily(
            "rfm_gateway_superseded_progress",
            "Progress not sent to a session because something newer took its place",
            value=self._core.superseded_progress,
        )


class _Resources:
    """What all processes of the runtime use, as the broker told last; of each the same families, by its name."""

    def __init__(self, core: GatewayCore) -> None:
        self._core = core

    def collect(self) -> Iterator[GaugeMetricFamily]:
        resources = self._core.resources
        reports = () if resources is None else resources.reports
        labels = ["process", "role"]
        for name, text, value in PROCESS_GAUGES:
            family = GaugeMetricFamily(f"rfm_process_{name}", text, labels=labels)
            for report in reports:
                figure = value(report)
                if figure is not None:
                    family.add_metric([report.process.name, report.process.role], figure)
            yield family
        if resources is not None:
            yield GaugeMetricFamily(
                "rfm_health", "0 healthy, 1 degraded, 2 unhealthy: the worst of all", HEALTH[resources.health.state]
            )
            yield GaugeMetricFamily("rfm_advice", "Recommendations that stand", len(resources.advice))


HEALTH = {"healthy": 0, "degraded": 1, "unhealthy": 2}

PROCESS_GAUGES: tuple[tuple[str, str, Callable[[ResourceReport], float | None]], ...] = (
    ("cpu_percent", "CPU of the process itself, 100 is one core", lambda r: r.process.cpu_percent),
    ("memory_bytes", "Resident memory", lambda r: r.process.memory_bytes),
    ("peak_memory_bytes", "Largest resident memory so far", lambda r: r.process.peak_memory_bytes),
    ("threads", "Threads", lambda r: r.process.threads),
    ("descriptors", "Open descriptors", lambda r: r.process.descriptors),
    ("descriptors_limit", "Descriptors that it may open", lambda r: r.process.descriptors_limit),
    ("sockets", "Sockets among its descriptors", lambda r: r.process.sockets),
    ("loop_lag_ms", "The latest that its event loop came in the interval", lambda r: r.process.loop_lag_ms),
    ("children", "Processes below it", lambda r: r.process.children.processes),
    ("children_cpu_percent", "CPU of those, 100 is one core", lambda r: r.process.children.cpu_percent),
    ("children_memory_bytes", "Resident memory of those", lambda r: r.process.children.memory_bytes),
    ("health", "0 healthy, 1 degraded, 2 unhealthy", lambda r: HEALTH[r.health.state]),
    ("host_cores", "Cores that it may use", lambda r: r.host.cores),
    ("host_cpu_percent", "CPU of its machine", lambda r: r.host.cpu_percent),
    ("host_memory_available_bytes", "Memory that its machine has left", lambda r: r.host.memory_available_bytes),
    ("host_disk_free_bytes", "Free where the state is", lambda r: r.host.disk_free_bytes),
)


class Metrics:
    """Counters and gauges of one gateway."""

    def __init__(self, core: GatewayCore) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_CoreCounts(core))
        self.resources = CollectorRegistry()
        self.resources.register(_Resources(core))
        self._certificate: Gauge | None = None
        self.sessions = Gauge("rfm_gateway_sessions", "Sessions", registry=self.registry)
        self.written = Counter("rfm_gateway_written_bytes", "Bytes handed to sockets", registry=self.registry)
        self.messages = Counter("rfm_gateway_written_messages", "Envelopes sent", registry=self.registry)
        self.setup = Histogram(
            "rfm_gateway_setup_seconds",
            "Accepted connection to welcome",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0),
            registry=self.registry,
        )
        self.request = Histogram(
            "rfm_gateway_request_seconds",
            "Request to its answer by the broker or an engine",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0),
            registry=self.registry,
        )
        self.loop_lag = Gauge("rfm_gateway_loop_lag_seconds", "How late the last tick came", registry=self.registry)

    def certificate_ends(self, ends_s: float) -> None:
        """Of the certificate that is shown from now on, in seconds since 1970."""
        if self._certificate is None:
            self._certificate = Gauge(
                "rfm_gateway_certificate_expires_timestamp_seconds",
                "When the server's certificate ends",
                registry=self.registry,
            )
        self._certificate.set(ends_s)

    def text(self, core: GatewayCore) -> str:
        """Of this gateway, in Prometheus' exposition format."""
        self.sessions.set(len(core.sessions))
        return generate_latest(self.registry).decode()

    def resources_text(self) -> str:
        """Of all processes."""
        return generate_latest(self.resources).decode()
