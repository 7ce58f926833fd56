"""What a request costs of its client's commands: one is a `ping`, or anything that one row of a table answers.

By what it makes others do: the broker that reads a page from the store, the gateway that encodes a list anew. What a
subscription costs shows when its list is begun: who resumes needs none. Chunks and tiles are not here: they are bounded
by how many are under way, so that they are as fast as who reads them.
"""

from __future__ import annotations

from msgspec import Struct

from rfm_runtime.protocol.figures import GetPeriodReport
from rfm_runtime.protocol.history import History
from rfm_runtime.protocol.messages import (
    AuthRefresh,
    Explain,
    Kinds,
    ListOperations,
    Recolour,
    SubmitMany,
    Subscribe,
)
from rfm_runtime.protocol.notifying import SetRules
from rfm_runtime.protocol.timeline import GetTimeline

__all__ = ["cost_of", "snapshot_cost"]

_COSTS: dict[type[Struct], float] = {
    # And what its list costs.
    Subscribe: 5.0,
    # A signature is checked.
    AuthRefresh: 5.0,
    Explain: 2.0,
    Kinds: 2.0,
    # Each is a commit, and a frame of the feed.
    SetRules: 2.0,
    # A process colours a whole frame.
    Recolour: 10.0,
    # A period that may have all that the store keeps.
    GetTimeline: 10.0,
    GetPeriodReport: 20.0,
}
LISTED = 100.0
"""Operations in memory for one."""

READ = 50.0
"""Operations read from the store for one."""

SUBMITTED = 16.0
"""Submissions that are journalled in one batch for one: fewer commits than as many messages."""


def cost_of(request: Struct) -> float:
    """At least 1.0."""
    match request:
        case ListOperations():
            return 1.0 + request.limit / LISTED
        case History():
            return 1.0 + request.limit / READ
        case SubmitMany():
            return 1.0 + len(request.operations) / SUBMITTED
    return _COSTS.get(type(request), 1.0)


def snapshot_cost(looked: int) -> float:
    """Of a list for which so many operations were looked at, whether they are in it or not."""
    return looked / LISTED
