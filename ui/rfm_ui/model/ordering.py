"""In which order operations are shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation

__all__ = ["ORDERS", "WORDS", "Order", "is_upwards", "rank"]

Order = Literal["newest", "progress", "rate", "time left", "priority", "name"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)

WORDS: Final[Mapping[Order, str]] = {
    "newest": "Newest",
    "progress": "Progress",
    "rate": "Rate",
    "time left": "Time left",
    "priority": "Priority",
    "name": "Name",
}


def is_upwards(order: Order) -> bool:
    """Whether the lowest rank is on top, and not the highest."""
    return order == "name"


def rank(order: Order, operation: Operation) -> tuple[Any, ...]:
    """What rows are sorted by. But for names, what is alive stands above what has ended; then, what came or ended
    last. Nothing is alike: rows that are alike would change their places.
    """
    if order == "name":
        return operation.name.casefold(), operation.operation_id
    operation_id = operation.operation_id
    if operation.state in TERMINAL_STATES:
        at_ms = operation.ended_at_ms or operation.created_at_ms
        # A priority is there after the end too, and says as much.
        value = operation.priority if order == "priority" else 0
        return False, value, at_ms, operation_id
    return True, _value(order, operation), operation.created_at_ms, operation_id


def _value(order: Order, operation: Operation) -> float:
    """The more, the higher it stands. What nobody knows stands lowest."""
    latest = operation.latest
    match order:
        case "priority":
            return operation.priority
        case "progress":
            return -1.0 if latest is None or (latest.total is None and latest.progress <= 0.0) else latest.progress
        case "rate":
            return -1.0 if latest is None or latest.rate is None else latest.rate
        case "time left":
            return -1e18 if latest is None or latest.eta_ms is None else -float(latest.eta_ms.p50)
    return 0
