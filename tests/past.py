"""Operations that nobody ever ran: for tests of what is said about the past."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from rfm_runtime.protocol.history import Performance, PerformanceReply, Point
from rfm_runtime.protocol.operation import (
    Artifact,
    ErrorInfo,
    EventType,
    Operation,
    OperationEvent,
    OperationState,
    ProgressUpdate,
)

NOW_MS = 1_746_430_200_000
"""2025-05-05 07:30 UTC."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

HOSTILE = [
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "]]>--><!-- </style></title>",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
    "שלום עולם",
    "\x00\x07\x1b[2J\x7f\x85\ufffe",
    "🧠👩‍🔬",
    "W" * 256,
    "&amp;&#0;",
    "",
]
"""What a name, a kind, an owner or a message may be."""


def operation(operation_id: str = "op-1", state: OperationState = "completed", **fields: Any) -> Operation:
    """An operation; `cpu_s` and other fields of its progress may be given as well."""
    known = {
        name: fields.pop(name)
        for name in ("cpu_s", "iterations", "done", "total", "unit", "progress")
        if name in fields
    }
    latest = ProgressUpdate(
        operation_id=operation_id, rev=(1, 1), at_seq=1, measured_at_ms=NOW_MS, **({"done": 0.0} | known)
    )
    rest: dict[str, Any] = {"kind": "render", "name": "seahorse", "owner": "ana", "at_seq": 1, "created_at_ms": NOW_MS}
    return Operation(operation_id=operation_id, state=state, latest=latest, **(rest | fields))


def day(count: int = 200, seed: int = 1) -> list[Operation]:
    """A day's operations, up to NOW_MS, with hostile names; all that began have ended but one."""
    random = Random(seed)
    found = []
    for i in range(count):
        created_ms = NOW_MS - DAY_MS + random.randrange(DAY_MS - HOUR_MS)
        started_ms = created_ms + random.randrange(2000)
        ended_ms = min(NOW_MS - 1, started_ms + int(random.lognormvariate(9, 1.5)))
        states: list[OperationState] = ["completed", "failed", "canceled"]
        state = random.choices(states, [93, 4, 3])[0]
        error = ErrorInfo(code="worker_lost", message=f"tile {i} killed its worker {HOSTILE[i % len(HOSTILE)]}")
        found.append(
            operation(
                f"op-{i:04}",
                state,
                kind=random.choice(["render", "train", "<b>kind</b>"]),
                name=HOSTILE[i % len(HOSTILE)],
                owner=random.choice(["ana", "björn"]),
                created_at_ms=created_ms,
                started_at_ms=started_ms,
                ended_at_ms=ended_ms,
                error=error if state == "failed" else None,
                cpu_s=(ended_ms - started_ms) / 1000,
                iterations=random.randrange(10**12),
            )
        )
    running = operation("op-last", "running", created_at_ms=NOW_MS - 60_000, started_at_ms=NOW_MS - 59_000)
    return [*found, running]


def event(seq: int, at_ms: int, kind: EventType, state: OperationState, **fields: Any) -> OperationEvent:
    return OperationEvent(seq=seq, ts_ms=at_ms, type=kind, operation_id="op-1", state=state, **fields)


def render() -> PerformanceReply:
    """A render of a minute on two workers, paused for ten seconds in between."""
    begin_ms = NOW_MS - 100_000
    start_ms = begin_ms + 2000
    points = [Point(0, 0.0)]
    for i in range(1, 51):
        t_ms = 1000 * i + (10_000 if i > 25 else 0)
        points.append(Point(t_ms, 20.0 * i, 1.8 * i, 10**9 * i, (200 + i) << 20, 2))
    return PerformanceReply(
        operation=operation(
            state="completed",
            name="<i>Elephant</i> valley",
            created_at_ms=begin_ms,
            started_at_ms=start_ms,
            ended_at_ms=start_ms + 60_000,
            labels={"project": "<poster>"},
            artifacts=(Artifact(name="image.png", media_type="image/png", size_bytes=12_345, sha256="ab" * 32),),
            done=1000.0,
            total=1000.0,
            unit="tiles",
            progress=100.0,
            cpu_s=90.0,
            iterations=50 * 10**9,
        ),
        performance=Performance(
            points=tuple(points),
            total=1000.0,
            unit="tiles",
            peak_memory_bytes=250 << 20,
            paused_ms=10_000,
            deaths=1,
            slots=2,
        ),
        params={"re": "-0.74", "palette": {"name": "viridis"}},
        events=(
            event(1, begin_ms, "operation_accepted", "queued"),
            event(2, start_ms, "operation_started", "running"),
            event(3, start_ms + 25_000, "operation_paused", "paused", by="<u>björn</u>"),
            event(4, start_ms + 35_000, "operation_resumed", "running"),
            event(9, start_ms + 60_000, "operation_completed", "completed"),
        ),
    )


@st.composite
def operations(draw: st.DrawFn) -> list[Operation]:
    """Any, with clocks that went back, times that are missing, and moments outside of every period."""
    moments = st.integers(NOW_MS - 2 * DAY_MS, NOW_MS + HOUR_MS)
    states: list[OperationState] = ["pending", "queued", "running", "paused", "cancelling"]
    found = []
    for i in range(draw(st.integers(0, 12))):
        ended = draw(st.booleans())
        state = draw(st.sampled_from(["completed", "failed", "canceled"] if ended else states))
        found.append(
            operation(
                f"op-{i}",
                state,
                kind=draw(st.sampled_from(["render", "train", "<kind>"])),
                owner=draw(st.sampled_from(["ana", "björn"])),
                created_at_ms=draw(moments),
                started_at_ms=draw(st.none() | moments),
                ended_at_ms=draw(moments) if ended else None,
                error=ErrorInfo(code=draw(st.sampled_from(["a", "b"])), message=f"tile {i}")
                if state == "failed"
                else None,
                cpu_s=draw(st.floats(0, 1e6)),
                iterations=draw(st.integers(0, 2**63 - 1)),
            )
        )
    return found
