"""What a period looks like from far away: how much was submitted, begun and ended in each part of it, and ran."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from rfm_runtime.protocol.operation import OperationFilter, Position

__all__ = ["BINS_LIMIT", "ROWS_LIMIT", "Buckets", "By", "GetTimeline", "TimelineReply"]

BINS_LIMIT = 512
"""Parts of one period: two pixels each on a wide screen."""

ROWS_LIMIT = 32

By = Literal["kind", "owner", "state"]


class GetTimeline(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`timeline`: a period in `bins` parts of `width_ms` each, from since_ms (since 1970) on. → `timeline_reply`

    Of all operations that were there at some time of it and pass the filter, from the store. by: what they are divided
    by in rows, of which there are the `rows` busiest, and one for the rest. `too_large` where the period has more
    operations than are looked through for one answer.
    """

    since_ms: Position
    width_ms: Annotated[int, Meta(ge=1, le=2**40)]
    bins: Annotated[int, Meta(ge=1, le=BINS_LIMIT)]
    by: By = "kind"
    rows: Annotated[int, Meta(ge=0, le=ROWS_LIMIT)] = 12
    filter: OperationFilter = OperationFilter()


class Buckets(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row, each figure by bin. operations: that were there at some time of the period.

    submitted, started; completed, failed, canceled: how many were, in that bin. peak: most that ran at once, from their
    start to their end, pauses included. busy_ms: how long they ran in it, all together.
    """

    name: str = ""
    operations: int
    submitted: tuple[int, ...]
    started: tuple[int, ...]
    completed: tuple[int, ...]
    failed: tuple[int, ...]
    canceled: tuple[int, ...]
    peak: tuple[int, ...]
    busy_ms: tuple[int, ...]


class TimelineReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As of now_ms, until when what runs has run. rows: the busiest first. rest: of what is in no row, if anything is;
    others: how many rows it would be.
    """

    since_ms: int
    width_ms: int
    now_ms: int
    everything: Buckets
    rows: tuple[Buckets, ...] = ()
    rest: Buckets | None = None
    others: int = 0
