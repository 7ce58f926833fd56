"""What a notification says, as people read and hear it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from rfm_runtime.core.counts import counted
from rfm_runtime.core.notifying.rules import lasted_s
from rfm_runtime.core.text import duration, printable, shortened
from rfm_runtime.protocol.notifying import When
from rfm_runtime.protocol.operation import Operation

__all__ = ["TONES", "Tone", "body_of", "many", "more_of", "names_of", "spoken", "title_of", "tone_of"]

Tone = Literal["good", "bad", "waiting", "idle"]

NAME_WIDTH = 60
BODY_WIDTH = 240
SPOKEN_WIDTH = 200
NAMED = 3
"""Of many, by their names."""

HAS: Final[Mapping[When, str]] = {
    "accepted": "was submitted",
    "started": "has started",
    "paused": "is paused",
    "stalled": "makes no progress",
    "completed": "has completed",
    "failed": "has failed",
    "canceled": "was cancelled",
}
HAVE: Final[Mapping[When, str]] = {
    "accepted": "were submitted",
    "started": "have started",
    "paused": "are paused",
    "stalled": "make no progress",
    "completed": "have completed",
    "failed": "have failed",
    "canceled": "were cancelled",
}
COUNTED: Final[Mapping[When, str]] = {
    "accepted": "submitted",
    "started": "started",
    "paused": "paused",
    "stalled": "stalled",
    "completed": "completed",
    "failed": "failed",
    "canceled": "cancelled",
}
TONES: Final[Mapping[When, Tone]] = {
    "accepted": "idle",
    "started": "idle",
    "paused": "waiting",
    "stalled": "waiting",
    "completed": "good",
    "failed": "bad",
    "canceled": "idle",
}

WORST_FIRST: Final[tuple[When, ...]] = (
    "failed",
    "stalled",
    "canceled",
    "paused",
    "completed",
    "started",
    "accepted",
)


def _name(operation: Operation) -> str:
    return shortened(printable(operation.name or operation.kind), NAME_WIDTH)


def title_of(when: When, operation: Operation) -> str:
    """photos has completed"""
    return f"{_name(operation)} {HAS[when]}"


def body_of(when: When, operation: Operation, user: str, *, still_s: float = 0.0) -> str:
    """What else there is to know. user: who reads it."""
    parts: list[str] = []
    took_s = lasted_s(operation)
    if when == "failed" and operation.error is not None:
        parts += [operation.error.message, operation.error.hint or ""]
    elif when == "stalled":
        parts.append(f"nothing more was done for {duration(still_s)}")
    elif when not in ("accepted", "started") and took_s:
        parts.append(f"{'took' if when == 'completed' else 'after'} {duration(took_s)}")
    if when in ("canceled", "paused", "stalled") and operation.latest is not None and operation.latest.total:
        parts.append(f"at {operation.latest.progress:.0f} %")
    if operation.kind and operation.kind != operation.name:
        parts.append(operation.kind)
    if operation.owner != user:
        parts.append(f"of {operation.owner}")
    return shortened(" · ".join(printable(part) for part in parts if part), BODY_WIDTH)


def spoken(title: str, body: str = "") -> str:
    """For a voice: letters, digits and what makes a pause; nothing that a program could take for more than a word."""
    text = f"{title}: {body}" if body else title
    plain = "".join(char if char.isalnum() or char in " .,:'" else " " for char in text.replace(" · ", ", "))
    # A program may take what begins with a dash for an option, which nothing does here.
    words = shortened(" ".join(plain.split()), SPOKEN_WIDTH).replace("…", "")
    return words if any(char.isalnum() for char in words) else ""


def names_of(names: Sequence[str], count: int) -> str:
    """photos, videos and 10 others"""
    shown = list(names[:NAMED])
    rest = count - len(shown)
    if not shown:
        return ""
    if rest > 0:
        return f"{', '.join(shown)} and {counted(rest, 'other')}"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def more_of(when: When, count: int) -> str:
    """12 more have completed"""
    return f"{count:,} more {HAS[when] if count == 1 else HAVE[when]}"


def many(counts: Mapping[When, int]) -> str:
    """3 failed, 12 completed"""
    return ", ".join(f"{counts[when]:,} {COUNTED[when]}" for when in WORST_FIRST if counts.get(when))


def tone_of(counts: Mapping[When, int]) -> Tone:
    """Of the worst among them."""
    return next((TONES[when] for when in WORST_FIRST if counts.get(when)), "idle")
