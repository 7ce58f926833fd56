"""`RateLimiter`: how fast a server takes what is said to it, as settings of the same buckets as everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from rfm_runtime.config import Settings
from rfm_runtime.errors import BadRequestError

__all__ = ["RateLimiter"]


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Messages per second: of all clients, of each, and of progress an operation. None: as it is by default.

    What comes faster is slowed down at its socket, not lost; outcomes are never limited. Raises BadRequestError.
    """

    global_rate: float | None = None
    client_rate: float | None = None
    operation_rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("global_rate", "client_rate", "operation_rate"):
            rate = getattr(self, name)
            if rate is not None and not (isinstance(rate, int | float) and 0.0 < rate < 1e9):
                raise BadRequestError(f"{name} is {rate!r}", hint="give messages per second, above 0")

    def applied(self, settings: Settings) -> Settings:
        """The settings with these rates."""
        rates = {
            "inbound_per_s": self.global_rate,
            "client_inbound_per_s": self.client_rate,
            "progress_per_s": self.operation_rate,
        }
        return msgspec.structs.replace(settings, **{k: float(rate) for k, rate in rates.items() if rate is not None})
