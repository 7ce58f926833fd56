"""The engine's metrics, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]


class Metrics:
    """Counters of one engine."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tasks = Counter(
            "rfm_engine_tasks", "Tasks by phase and how they ended", ["phase", "end"], registry=self.registry
        )
        self.garbage = Counter(
            "rfm_engine_garbage_messages",
            "Messages that are not the protocol",
            ["socket"],
            registry=self.registry,
        )
        self.connections = Counter(
            "rfm_engine_connections",
            "Connections of other hosts: accepted, welcomed, failed (no CURVE), refused (key not allowed), ended",
            ["what"],
            registry=self.registry,
        )
        self.iterations = Counter("rfm_engine_iterations", "Nominal iterations", registry=self.registry)
        self.cpu = Counter("rfm_engine_cpu_seconds", "CPU time of finished tasks", registry=self.registry)
        self.deaths = Counter(
            "rfm_engine_worker_deaths", "Workers that ended, by cause", ["cause"], registry=self.registry
        )
        self.workers = Gauge("rfm_engine_workers", "Workers that take tasks", registry=self.registry)
        self.operations = Gauge("rfm_engine_operations", "Operations in hand", registry=self.registry)
        self.frame_bytes = Gauge("rfm_engine_frame_bytes", "Bytes of open frames", registry=self.registry)
        self.stop_idle = Histogram(
            "rfm_engine_cancel_idle_seconds",
            "Cancel seen by the engine to its last worker idle",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0),
            registry=self.registry,
        )
        self.compute = Histogram(
            "rfm_engine_compute_seconds",
            "A render's frame ready to its last tile committed",
            buckets=(0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0),
            registry=self.registry,
        )
        self.outcomes = Counter("rfm_engine_outcomes", "Outcomes reported", ["state"], registry=self.registry)
        self._of_tasks: dict[tuple[str, str], Counter] = {}

    def count_task(self, phase: str, end: str) -> None:
        """One more of `tasks`. What prometheus_client looks for at each call is looked for once."""
        counter = self._of_tasks.get((phase, end))
        if counter is None:
            counter = self._of_tasks[phase, end] = self.tasks.labels(phase, end)
        counter.inc()

    def text(self) -> str:
        """In Prometheus' exposition format."""
        return generate_latest(self.registry).decode()
