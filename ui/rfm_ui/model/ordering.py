"""In which order operations are shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Final, Literal, get_args

from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation

__all__ = ["BY_PROGRESS", "ORDERS", "WORDS", "Order", "chain", "is_upwards", "rank"]

DEEPEST = 16
"""Parts of parts that are told apart."""

Order = Literal["newest", "progress", "rate", "time left", "priority", "name", "parts"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)

WORDS: Final[Mapping[Order, str]] = {
    "newest": "Newest",
    "progress": "Progress",
    "rate": "Rate",
    "time left": "Time left",
    "priority": "Priority",
    "name": "Name",
    "parts": "Parts below",
}


BY_PROGRESS: frozenset[Order] = frozenset({"progress", "rate", "time left"})
"""Orders in which a row may move though its operation has come to nothing else."""


def is_upwards(order: Order) -> bool:
    """Whether the lowest rank is on top, and not the highest."""
    return order == "name"


def chain(operation: Operation, known: Mapping[str, Operation]) -> list[Operation]:
    """It, what it is part of, what that is part of, and so on, as far as they are known."""
    found = [operation]
    while len(found) < DEEPEST and (above := known.get(found[-1].parent_id or "")) is not None and above not in found:
        found.append(above)
    return found


def rank(order: Order, operation: Operation, known: Mapping[str, Operation]) -> tuple[Any, ...]:
    """What rows are sorted by. But for names, what is alive stands above what has ended; then, what came or ended
    last. Nothing is alike: rows that are alike would change their places. known: all operations, by id.
    """
    if order == "name":
        return operation.name.casefold(), operation.operation_id
    if order == "parts":
        *parts, root = chain(operation, known)
        below = [value for part in reversed(parts) for value in (part.created_at_ms, part.operation_id)]
        # Above all that begins as it does: those are its parts.
        return *rank("newest", root, known), *below, inf
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
