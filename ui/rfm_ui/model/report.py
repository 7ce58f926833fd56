"""A report as a window shows it: sections of rows, a name for its file. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rfm_runtime.core.counts import counted
from rfm_runtime.core.pages.words import Local, amount, count, outcomes, percent, size_or_nothing, span, state_word
from rfm_runtime.core.text import printable, shortened
from rfm_runtime.protocol.figures import Durations, Group, OperationReport, PeriodReport, Report

__all__ = ["Section", "file_name", "heading", "sections"]

MOST_ROWS = 20
"""Of one section: the page has them all."""
NAME = 40
"""Letters of a name that is a row's first."""


class Section(NamedTuple):
    """head: "" for the first. names: of the columns, empty where each row is a name and what it is."""

    head: str
    rows: tuple[tuple[str, ...], ...]
    names: tuple[str, ...] = ()


def heading(report: Report, local: Local) -> str:
    """What it is of."""
    if isinstance(report, OperationReport):
        return printable(report.operation.name or report.operation.kind)
    said = f"{local.short(report.since_ms)} – {local.short(report.until_ms)}"
    chosen = ", ".join(f"{name} {printable(value)}" for name, value in report.filters.items())
    return f"{said}: {chosen}" if chosen else said


def file_name(report: Report, local: Local) -> str:
    """What its file is called at first."""
    if isinstance(report, OperationReport):
        return f"report-{report.operation.operation_id[-8:]}.html".replace(":", "-")
    return f"report-{local.at(report.since_ms):%Y-%m-%d-%H%M}.html"


def sections(report: Report, local: Local) -> list[Section]:
    """From the top; without those that would be empty."""
    made = _operation(report, local) if isinstance(report, OperationReport) else _period(report, local)
    return [section for section in made if section.rows]


def _period(report: PeriodReport, local: Local) -> Iterator[Section]:
    everything, peak_ms = report.everything, report.course.peak_at_ms
    facts = [
        ("submitted", count(everything.tally.submitted)),
        ("outcomes", outcomes(everything.tally) if everything.tally.submitted else ""),
        ("success", percent(everything.tally.success) if everything.tally.success is not None else ""),
        ("waited", _quantiles(everything.waiting)),
        ("ran", _quantiles(everything.running)),
        ("CPU time", span(1000.0 * everything.cpu_s) if everything.cpu_s else ""),
        ("at once", "" if peak_ms is None else f"{count(report.course.peak)} at most, {local.short(peak_ms)}"),
    ]
    yield Section("", _known(facts))
    yield Section("Kinds", _groups(report.kinds), ("kind", "submitted", "failed", "cancelled", "ran", "90 %"))
    if len(report.owners) > 1:
        yield Section("Owners", _groups(report.owners), ("owner", "submitted", "failed", "cancelled", "ran", "90 %"))
    failures = tuple(
        (f"{printable(one.code)}: {printable(one.message)}", count(one.count), local.short(one.latest_at_ms))
        for one in report.failures[:MOST_ROWS]
    )
    yield Section("Failures", failures, ("what", "how often", "last"))


def _operation(report: OperationReport, local: Local) -> Iterator[Section]:
    line, error = report.operation, report.error
    facts = [
        ("state", state_word(line.state)),
        ("error", "" if error is None else f"{printable(error.code)}: {printable(error.message)}"),
        ("what to do", "" if error is None else printable(error.hint or "")),
        ("kind", printable(line.kind)),
        ("owner", printable(line.owner)),
        ("submitted", local.second(line.created_at_ms)),
        ("waited", span(line.waiting_ms)),
        ("ran", "" if line.running_ms is None else span(line.running_ms)),
        ("CPU time", span(1000.0 * line.cpu_s) if line.cpu_s else ""),
        ("speed", "" if report.rate is None or not line.unit else amount(report.rate, f"{line.unit}/s")),
        ("iterations", "" if not report.iterations_per_s else amount(report.iterations_per_s, "/s")),
        ("cores in use", "" if not report.cores else amount(report.cores)),
        ("efficiency", "" if report.efficiency is None else percent(report.efficiency)),
        ("memory", size_or_nothing(report.peak_memory_bytes) if report.peak_memory_bytes else ""),
        ("workers lost", counted(report.deaths, "worker") if report.deaths else ""),
    ]
    yield Section("", _known(facts))
    phases = tuple(
        (one.phase, local.second(one.start_ms), span(one.end_ms - one.start_ms)) for one in report.phases[:MOST_ROWS]
    )
    yield Section("Phases", phases, ("phase", "from", "for"))
    events = tuple(
        (one.type.removeprefix("operation_"), local.second(one.at_ms), printable(one.reason or one.by or ""))
        for one in report.events[-MOST_ROWS:]
    )
    yield Section("What happened", events, ("event", "when", ""))


def _known(facts: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, value) for name, value in facts if value)


def _groups(groups: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            shortened(group.name, NAME) or "no name",
            count(group.tally.submitted),
            count(group.tally.failed) if group.tally.failed else "",
            count(group.tally.canceled) if group.tally.canceled else "",
            span(group.running.p50_ms) if group.running.count else "",
            span(group.running.p90_ms) if group.running.count else "",
        )
        for group in groups[:MOST_ROWS]
    )


def _quantiles(took: Durations) -> str:
    if not took.count:
        return ""
    return f"{span(took.p50_ms)} half of them, {span(took.p90_ms)} nine of ten, {span(took.max_ms)} at most"
