"""The page of one operation: what it was, how it went over its time, and what happened to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from rfm_runtime._version import __version__
from rfm_runtime.core.pages.charts import curve, legend, strip, time_ticks
from rfm_runtime.core.pages.elements import Child, Html, foreign, join, page, tag, words
from rfm_runtime.core.pages.tables import badge, facts, figures, folded, section, table
from rfm_runtime.core.pages.words import (
    NOTHING,
    Local,
    amount,
    count,
    length,
    percent,
    size_or_nothing,
    span,
    state_word,
)
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.protocol.figures import OperationReport, PhaseName, Sample

__all__ = ["operation_page"]

PHASE_WORDS: Final[dict[PhaseName, str]] = {
    "waiting": "waited",
    "running": "ran",
    "paused": "was paused",
    "stopping": "was being stopped",
}


def operation_page(report: OperationReport, local: Local) -> Html:
    """The whole page."""
    facts = report.operation
    name = facts.name or facts.kind
    header = tag(
        "header",
        tag("p", "rfm-runtime report", class_="eyebrow"),
        tag("h1", foreign(name)),
        tag(
            "p",
            badge(state_word(facts.state), facts.state),
            " · ",
            foreign(facts.kind),
            " · ",
            tag("code", facts.operation_id, class_="id"),
            class_="about",
        ),
    )
    made = f"Made {local.second(report.now_ms)} ({local.offset(report.now_ms)}) by rfm-runtime {__version__}. "
    return page(
        f"Report: {name}",
        header,
        tag(
            "main",
            tag("p", _lede(report), class_="lede"),
            _error(report),
            _figures(report),
            _phases(report),
            _series(report),
            _events(report, local),
            _facts(report, local),
            _files(report),
            _params(report),
        ),
        tag("footer", tag("p", made, "What has no outcome yet lasts until this moment.")),
    )


# --- at a glance ------------------------------------------------------------------------------


def _lede(report: OperationReport) -> str:
    facts, phases = report.operation, report.phase_ms
    parts = [f"{PHASE_WORDS[name]} {span(took_ms)}" for name, took_ms in phases.items() if took_ms]
    course = f"it {_listed(parts)}" if parts else "it took no time"
    if facts.ended_at_ms is not None:
        whole = span(max(0, facts.ended_at_ms - facts.created_at_ms))
        return f"{state_word(facts.state).capitalize()} {whole} after it was submitted: {course}."
    so_far = f"{state_word(facts.state).capitalize()} at the time of this report: so far {course}."
    if report.eta is not None:
        so_far += (
            f" It should take another {span(report.eta.p50)}, {span(report.eta.p90)} at most in nine of ten cases."
        )
    return so_far


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _error(report: OperationReport) -> Html | None:
    error = report.error
    if error is None:
        return None
    hint = tag("p", foreign(error.hint)) if error.hint else None
    return tag(
        "div",
        tag("p", tag("code", foreign(f"{error.severity}[{error.code}]")), " ", foreign(error.message)),
        hint,
        class_="trouble",
    )


def _figures(report: OperationReport) -> Html:
    facts = report.operation
    of_total = f"of {amount(facts.total, facts.unit)}" if facts.total is not None else facts.unit or "no total is known"
    used = (
        f"{percent(report.efficiency)} of {count(report.slots)} slots" if report.slots else "of all that worked on it"
    )
    lost = f"workers {count(report.deaths)}, owners {count(report.losses)}"
    return figures(
        [
            (
                "Ran",
                span(facts.running_ms),
                f"{span(report.paused_ms)} of it paused" if report.paused_ms else "no pause",
            ),
            ("Waited", span(facts.waiting_ms), "until it started" if facts.started_at_ms else "and never started"),
            ("Done", amount(facts.done), of_total),
            ("Rate", amount(report.rate, f"{facts.unit or '1'}/s"), "on average"),
            ("CPU time", span(facts.cpu_s * 1000), used),
            ("Cores", f"{report.cores:.2f}" if report.cores is not None else NOTHING, "busy on average"),
            ("Iterations", amount(facts.iterations), f"{amount(report.iterations_per_s)}/s"),
            (
                "Memory",
                size_or_nothing(report.peak_memory_bytes),
                "at most" if report.peak_memory_bytes else "not measured",
            ),
            ("Losses", count(report.deaths + report.losses), lost),
        ]
    )


# --- over its time ----------------------------------------------------------------------------


def _phases(report: OperationReport) -> Html:
    if not report.phases:
        return section("Course", tag("p", "It took no time at all.", class_="empty"))
    parts = [
        (one.phase, float(one.end_ms - one.start_ms), f"{PHASE_WORDS[one.phase]} {span(one.end_ms - one.start_ms)}")
        for one in report.phases
    ]
    description = ", then ".join(text for _, _, text in parts[:50])
    sums = [(name, f"{PHASE_WORDS[name]} {span(took)}") for name, took in report.phase_ms.items() if took]
    return section("Course", strip("phases", "From submission to outcome", description, parts), legend(sums))


class _Measure(NamedTuple):
    """One chart of the series. binary, least_top: as of `curve`."""

    name: str
    title: str
    value: Callable[[Sample], float | None]
    label: Callable[[float], str]
    colour: str
    binary: bool = False
    least_top: float = 0.0


def _measures(report: OperationReport, unit: str) -> tuple[_Measure, ...]:
    def cores(value: float) -> str:
        return f"{value:.3g}"

    progress = _Measure("done", "Done", lambda one: one.done, amount, "completed")
    if report.operation.total:
        progress = _Measure(
            "share", "Progress", lambda one: one.share, lambda it: f"{100 * it:.0f} %", "completed", least_top=1.0
        )
    return (
        progress,
        _Measure("rate", f"Rate, {unit}", lambda one: one.rate, amount, "running"),
        _Measure("cores", "CPU use, cores", lambda one: one.cores, cores, "cpu", least_top=report.slots),
        _Measure("iterations", "Iterations/s", lambda one: one.iterations_per_s, amount, "running"),
        _Measure(
            "memory", "Memory", lambda one: one.memory_bytes, lambda it: size(it) if it else "0", "memory", binary=True
        ),
        _Measure("workers", "Workers", lambda one: one.workers, cores, "cpu", least_top=report.slots),
    )


def _series(report: OperationReport) -> Html:
    """A chart for each measure that was taken, and one table for all of them."""
    series = report.series
    if len(series) < 2:
        return section(
            "Over its time", tag("p", "Nothing is kept of it, or it was too short for that.", class_="empty")
        )
    unit = f"{report.operation.unit or '1'}/s"
    drawn = [_chart(series, measure) for measure in _measures(report, unit)]
    return section(
        "Over its time", tag("div", *drawn, class_="charts"), folded("The same as a table", _samples(series, unit))
    )


def _chart(series: Sequence[Sample], measure: _Measure) -> Html | None:
    """Of one measure, unless it was nothing all the time."""
    found = [(one.t_ms, it) for one in series if (it := measure.value(one)) is not None]
    if not any(it for _, it in found):
        return None
    end_ms, highest = series[-1].t_ms, max(it for _, it in found)
    drawn = curve(
        measure.name,
        measure.title,
        f"Over {span(end_ms)}; {measure.label(highest)} at most.",
        [(t_ms / end_ms, it) for t_ms, it in found],
        [f"{span(t_ms)}: {measure.label(it)}" for t_ms, it in found],
        colour=measure.colour,
        label=measure.label,
        ticks=time_ticks(0, end_ms, 0, lambda at_ms, _: length(at_ms) if at_ms else "0", most=4),
        binary=measure.binary,
        least_top=measure.least_top,
    )
    return tag("figure", tag("figcaption", measure.title), drawn)


def _samples(series: Sequence[Sample], unit: str) -> Html:
    return table(
        "Over its time",
        ("After", "Done", "Progress", f"Rate, {unit}", "Cores", "Iterations/s", "Memory", "Workers"),
        (
            (
                *(span(one.t_ms), amount(one.done), percent(one.share), amount(one.rate)),
                *(amount(one.cores), amount(one.iterations_per_s)),
                *(size_or_nothing(one.memory_bytes), count(one.workers)),
            )
            for one in series
        ),
    )


# --- what is known of it ----------------------------------------------------------------------


def _events(report: OperationReport, local: Local) -> Html:
    if not report.events:
        return section("Events", tag("p", "Its events are no longer kept.", class_="empty"))
    rows = (
        (
            local.stamp(one.at_ms),
            one.type.removeprefix("operation_").replace("canceled", "cancelled"),
            words(_remark(one.by, one.reason, one.priority)),
            f"+{span(one.after_ms)}",
            span(one.since_submitted_ms),
        )
        for one in report.events
    )
    headings = ("Time", "Event", "Remark", "After the last", "Since submitted")
    return section("Events", table("Events", headings, rows, texts=3))


def _remark(by: str | None, reason: str | None, priority: int | None) -> str:
    parts = [f"by {by}" if by else "", reason or "", f"priority {priority}" if priority is not None else ""]
    return ", ".join(part for part in parts if part)


def _facts(report: OperationReport, local: Local) -> Html:
    one = report.operation
    rows: list[tuple[str, Child]] = [
        ("Kind", foreign(one.kind)),
        ("Owner", foreign(one.owner)),
        ("Submitted", local.stamp(one.created_at_ms)),
        ("Started", local.stamp(one.started_at_ms)),
        ("Ended", local.stamp(one.ended_at_ms)),
        ("Priority", str(one.priority)),
        ("Attempts", count(one.attempts)),
    ]
    optional: list[tuple[str, str | None]] = [
        ("Parent", one.parent_id),
        ("Place", report.location),
        ("Correlation id", report.correlation_id),
        ("Last step", report.step),
        ("Last message", report.message),
    ]
    rows += [(name, foreign(value)) for name, value in optional if value]
    if report.progress is not None:
        rows.append(("Progress", percent(report.progress / 100)))
    if report.cancel_requested:
        rows.append(("Cancel", "asked for; its worker was killed" if report.forced else "asked for"))
    rows += [("Label", join(foreign(name), " = ", foreign(value))) for name, value in sorted(one.labels.items())]
    return section("Facts", facts(rows))


def _files(report: OperationReport) -> Html | None:
    if not report.artifacts:
        return None
    rows = (
        (foreign(one.name), foreign(one.media_type), tag("code", one.sha256, class_="id"), f"{count(one.size_bytes)} B")
        for one in report.artifacts
    )
    return section("Files", table("Files", ("Name", "Type", "SHA-256", "Size"), rows, texts=3))


def _params(report: OperationReport) -> Html | None:
    if not report.params:
        return None
    rows: list[tuple[str, Child]] = []
    for name, value in report.params.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        rows.append((name, tag("span", foreign(text), class_="value")))
    return section("Parameters", facts(rows))
