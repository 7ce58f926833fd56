"""What a worker is told at its start; apart from `worker`, which imports kernels."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["WorkerSettings"]


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """source: its number in progress messages, unique among all that share a handle."""

    number: int
    source: int
    control: str
    ingest: str
    logs: str
    log_level: str
