"""The state table: what may happen to an operation in each state, and where that leads. Data, not code."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rfm_runtime.protocol.operation import EventType, OperationState

__all__ = ["TABLE", "Step", "Trigger", "step", "table_markdown"]

Trigger = Literal[
    "start",
    "pause",
    "resume",
    "resumed",
    "cancel",
    "cancel_unclaimed",
    "complete",
    "fail",
    "stopped",
    "lost",
    "released",
]


class Step(NamedTuple):
    """Where a trigger leads, and the event that says so; None for a change nobody is told."""

    state: OperationState
    event: EventType | None


TABLE: dict[tuple[OperationState, Trigger], Step] = {
    # The owner began; a program that reports did so before anybody was told.
    ("pending", "start"): Step("running", "operation_started"),
    ("queued", "start"): Step("running", "operation_started"),
    ("paused", "start"): Step("paused", "operation_started"),
    ("cancelling", "start"): Step("cancelling", None),
    # Asked by a user; of a running operation, confirmed by its owner.
    ("queued", "pause"): Step("paused", "operation_paused"),
    ("running", "pause"): Step("paused", "operation_paused"),
    ("paused", "resume"): Step("queued", "operation_resumed"),
    ("paused", "resumed"): Step("running", "operation_resumed"),
    # Nobody has it in hand: the cancel is the outcome.
    ("pending", "cancel_unclaimed"): Step("canceled", "operation_canceled"),
    ("queued", "cancel_unclaimed"): Step("canceled", "operation_canceled"),
    ("paused", "cancel_unclaimed"): Step("canceled", "operation_canceled"),
    # Somebody has: it is asked, and the outcome is its answer.
    ("queued", "cancel"): Step("cancelling", "operation_cancelling"),
    ("running", "cancel"): Step("cancelling", "operation_cancelling"),
    ("paused", "cancel"): Step("cancelling", "operation_cancelling"),
    # Outcomes by the owner. One that was faster than the cancel stands.
    ("queued", "complete"): Step("completed", "operation_completed"),
    ("running", "complete"): Step("completed", "operation_completed"),
    ("paused", "complete"): Step("completed", "operation_completed"),
    ("cancelling", "complete"): Step("completed", "operation_completed"),
    ("queued", "fail"): Step("failed", "operation_failed"),
    ("running", "fail"): Step("failed", "operation_failed"),
    ("paused", "fail"): Step("failed", "operation_failed"),
    ("cancelling", "fail"): Step("failed", "operation_failed"),
    ("queued", "stopped"): Step("canceled", "operation_canceled"),
    ("running", "stopped"): Step("canceled", "operation_canceled"),
    ("paused", "stopped"): Step("canceled", "operation_canceled"),
    ("cancelling", "stopped"): Step("canceled", "operation_canceled"),
    # The owner is proven dead. What it was asked to stop has stopped.
    ("queued", "lost"): Step("queued", "operation_requeued"),
    ("running", "lost"): Step("queued", "operation_requeued"),
    ("paused", "lost"): Step("paused", "operation_requeued"),
    ("cancelling", "lost"): Step("canceled", "operation_canceled"),
    # A draining owner gave it back.
    ("queued", "released"): Step("queued", "operation_requeued"),
    ("running", "released"): Step("queued", "operation_requeued"),
    ("paused", "released"): Step("paused", "operation_requeued"),
    ("cancelling", "released"): Step("canceled", "operation_canceled"),
}
"""(state, trigger) → step. What is not here does not happen: the message is refused or ignored.

An operation that is lost more often than allowed, or that cannot be resumed, takes `fail` instead of `lost`.
"""


def step(state: OperationState, trigger: Trigger) -> Step | None:
    """The step, None if the trigger means nothing in this state."""
    return TABLE.get((state, trigger))


def table_markdown() -> str:
    """The table as it stands in docs/protocol.md."""
    lines = ["| state | what happens | becomes | event |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {state} | {trigger} | {after.state} | {after.event or '–'} |" for (state, trigger), after in TABLE.items()
    ]
    return "\n".join(lines)
