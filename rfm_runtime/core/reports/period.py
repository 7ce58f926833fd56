"""From the operations of a period to their report."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from rfm_runtime.core.reports.course import course, density
from rfm_runtime.core.reports.facts import group, line
from rfm_runtime.protocol.figures import Failures, Group, Line, PeriodReport
from rfm_runtime.protocol.operation import Operation, OperationFilter

__all__ = ["SLOWEST", "filters_of", "period_report"]

SLOWEST = 10


def period_report(
    operations: Iterable[Operation],
    *,
    since_ms: int,
    until_ms: int,
    now_ms: int,
    offset_ms: int = 0,
    filters: Mapping[str, str] | None = None,
) -> PeriodReport:
    """The report of operations that were submitted in a period, whatever their order.

    offset_ms: local time less UTC, so that bins begin when local hours and days do. filters: what they were chosen by.
    """
    lines = sorted((line(one, now_ms) for one in operations), key=_newest_first)
    kinds = _groups(lines, lambda one: one.kind)
    over = course(lines, since_ms, until_ms, now_ms, offset_ms)
    started = [one for one in lines if one.running_ms is not None]
    slowest = sorted(started, key=lambda one: (-(one.running_ms or 0), one.operation_id))
    return PeriodReport(
        since_ms=since_ms,
        until_ms=until_ms,
        now_ms=now_ms,
        filters=dict(filters or {}),
        everything=group("", lines),
        by_state=dict(sorted(Counter(one.state for one in lines).items())),
        kinds=kinds,
        owners=_groups(lines, lambda one: one.owner),
        course=over,
        density=density(lines, [kind.name for kind in kinds], over),
        slowest=tuple(one.operation_id for one in slowest[:SLOWEST]),
        failures=_failures(lines),
        canceled=tuple(one.operation_id for one in lines if one.state == "canceled"),
        operations=tuple(lines),
    )


def filters_of(wanted: OperationFilter) -> dict[str, str]:
    """What operations are chosen by, for people, by name; empty: all of them."""
    named: dict[str, Iterable[str] | None] = {
        "kind": wanted.kinds,
        "state": wanted.states,
        "owner": None if wanted.owner is None else [wanted.owner],
        "label": None if wanted.labels is None else [f"{key}={value}" for key, value in wanted.labels.items()],
        "text": [wanted.text] if wanted.text else None,
    }
    return {name: ", ".join(values) for name, values in named.items() if values is not None}


def _newest_first(one: Line) -> tuple[int, str]:
    return -one.created_at_ms, one.operation_id


def _groups(lines: Sequence[Line], key: Callable[[Line], str]) -> tuple[Group, ...]:
    """By name, the largest first."""
    found: dict[str, list[Line]] = defaultdict(list)
    for one in lines:
        found[key(one)].append(one)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(group(name, members) for name, members in ordered)


def _failures(lines: Sequence[Line]) -> tuple[Failures, ...]:
    """Alike but for numbers (of tiles, workers, bytes) is the same failure. The most frequent first."""
    found: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for one in lines:
        if one.state == "failed":
            found[one.error_code or "", re.sub(r"\d+", "0", one.error_message or "")].append(one)
    failures = []
    for (code, _), members in found.items():
        latest = max(members, key=lambda one: (one.ended_at_ms or one.created_at_ms, one.operation_id))
        failures.append(
            Failures(
                code=code,
                severity=latest.error_severity or "error",
                message=latest.error_message or "",
                count=len(members),
                kinds=tuple(sorted({one.kind for one in members})),
                example_id=latest.operation_id,
                latest_at_ms=latest.ended_at_ms or latest.created_at_ms,
            )
        )
    return tuple(sorted(failures, key=lambda one: (-one.count, one.code, one.message, one.example_id)))
