"""The page of a period: what became of its operations, when, how long they took, and what went wrong."""

from __future__ import annotations

from rfm_runtime._version import __version__
from rfm_runtime.core.pages.charts import Series, Tick, columns, heat, legend, spreads, steps, strip, time_ticks
from rfm_runtime.core.pages.elements import Child, Html, foreign, join, page, tag
from rfm_runtime.core.pages.listings import GROUPS, all_of_them, canceled_ones, failed_ones, groups, longest, owners
from rfm_runtime.core.pages.tables import figures, folded, section, table
from rfm_runtime.core.pages.words import Local, amount, count, length, outcomes, percent, span, state_word
from rfm_runtime.protocol.figures import Group, PeriodReport

__all__ = ["period_page"]

SHOWN = 20
"""Kinds in a chart; the others are added up, or only in the table."""


def period_page(report: PeriodReport, local: Local) -> Html:
    """The whole page."""
    many = len(report.operations)
    counted = f"{count(many) if many else 'No'} operation{'' if many == 1 else 's'}"
    title = f"{counted} in {length(report.until_ms - report.since_ms)}"
    body = (
        _everything(report, local)
        if many
        else [tag("p", "Nothing was submitted in this time, so there is nothing to show.", class_="empty")]
    )
    return page(
        f"Report: {title}",
        tag("header", tag("p", "rfm-runtime report", class_="eyebrow"), tag("h1", title), *_about(report, local)),
        tag("main", *body),
        tag("footer", tag("p", *_small_print(report, local))),
    )


def _about(report: PeriodReport, local: Local) -> list[Html]:
    lines = [
        tag(
            "p",
            f"Submitted from {local.day(report.since_ms)} to {local.day(report.until_ms)}, "
            f"{local.offset(report.until_ms)}",
            class_="about",
        )
    ]
    if report.filters:
        chosen = (join(f"; {name} ", foreign(value)) for name, value in sorted(report.filters.items()))
        lines.append(tag("p", "Not all of them", *chosen, class_="about"))
    return lines


def _small_print(report: PeriodReport, local: Local) -> list[Child]:
    return [
        f"Made {local.second(report.now_ms)} ({local.offset(report.now_ms)}) by rfm-runtime {__version__}. Operations ",
        "count for the time in which they were submitted; those without an outcome last until this moment. ",
        "Durations are real ones: 90 % means that nine of ten took no longer.",
    ]


def _everything(report: PeriodReport, local: Local) -> list[Child]:
    lines = {line.operation_id: line for line in report.operations}
    slowest = [lines[one] for one in report.slowest]
    canceled = [lines[one] for one in report.canceled]
    return [
        *_overview(report, local),
        _over_time(report, local),
        _at_once(report, local),
        _durations(report),
        _kinds(report, local),
        failed_ones(report.failures, local),
        longest(slowest, local),
        canceled_ones(canceled, local),
        owners(report.owners),
        all_of_them(report.operations, local),
    ]


# --- at a glance ------------------------------------------------------------------------------


def _overview(report: PeriodReport, local: Local) -> list[Child]:
    everything, over = report.everything, report.course
    tally, running, waiting = everything.tally, everything.running, everything.waiting
    success = (
        f"Of those that completed or failed, {percent(tally.success)} completed."
        if tally.success is not None
        else "None has completed or failed yet."
    )
    peak_note = f"first at {local.short(over.peak_at_ms)}" if over.peak_at_ms is not None else "nothing has run"
    ran_s = sum(one.running_ms or 0 for one in report.operations) / 1000
    cores = f"{everything.cpu_s / ran_s:.2f} cores for one on average" if ran_s else "nothing has run"
    shares = [("completed", tally.completed), ("failed", tally.failed), ("canceled", tally.canceled)]
    shares.append(("running", tally.unfinished))
    words = {"running": "unfinished"}
    return [
        tag("p", f"{outcomes(tally)}. {success}", class_="lede"),
        strip(
            "outcomes",
            "What became of them",
            outcomes(tally),
            [(state, many, f"{count(many)} {words.get(state, state_word(state))}") for state, many in shares if many],
        ),
        legend([(state, f"{count(many)} {words.get(state, state_word(state))}") for state, many in shares if many]),
        figures(
            [
                ("Success", percent(tally.success), "of those that completed or failed"),
                ("Half ran", span(running.p50_ms), f"or less; nine of ten {span(running.p90_ms)}"),
                ("Half waited", span(waiting.p50_ms), f"or less; nine of ten {span(waiting.p90_ms)}"),
                ("At once", count(over.peak), f"at most, {peak_note}"),
                ("CPU time", span(everything.cpu_s * 1000), cores),
                ("Iterations", amount(everything.iterations), "of all kernels"),
            ]
        ),
    ]


# --- over time --------------------------------------------------------------------------------


def _ticks(report: PeriodReport, local: Local) -> list[Tick]:
    over = report.course
    end_ms = over.start_ms + over.width_ms * len(over.bins)
    days = end_ms - over.start_ms > 2 * 86_400_000

    def label(at_ms: int, step_ms: int) -> str:
        if days:
            return local.date(at_ms)
        return local.second(at_ms)[-8:] if step_ms < 60_000 else local.clock(at_ms)

    return time_ticks(over.start_ms, end_ms, local.offset_ms(over.start_ms), label)


def _bins(report: PeriodReport, local: Local) -> list[str]:
    """What the bins are called."""
    over = report.course
    if over.width_ms >= 86_400_000:
        return [local.second(one.start_ms)[:10] for one in over.bins]
    if over.width_ms < 60_000:
        return [local.second(one.start_ms) for one in over.bins]
    return [f"{local.second(one.start_ms)[:16]}–{local.clock(one.start_ms + over.width_ms)}" for one in over.bins]


def _over_time(report: PeriodReport, local: Local) -> Html:
    over = report.course
    names = _bins(report, local)
    series = [
        Series("completed", "completed", [one.completed for one in over.bins]),
        Series("failed", "failed", [one.failed for one in over.bins]),
        Series("canceled", "cancelled", [one.canceled for one in over.bins]),
    ]
    said = [
        f"{name}: {one.completed} completed, {one.failed} failed, {one.canceled} cancelled"
        for name, one in zip(names, over.bins, strict=True)
    ]
    busiest = max(over.bins, key=lambda one: one.completed + one.failed + one.canceled)
    most = busiest.completed + busiest.failed + busiest.canceled
    width = length(over.width_ms)
    intro = f"How many ended in each {width}: {count(most)} at most, from {local.short(busiest.start_ms)} on."
    if over.outside_ended:
        intro += f" {count(over.outside_ended)} more ended outside the period."
    rows = [
        (name, *map(count, (one.submitted, one.started, one.completed, one.failed, one.canceled)))
        for name, one in zip(names, over.bins, strict=True)
    ]
    return section(
        "Outcomes over time",
        columns("ended", "Outcomes over time", intro, series, said, _ticks(report, local)),
        legend([(one.name, one.word) for one in series]),
        folded(
            "The same as a table",
            table(
                "Outcomes over time",
                ("From", "Submitted", "Started", "Completed", "Failed", "Cancelled"),
                rows,
            ),
        ),
        intro=intro,
    )


def _at_once(report: PeriodReport, local: Local) -> Html:
    over = report.course
    names = _bins(report, local)
    said = [
        f"{name}: {one.peak} at once at most, {one.mean:.2f} on average"
        for name, one in zip(names, over.bins, strict=True)
    ]
    mean = sum(one.mean for one in over.bins) / len(over.bins)
    intro = f"How many ran at the same time: {count(over.peak)} at most, {mean:.2f} on average over the whole time."
    return section(
        "At once",
        steps(
            "at-once",
            "How many ran at once",
            intro,
            [one.peak for one in over.bins],
            [one.mean for one in over.bins],
            said,
            _ticks(report, local),
        ),
        legend([("running line", "at most"), ("running", "on average")]),
        folded(
            "The same as a table",
            table(
                "How many ran at once",
                ("From", "At most", "On average"),
                [(name, count(one.peak), f"{one.mean:.2f}") for name, one in zip(names, over.bins, strict=True)],
            ),
        ),
        intro=intro,
    )


# --- by kind ----------------------------------------------------------------------------------


def _durations(report: PeriodReport) -> Html:
    """The chart of all kinds that have ended operations, and the table of all of them."""
    rows = []
    for kind in report.kinds[:SHOWN]:
        took = kind.running
        if None in (values := (took.p50_ms, took.p90_ms, took.p99_ms, took.max_ms)):
            continue
        said = f"{kind.name}: half {span(values[0])}, 90 % {span(values[1])}, 99 % {span(values[2])}, longest "
        rows.append((kind.name, [value or 0 for value in values], said + span(values[3])))
    content: list[Child] = []
    if rows:
        described = "A bar from the median to 90 %, then to 99 %, then to the longest; the axis is logarithmic."
        content.append(spreads("durations", "How long they ran, by kind", described, rows))
        content.append(
            legend([("strong", "median to 90 %"), ("middle", "to 99 %"), ("end", "the longest")]),
        )
    else:
        content.append(tag("p", "Nothing has run to an end yet.", class_="empty"))
    headings = ("Kind", "Ended", "Waited, half", "90 %", "99 %", "longest", "Ran, half", "90 %", "99 %", "longest")
    content.append(
        folded(
            "The same as a table",
            table(
                "Durations by kind",
                headings,
                (
                    (
                        foreign(kind.name),
                        count(kind.running.count),
                        *(span(value) for value in _quantiles(kind)),
                    )
                    for kind in report.kinds[:GROUPS]
                ),
            ),
        )
    )
    intro = "From start to outcome, whatever the outcome was. The axis is logarithmic."
    return section("How long they ran", *content, intro=intro)


def _quantiles(kind: Group) -> list[int | None]:
    return [value for one in (kind.waiting, kind.running) for value in (one.p50_ms, one.p90_ms, one.p99_ms, one.max_ms)]


def _kinds(report: PeriodReport, local: Local) -> Html:
    names = _bins(report, local)
    shown = list(zip(report.density.kinds, report.density.counts, strict=True))
    rows = shown[:SHOWN]
    if len(shown) > SHOWN:
        rest = [sum(column) for column in zip(*(values for _, values in shown[SHOWN:]), strict=True)]
        rows.append((f"{len(shown) - SHOWN} other kinds", tuple(rest)))
    width = length(report.course.width_ms)
    intro = f"How many of each kind were submitted in each {width}: the stronger the colour, the more."
    return section(
        "Kinds",
        heat("density", "Submissions by kind and time", intro, rows, names, _ticks(report, local)),
        groups("By kind", "Kind", report.kinds),
        folded(
            "Submissions as a table",
            table(
                "Submissions by kind and time",
                ("From", *(name for name, _ in rows)),
                ((name, *(count(values[i]) for _, values in rows)) for i, name in enumerate(names)),
            ),
        ),
        intro=intro,
    )
