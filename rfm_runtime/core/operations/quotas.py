"""What each user has of the runtime, and how much of it he may have: operations, pixels, iterations, bytes of files.

Owned by `Hub`. Everything follows from the operations that the hub knows, which are those of the journal: a broker that
restarts counts the same. Without a quota nothing is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.config.settings import Settings
from rfm_runtime.core.operations.record import StoredOperation
from rfm_runtime.errors import QuotaExceededError, TooLargeError
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.render.request import AUTO_MAX_ITER, RenderRequest

__all__ = ["Charge", "Quotas", "charge"]

_COUNTED = ("width_px", "height_px", "max_iter", "samples")
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(RenderRequest)}


class Charge(Struct, frozen=True):
    """What one operation takes of a user's quotas, until it ends. iterations: the most that its pixels may take."""

    pixels: int = 0
    iterations: int = 0


def charge(kind: str, params: Mapping[str, Any]) -> Charge:
    """Of an operation with valid parameters. Where a render finds out its iterations, the most that it may find."""
    if not kind.startswith("render."):
        return Charge()
    width_px, height_px, max_iter, samples = (_whole(params, name) for name in _COUNTED)
    pixels = width_px * height_px
    # Which pixels have several samples is not known before: all of them may.
    return Charge(pixels, pixels * samples * (max_iter or AUTO_MAX_ITER))


def _whole(params: Mapping[str, Any], name: str) -> int:
    value = params.get(name, _DEFAULTS[name])
    # "auto", as a file may say it.
    return value if isinstance(value, int) else 0


class Quotas:
    """running, pixels, iterations: of each user's operations that have not ended. stored: bytes of the files of those
    that have, as long as the runtime lists them.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = {
            "running": settings.quota_running,
            "pixels": settings.quota_pixels,
            "iterations": settings.quota_iterations,
            "stored": settings.quota_stored_bytes,
        }
        self._is_active = any(self._limits.values())
        self.used: dict[str, Counter[str]] = {name: Counter() for name in self._limits}

    def began(self, row: StoredOperation) -> None:
        """An operation was accepted, or is alive in the journal."""
        self._count(row, 1)

    def ended(self, row: StoredOperation) -> None:
        """It has its outcome."""
        self._count(row, -1)

    def _count(self, row: StoredOperation, sign: int) -> None:
        if not self._is_active:
            return
        # What a program reports takes nothing of an engine, whatever it calls its kind.
        owner, takes = row.operation.owner, Charge() if row.reported else charge(row.operation.kind, row.params)
        for name, amount in (("running", 1), ("pixels", takes.pixels), ("iterations", takes.iterations)):
            self._add(name, owner, sign * amount)

    def kept(self, operation: Operation) -> None:
        """It has ended and left its files."""
        if self._is_active:
            self._add("stored", operation.owner, _stored_bytes(operation))

    def forgotten(self, operation: Operation) -> None:
        """The runtime does not list it any more."""
        if self._is_active:
            self._add("stored", operation.owner, -_stored_bytes(operation))

    def _add(self, name: str, owner: str, amount: int) -> None:
        table = self.used[name]
        table[owner] += amount
        if not table[owner]:
            del table[owner]

    def check(self, user: str, more: Sequence[Charge]) -> None:
        """Raise QuotaExceededError if the user cannot have these operations besides what he has, TooLargeError if he
        never can.
        """
        if not self._is_active or not more:
            return
        pixels, iterations = sum(one.pixels for one in more), sum(one.iterations for one in more)
        self._check(user, "running", len(more), "operations that have not ended")
        self._check(user, "pixels", pixels, "pixels in renders that have not ended")
        self._check(user, "iterations", iterations, "iterations, at the most, in renders that have not ended")
        stored, limit = self.used["stored"][user], self._limits["stored"]
        if limit and stored >= limit:
            # What a render will leave is not known before; the one that goes beyond is the last.
            raise QuotaExceededError(
                f"{user} has {stored:,} bytes of files of renders, {limit:,} are allowed",
                hint="they count for as long as the runtime lists these operations (finished_keep_s)",
                retry_after_s=60.0,
            )

    def _check(self, user: str, name: str, more: int, what: str) -> None:
        used, limit = self.used[name][user], self._limits[name]
        if not limit or not more or used + more <= limit:
            return
        told = f"{user} has {used:,} {what}, {limit:,} are allowed, and this asks for {more:,} more"
        if more > limit:
            # No waiting makes room for it.
            raise TooLargeError(told, hint="make it smaller: alone it is more than is allowed at all")
        raise QuotaExceededError(told, hint="wait for some of them to end, or cancel some", retry_after_s=1.0)

    def sanity_check(self, rows: Sequence[StoredOperation], finished: Sequence[Operation]) -> None:
        """Raise AssertionError if this is not what the operations say. rows: of the live ones."""
        fresh = Quotas.__new__(Quotas)
        fresh._limits, fresh._is_active = self._limits, self._is_active
        fresh.used = {name: Counter() for name in self._limits}
        for row in rows:
            fresh.began(row)
        for operation in finished:
            fresh.kept(operation)
        if fresh.used != self.used:
            raise AssertionError(f"quotas: {self.used} against {fresh.used}")


def _stored_bytes(operation: Operation) -> int:
    return sum(artifact.size_bytes for artifact in operation.artifacts)
