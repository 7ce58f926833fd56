"""What is said of an operation in one row. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rfm_runtime.core.text import duration, fault, local_time, number, printable, time_left
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, ProgressUpdate

__all__ = ["Line", "Tone", "about", "line", "percent_of", "state_word", "tone_of"]

Tone = Literal["idle", "running", "waiting", "stale", "good", "bad", "stopped"]
"""What a colour stands for."""


class Line(NamedTuple):
    """percent: 0–100, None where nobody knows. facts: short ones, the most wanted first, of which a view leaves out
    the last. remark: a sentence. is_part: of another operation.
    """

    title: str
    kind: str
    owner: str
    state: str
    tone: Tone
    percent: float | None
    facts: tuple[str, ...]
    remark: str
    priority: int
    is_part: bool = False


def line(operation: Operation, now_ms: float) -> Line:
    """What to show now."""
    latest = operation.latest
    ended = operation.state in TERMINAL_STATES
    return Line(
        title=printable(operation.name) or printable(operation.kind),
        kind=printable(operation.kind),
        owner=printable(operation.owner),
        state=state_word(operation),
        tone=tone_of(operation),
        percent=percent_of(operation),
        facts=_ended(operation) if ended else _alive(operation, now_ms),
        remark=_remark(operation, latest),
        priority=operation.priority,
        is_part=operation.parent_id is not None,
    )


def state_word(operation: Operation) -> str:
    """Its state as people say it."""
    if operation.state == "canceled":
        return "cancelled"
    if operation.state == "running" and operation.stale:
        return "silent"
    return operation.state


def tone_of(operation: Operation) -> Tone:
    """What its colour stands for."""
    match operation.state:
        case "running":
            return "stale" if operation.stale else "running"
        case "completed":
            return "good"
        case "failed":
            return "bad"
        case "canceled" | "cancelling":
            return "stopped"
        case "paused":
            return "waiting"
    return "idle"


def percent_of(operation: Operation) -> float | None:
    """How far it is, 0–100; None where nobody knows."""
    if operation.state == "completed":
        return 100.0
    latest = operation.latest
    if latest is None:
        return 0.0
    return latest.progress if latest.total is not None or latest.progress > 0.0 else None


def _alive(operation: Operation, now_ms: float) -> tuple[str, ...]:
    facts = []
    latest = operation.latest
    if latest is not None:
        unit = printable(latest.unit)
        if left := _left(operation):
            facts.append(left)
        if latest.rate:
            facts.append(f"{number(latest.rate)} {unit or 'units'}/s")
        if latest.tiles is not None:
            facts.append(f"{latest.tiles.done}/{latest.tiles.total} tiles")
        elif latest.total is not None:
            facts.append(f"{number(latest.done)}/{number(latest.total)} {unit}".rstrip())
        elif latest.done:
            facts.append(f"{number(latest.done)} {unit}".rstrip())
    if operation.started_at_ms is not None:
        facts.append(f"for {duration(max(0.0, now_ms - operation.started_at_ms) / 1000)}")
    return tuple(facts)


def about(operation: Operation, now_ms: float) -> str:
    """All that a row has no room for, a line each."""
    latest = operation.latest
    lines = [
        printable(operation.name or operation.kind),
        f"{printable(operation.kind)} of {printable(operation.owner)}",
    ]
    if latest is not None and latest.eta_ms is not None and _left(operation):
        # As of when it was measured, so that it does not change while nothing is heard.
        half, most = (local_time(latest.measured_at_ms + one)[11:] for one in (latest.eta_ms.p50, latest.eta_ms.p90))
        lines.append(f"as likely before {half} as after it; with 90 % before {most}")
    elif operation.ended_at_ms is not None:
        lines.append(
            f"ended {local_time(operation.ended_at_ms)}, {duration((now_ms - operation.ended_at_ms) / 1000)} ago"
        )
    if remark := _remark(operation, latest):
        lines.append(remark)
    lines += [f"{printable(key)}: {printable(value)}" for key, value in operation.labels.items()]
    return "\n".join(lines)


def _left(operation: Operation) -> str:
    latest = operation.latest
    if latest is None or latest.eta_ms is None or operation.state != "running" or operation.stale:
        return ""
    return time_left(latest.eta_ms.p50 / 1000, latest.eta_ms.p90 / 1000)


def _ended(operation: Operation) -> tuple[str, ...]:
    if operation.ended_at_ms is None or operation.started_at_ms is None:
        return ()
    return (f"after {duration(max(0, operation.ended_at_ms - operation.started_at_ms) / 1000)}",)


def _remark(operation: Operation, latest: ProgressUpdate | None) -> str:
    if operation.error is not None:
        return fault(operation.error.severity, operation.error.code, printable(operation.error.message))
    if latest is None or operation.state in TERMINAL_STATES:
        return ""
    step = printable(latest.step)
    if latest.steps is not None:
        step = f"{step} ({latest.steps[0]} of {latest.steps[1]})".strip()
    return ": ".join(part for part in (step, printable(latest.message)) if part)
