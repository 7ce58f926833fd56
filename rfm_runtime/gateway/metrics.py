"""The gateway's metrics, in a registry of its own. Counts that the core keeps are read when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

from rfm_runtime.core.sessions.hub import GatewayCore

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


class Metrics:
    """Counters and gauges of one gateway."""

    def __init__(self, core: GatewayCore) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_CoreCounts(core))
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

    def text(self, core: GatewayCore) -> str:
        """In Prometheus' exposition format."""
        self.sessions.set(len(core.sessions))
        return generate_latest(self.registry).decode()
