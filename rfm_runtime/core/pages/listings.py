"""The tables of a period's page: groups, errors, and single operations."""

from __future__ import annotations

from collections.abc import Sequence

from rfm_runtime.core.counts import counted
from rfm_runtime.core.pages.elements import Child, Html, foreign, join, tag, words
from rfm_runtime.core.pages.tables import badge, folded, section, table
from rfm_runtime.core.pages.words import NOTHING, Local, count, percent, span, state_word
from rfm_runtime.protocol.figures import Failures, Group, Line

__all__ = ["all_of_them", "canceled_ones", "failed_ones", "groups", "longest", "owners"]

LISTED = 1000
"""Operations in the page's own list; a browser takes seconds for ten times as many."""

ERRORS = 20
"""The most frequent ones."""

GROUPS = 100
"""Kinds or owners, the largest; a program may make up thousands."""

CANCELED = 10
"""The newest ones."""


def groups(caption: str, heading: str, members: Sequence[Group]) -> Html:
    """What became of the operations of each kind or owner."""
    rows = (
        (
            foreign(one.name or NOTHING),
            *(count(one.tally.submitted), count(one.tally.completed), count(one.tally.failed)),
            *(count(one.tally.canceled), count(one.tally.unfinished), percent(one.tally.success)),
            *(span(one.running.p50_ms), span(one.cpu_s * 1000)),
        )
        for one in members[:GROUPS]
    )
    headings = (
        heading,
        "Submitted",
        "Completed",
        "Failed",
        "Cancelled",
        "Unfinished",
        "Success",
        "Half ran",
        "CPU time",
    )
    return join(table(caption, headings, rows), _more(len(members) - GROUPS, "smaller ones"))


def owners(members: Sequence[Group]) -> Html:
    """Who submitted them."""
    return section("Owners", groups("By owner", "Owner", members), intro="Who submitted them, the busiest first.")


def failed_ones(failures: Sequence[Failures], local: Local) -> Html:
    """What went wrong, and how often."""
    if not failures:
        return section("Failures", tag("p", "Nothing failed.", class_="empty"))
    rows = [
        (
            tag("code", foreign(one.code or NOTHING)),
            words(one.severity),
            words(one.message),
            words(", ".join(one.kinds)),
            _id(one.example_id),
            local.stamp(one.latest_at_ms),
            count(one.count),
        )
        for one in failures[:ERRORS]
    ]
    content: list[Child] = [
        table("Failures", ("Code", "Severity", "Message", "Kinds", "Latest example", "Latest", "Count"), rows, texts=6)
    ]
    rest = failures[ERRORS:]
    content.append(_more(len(rest), f"errors, of {counted(sum(one.count for one in rest), 'operation')}"))
    return section("Failures", *content, intro="Errors alike but for the numbers in them are counted together.")


def longest(slowest: Sequence[Line], local: Local) -> Html:
    """Those that ran longest."""
    if not slowest:
        return section("The longest", tag("p", "Nothing has run.", class_="empty"))
    rows = (
        (
            foreign(one.name or NOTHING),
            foreign(one.kind),
            badge(state_word(one.state), one.state),
            _id(one.operation_id),
            local.stamp(one.started_at_ms),
            span(one.running_ms),
            span(one.cpu_s * 1000),
        )
        for one in slowest
    )
    headings = ("Name", "Kind", "State", "Id", "Started", "Ran", "CPU time")
    return section("The longest", table("The longest", headings, rows, texts=5))


def canceled_ones(canceled: Sequence[Line], local: Local) -> Html:
    """The newest of those that were cancelled."""
    if not canceled:
        return section("Cancelled", tag("p", "Nothing was cancelled.", class_="empty"))
    rows = (
        (
            foreign(one.name or NOTHING),
            foreign(one.kind),
            foreign(one.owner),
            _id(one.operation_id),
            local.stamp(one.ended_at_ms),
            span(one.running_ms) if one.running_ms is not None else "not at all",
        )
        for one in canceled[:CANCELED]
    )
    headings = ("Name", "Kind", "Owner", "Id", "Cancelled", "Had run")
    content: list[Child] = [table("Cancelled", headings, rows, texts=5)]
    content.append(_more(len(canceled) - CANCELED, "operations"))
    return section("Cancelled", *content)


def all_of_them(lines: Sequence[Line], local: Local) -> Html:
    """The whole list, folded away."""
    rows = (
        (
            foreign(one.name or NOTHING),
            foreign(one.kind),
            badge(state_word(one.state), one.state),
            foreign(one.owner),
            _id(one.operation_id),
            local.stamp(one.created_at_ms),
            span(one.waiting_ms),
            span(one.running_ms),
            span(one.cpu_s * 1000),
        )
        for one in lines[:LISTED]
    )
    headings = ("Name", "Kind", "State", "Owner", "Id", "Submitted", "Waited", "Ran", "CPU time")
    content: list[Child] = [table("All operations", headings, rows, texts=6)]
    content.append(_more(len(lines) - LISTED, "older operations; CSV and JSON have all of them"))
    summary = f"All {count(len(lines))}, newest first" if len(lines) > 1 else "The only one"
    return section("All operations", folded(summary, *content))


def _id(operation_id: str) -> Html:
    return tag("code", operation_id, class_="id")


def _more(many: int, what: str) -> Html | None:
    """What is not shown."""
    return tag("p", f"and {count(many)} more {what}", class_="empty") if many > 0 else None
