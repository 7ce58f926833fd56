"""The feed's frames: numbered without a gap, each with the place in the log where it begins and where it ends.

One `Feed` per broker process: a gateway that sees another incarnation, or a number left out, asks for what it lacks.
"""

from __future__ import annotations

from rfm_runtime.protocol.internal import FeedFrame
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.protocol.resources import Resources
from rfm_runtime.protocol.revocation import Revocations

__all__ = ["Feed"]


class Feed:
    """number: of the last frame, 0 before the first. head: of the log, as far as it was published.

    revoked: version of the set of tokens that are valid no more, as far as that was.
    """

    def __init__(self, epoch: str, incarnation: int, head: int, revoked: int = 0) -> None:
        self.epoch = epoch
        self.incarnation = incarnation
        self.head = head
        self.number = 0
        self.revoked = revoked

    def frame(
        self,
        ts_ms: int,
        events: tuple[OperationEvent, ...] = (),
        progress: tuple[ProgressUpdate, ...] = (),
        *,
        resources: Resources | None = None,
        journal: str | None = None,
        revocations: Revocations | None = None,
        rules: tuple[tuple[str, int], ...] = (),
    ) -> FeedFrame:
        """The next frame. events: those that follow the last ones, in order; without any it is a sign of life."""
        self.number += 1
        before = self.head
        if revocations is not None:
            self.revoked = revocations.version
        if events:
            self.head = events[-1].seq
        return FeedFrame(
            epoch=self.epoch,
            incarnation=self.incarnation,
            frame_no=self.number,
            prev_seq=before,
            head_seq=self.head,
            ts_ms=ts_ms,
            events=events,
            progress=progress,
            resources=resources,
            journal=journal,
            revoked=self.revoked,
            revocations=revocations,
            rules=rules,
        )
