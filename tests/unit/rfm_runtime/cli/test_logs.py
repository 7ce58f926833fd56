"""A log entry as people read it."""

from __future__ import annotations

from rfm_runtime.cli.logs import line


def test_a_line() -> None:
    entry = {
        "timestamp": "2026-11-25T04:24:34.624693Z",
        "level": "warning",
        "component": "broker",
        "event": "slow",
        "pid": 7,
        "took_s": 1.5,
        "operation_id": None,
    }
    assert line(entry) == "04:24:34.624 WARN broker      slow took_s=1.5"


def test_what_was_logged_moves_no_terminal() -> None:
    assert "\x1b" not in line({"event": "\x1b[2J", "name": "\x1b"})
