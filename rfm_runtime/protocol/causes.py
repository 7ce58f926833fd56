"""Why an operation ended badly, as the runtime itself says it: the `code` in the `ErrorInfo` of an operation. Pure.

A program that reports its own operations gives codes of its own beside these: the name of an exception's class, or
what it passed as `code`. Whoever refuses a request gives the codes of `rfm_runtime.errors`.
"""

from __future__ import annotations

from typing import NamedTuple

from rfm_runtime.errors import Recovery, RfmError, Severity
from rfm_runtime.protocol.operation import ErrorInfo, error_info

__all__ = [
    "CANCELED",
    "CAUSES",
    "ENGINE_ERROR",
    "FAILED",
    "HOLES",
    "INTERRUPTED",
    "NO_ARTIFACTS",
    "NO_FRAME",
    "NO_KERNEL",
    "NO_MEMORY",
    "POISON_RENDER",
    "POISON_TILE",
    "WORKER_LOST",
    "Cause",
    "cause_of",
]


class Cause(NamedTuple):
    """meaning: for people who look a code up. hint: what to do, unless the place where it happens knows better."""

    code: str
    severity: Severity
    recovery: Recovery
    meaning: str
    hint: str

    def error(self, message: str, *, hint: str | None = None) -> ErrorInfo:
        """Of one operation."""
        return ErrorInfo(
            code=self.code, message=message, severity=self.severity, hint=self.hint if hint is None else hint
        )


WORKER_LOST = Cause(
    "worker_lost",
    "error",
    "again",
    "what computed it died or went silent for good, and it cannot go on: an engine, workers that died with the same "
    "tile, or the program that reported it and ended without an outcome",
    "see `rfm-runtime logs` for the cause, then submit it again",
)
POISON_TILE = Cause(
    "poison_tile",
    "error",
    "change",
    "some of its pixels kill, or exhaust, every worker that computes them, alone and in small parts",
    'see `rfm-runtime logs engine`; with on_poison "hole" everything else is rendered',
)
POISON_RENDER = Cause(
    "poison_render",
    "error",
    "change",
    "tile after tile of it killed, or exhausted, the workers that computed it, so that it was given up",
    "see `rfm-runtime logs engine`; fewer workers may help if they died for want of memory",
)
HOLES = Cause(
    "holes",
    "warning",
    "nothing",
    "it is complete but for some pixels that nobody could compute, which its picture shows",
    "see the outcome's reason and `holes.json` for where and why",
)
NO_MEMORY = Cause(
    "no_memory",
    "error",
    "repair",
    "a worker was refused memory, again and again",
    "run fewer workers, or give the runtime more memory",
)
INTERRUPTED = Cause(
    "interrupted",
    "error",
    "again",
    "the runtime ended before it was finished, and it could not or was not to go on",
    "submit it again; with `rfm-runtime start --interrupted resume` renders go on",
)
NO_FRAME = Cause(
    "no_frame",
    "error",
    "repair",
    "the file of its pixels cannot be made: the disk is full, or the folder cannot be written",
    "make room, or render a smaller picture",
)
NO_KERNEL = Cause(
    "no_kernel",
    "error",
    "repair",
    "its formula cannot be compiled: want of memory or of room for the cache, or a fault in the formula",
    "see `rfm-runtime logs engine`, and `rfm-runtime doctor` for room",
)
NO_ARTIFACTS = Cause(
    "no_artifacts",
    "error",
    "again",
    "it was computed, and its files could not be put in place",
    "make room in the state folder, then submit it again",
)
ENGINE_ERROR = Cause(
    "engine_error",
    "critical",
    "nothing",
    "a fault in the engine while it computed a tile or the picture",
    "see `rfm-runtime logs engine`",
)
FAILED = Cause(
    "failed",
    "error",
    "nothing",
    "the program said that it failed, and gave no code",
    "see what that program has printed",
)
CANCELED = Cause(
    "canceled",
    "info",
    "again",
    "it was cancelled; the message is the reason that was given",
    "submit it again if it was not meant",
)

CAUSES: dict[str, Cause] = {
    cause.code: cause
    for cause in (
        WORKER_LOST,
        POISON_TILE,
        POISON_RENDER,
        HOLES,
        NO_MEMORY,
        INTERRUPTED,
        NO_FRAME,
        NO_KERNEL,
        NO_ARTIFACTS,
        ENGINE_ERROR,
        FAILED,
        CANCELED,
    )
}


def cause_of(error: Exception) -> ErrorInfo:
    """Of an exception that ended an operation: our own tell what happened, any other is a fault of the engine."""
    if isinstance(error, RfmError):
        return error_info(error)
    return ENGINE_ERROR.error(f"{type(error).__name__}: {error}")
