"""What a worker is told at its start; apart from `worker`, which imports kernels."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["WorkerSettings"]


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """source: its number in progress messages, unique among all that share a handle.

    keys: the folder of this host's own, for a broker on another host whose public key is broker_key; "": it is here.
    """

    number: int
    source: int
    control: str
    ingest: str
    keys: str = ""
    broker_key: str = ""
    logs: str
    log_level: str
