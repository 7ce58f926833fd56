"""Positions of watchers: up to which event of a log each knows everything, of what it may see. Values in, values out.

A position is as good as the rights that it was given under: who may see more, or something else, than before lacks what
happened before it. So the epoch that a watcher is told names both, the log and what it may see of it. One who sees
everything is told the log's own name.
"""

from __future__ import annotations

import hashlib

import msgspec

from rfm_runtime.core.permissions import Sight
from rfm_runtime.protocol.messages import ResumeFrom

__all__ = ["epoch_for", "is_whole", "log_of"]

BEHIND_THE_LOG = "~"
"""Between the log's name, which has none, and that of what is seen."""


def epoch_for(log: str, seen: Sight | None) -> str:
    """The epoch of positions in this log of somebody who sees that; None: nothing. Up to 17 characters longer."""
    if seen is not None and seen.everything:
        return log
    what = None if seen is None else (seen.user, None if seen.kinds is None else sorted(seen.kinds))
    return f"{log}{BEHIND_THE_LOG}{hashlib.blake2b(msgspec.json.encode(what), digest_size=8).hexdigest()}"


def log_of(epoch: str) -> str:
    """The name of the log that a position's epoch is of."""
    return epoch.partition(BEHIND_THE_LOG)[0]


def is_whole(position: ResumeFrom, log: str, seen: Sight | None) -> bool:
    """Whether somebody who sees that lacks nothing of this log up to his position.

    Before the first event there is nothing to lack, whoever it was.
    """
    if position.partial or log_of(position.epoch) != log:
        return False
    return position.seq == 0 or position.epoch == epoch_for(log, seen)
