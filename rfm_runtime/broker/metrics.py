"""The broker's metrics, in a registry of its own so that several brokers can live in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """Counters and histograms of one broker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.operations = Gauge("rfm_operations", "Operations in memory by state", ["state"], registry=self.registry)
        self.events = Counter("rfm_events", "Events journalled, by type", ["type"], registry=self.registry)
        self.progress = Counter(
            "rfm_broker_progress_messages",
            "Progress messages: merged, coalesced, unknown (handle), garbage, stale (counter, generation)",
            ["fate"],
            registry=self.registry,
        )
        self.commit = Histogram(
            "rfm_journal_commit_seconds",
            "Commit of a group",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.cancel_acknowledged = Histogram(
            "rfm_cancel_acknowledge_seconds",
            "Cancel request to its reply",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.cancel_idle = Histogram(
            "rfm_cancel_idle_seconds",
            "Cancel request to the owner's outcome: nothing of it runs any more",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.feed_frames = Counter("rfm_broker_feed_frames", "Frames published on feed", registry=self.registry)
        self.garbage = Counter(
            "rfm_broker_garbage_messages",
            "Messages that are not the protocol",
            ["socket"],
            registry=self.registry,
        )
        self.connections = Counter(
            "rfm_broker_connections",
            "Connections of other hosts: accepted, welcomed, failed (no CURVE), refused (key not allowed), ended",
            ["what"],
            registry=self.registry,
        )
        self.undeliverable = Counter(
            "rfm_broker_undeliverable_messages", "Replies to peers that are gone", registry=self.registry
        )
        self.loop_lag = Gauge("rfm_broker_loop_lag_seconds", "How late the last tick came", registry=self.registry)
        self.owners = Gauge("rfm_broker_owners", "Owners connected", registry=self.registry)
        self.journal_failing = Gauge(
            "rfm_journal_failing",
            "0: the journal is written; 1: it cannot be; 2: outcomes alone are",
            registry=self.registry,
        )
        self.pending = Gauge("rfm_journal_pending_batches", "Batches not on disk yet", registry=self.registry)

    def text(self) -> str:
        """In Prometheus' exposition format."""
        return generate_latest(self.registry).decode()
