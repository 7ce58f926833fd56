"""What is told of an operation."""

from __future__ import annotations

from rfm_runtime.core.reports.telling import facts
from rfm_runtime.protocol.history import Performance, PerformanceReply, Point
from rfm_runtime.protocol.operation import ErrorInfo, Eta, Operation, ProgressUpdate

NOW_MS = 100_000


def operation(**fields):
    base = {"operation_id": "op", "kind": "k", "name": "n", "owner": "ann", "state": "running", "at_seq": 1}
    return Operation(**{**base, "created_at_ms": 10_000, **fields})


def progress(**fields):
    return ProgressUpdate(
        **{"operation_id": "op", "rev": (1, 1), "at_seq": 1, "measured_at_ms": 0, "done": 5.0, **fields}
    )


def told(went):
    return list(facts(went, NOW_MS))


def test_what_runs():
    latest = progress(
        total=10.0,
        unit="rows",
        progress=50.0,
        rate=2.0,
        eta_ms=Eta(2500, 9000),
        step="epoch 1",
        message="fine",
        details={"loss": 0.3, "file": "a", "list": [1]},
    )
    running = operation(
        started_at_ms=12_000, latest=latest, labels={"site": "b"}, priority=3, parent_id="p", stale=True
    )
    performance = Performance(points=(Point(0, 5.0, 61.0),), peak_memory_bytes=2**30, paused_ms=2000, deaths=1)
    assert told(PerformanceReply(operation=running, performance=performance)) == [
        ("id", "op"),
        ("name", "n"),
        ("kind", "k"),
        ("state", "running (silent)"),
        ("progress", "50.0 %, 5 of 10 rows"),
        ("rate", "2 rows/s"),
        ("left", "2.50 s, with 90 % up to 9.00 s"),
        ("step", "epoch 1"),
        ("message", "fine"),
        ("detail", "loss = 0.3"),
        ("detail", "file = a"),
        ("detail", "list = [1]"),
        ("submitted", told(PerformanceReply(operation=running, performance=performance))[12][1]),
        ("waited", "2.00 s"),
        ("ran", "1 m 28 s"),
        ("stood still", "2.00 s"),
        ("CPU time", "1 m 01 s"),
        ("memory", "1.0 GiB at most"),
        ("losses", "1 worker, 0 owners"),
        ("owner", "ann"),
        ("priority", "3"),
        ("part of", "p"),
        ("label", "site = b"),
    ]


def test_what_has_failed():
    failed = operation(
        state="failed",
        started_at_ms=10_000,
        ended_at_ms=15_000,
        latest=progress(rate=1.0, eta_ms=Eta(1, 2)),
        error=ErrorInfo(code="E1", message="no disk", hint="make room"),
    )
    shown = dict(told(PerformanceReply(operation=failed, performance=Performance())))
    assert (shown["error"], shown["hint"], shown["ran"], shown["progress"]) == (
        "error[E1]: no disk",
        "make room",
        "5.00 s",
        "5",
    )
    assert not shown.keys() & {"left", "rate", "memory", "losses"}


def test_what_was_asked_to_stop_and_what_never_began():
    asked = operation(state="cancelling", cancel_requested=True)
    shown = dict(told(PerformanceReply(operation=asked, performance=Performance())))
    assert shown["state"] == "cancelling (asked to stop)"
    assert "ran" not in shown
    cancelled = operation(state="canceled", cancel_requested=True, ended_at_ms=20_000)
    assert dict(told(PerformanceReply(operation=cancelled, performance=Performance())))["state"] == "cancelled"
