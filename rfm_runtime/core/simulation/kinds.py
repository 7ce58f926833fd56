"""What is simulated: five kinds of operations as programs have them, with their parts, words, figures and faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rfm_runtime.core.simulation.course import Course, Random, bursts, even, slowing, stalls

__all__ = ["KINDS", "Fault", "Kind", "Leaf", "Part", "Told", "leaves"]

Told = Literal["percent", "counted", "uncounted"]
"""How far it is: in percent by its parts, in units of a known total, or in units of which nobody knows how many."""


@dataclass(frozen=True, slots=True)
class Part:
    """share: of what it is a part of, 0–1. Parts of one thing have different names, and shares that add up to 1."""

    name: str
    share: float
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part without parts. path: from the outermost to itself. begin, end: shares of the whole work."""

    path: tuple[Part, ...]
    begin: float
    end: float

    @property
    def name(self) -> str:
        """As watchers see it."""
        return " / ".join(part.name for part in self.path)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an operation may fail: for programs, and for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of operation. amount: least and most units that one has. parts: of an operation of that many units.

    message, details: after so many of so many units.
    """

    name: str
    titles: tuple[str, ...]
    unit: str
    amount: tuple[int, int]
    told: Told
    courses: tuple[Callable[[Random], Course], ...]
    parts: Callable[[int], tuple[Part, ...]]
    message: Callable[[int, int], str]
    details: Callable[[int, int], dict[str, Any]]
    faults: tuple[Fault, ...]


def leaves(parts: tuple[Part, ...], above: tuple[Part, ...] = (), begin: float = 0.0, end: float = 1.0) -> list[Leaf]:
    """The parts without parts, in their order; each begins where the one before it ends."""
    found: list[Leaf] = []
    at = begin
    for i, part in enumerate(parts):
        # Shares add up to 1 but for rounding.
        until = end if i == len(parts) - 1 else at + (end - begin) * part.share
        path = (*above, part)
        found += leaves(part.parts, path, at, until) if part.parts else [Leaf(path, at, until)]
        at = until
    return found


def _always(*parts: Part) -> Callable[[int], tuple[Part, ...]]:
    return lambda _amount: parts


def _epochs(amount: int) -> tuple[Part, ...]:
    inner = (Part("training", 0.8), Part("validation", 0.2))
    return tuple(Part(f"epoch {i + 1} of {amount}", 1.0 / amount, inner) for i in range(amount))


def _loss(done: int, amount: int) -> float:
    left = 1.0 - done / amount
    return round(0.08 + 2.2 * left * left, 3)


KINDS = (
    Kind(
        name="fractal_render",
        titles=("Seahorse valley", "Elephant valley", "Mini-Mandelbrot", "Julia set"),
        unit="tiles",
        amount=(64, 1024),
        told="percent",
        courses=(slowing, even),
        parts=_always(
            Part("reference orbit", 0.05),
            Part("tiles", 0.85),
            Part("colouring", 0.1, (Part("palette", 0.6), Part("encoding", 0.4))),
        ),
        message=lambda done, amount: f"{done} of {amount} tiles",
        details=lambda done, _amount: {"tiles": done, "iterations": done * 1_250_000},
        faults=(
            Fault("out_of_memory", "cannot allocate 7.9 GiB for the frame"),
            Fault("precision", "the reference orbit needs more digits than the centre has"),
        ),
    ),
    Kind(
        name="data_import",
        titles=("Customers", "Orders 2024", "Sensor readings", "Price list"),
        unit="rows",
        amount=(20_000, 500_000),
        told="counted",
        courses=(bursts, even),
        parts=_always(Part("reading", 0.15), Part("inserting", 0.7), Part("indexing", 0.15)),
        message=lambda done, _amount: f"batch {done // 1000 + 1}",
        details=lambda done, _amount: {"rows": done, "rejected": done // 977},
        faults=(
            Fault("invalid_row", "column 7 is 'n/a' and no number"),
            Fault("connection_lost", "the database closed the connection"),
        ),
    ),
    Kind(
        name="model_training",
        titles=("ResNet-50", "Speech recogniser", "Price forecast"),
        unit="epochs",
        amount=(3, 12),
        told="percent",
        courses=(even, stalls),
        parts=_epochs,
        message=lambda done, amount: f"loss {_loss(done, amount):.3f}",
        details=lambda done, amount: {
            "epoch": done,
            "loss": _loss(done, amount),
            "learning_rate": 0.001 if 2 * done < amount else 0.0001,
        },
        faults=(
            Fault("diverged", "the loss is not a number any more"),
            Fault("out_of_memory", "the batch does not fit into 24 GB of the GPU"),
        ),
    ),
    Kind(
        name="video_encoding",
        titles=("Interview", "Trailer", "Lecture 12", "Holiday"),
        unit="frames",
        amount=(500, 20_000),
        told="counted",
        courses=(even, slowing, stalls),
        parts=_always(Part("first pass", 0.35), Part("second pass", 0.6), Part("writing the index", 0.05)),
        message=lambda done, amount: f"frame {done} of {amount}",
        details=lambda done, _amount: {"frames": done, "bitrate_kbit_per_s": 4000 + done % 7 * 150},
        faults=(
            Fault("encoder_died", "the encoder ended with signal 11"),
            Fault("corrupt_input", "no key frame within 300 frames"),
        ),
    ),
    Kind(
        name="backup",
        titles=("Home folders", "Mail server", "Photo archive"),
        unit="files",
        amount=(200, 50_000),
        told="uncounted",
        courses=(bursts, stalls),
        parts=_always(Part("copying", 0.8), Part("verifying", 0.2)),
        message=lambda done, _amount: f"{done} files so far",
        details=lambda done, _amount: {"files": done, "copied_mb": done * 3},
        faults=(
            Fault("disk_full", "no space is left on /mnt/backup"),
            Fault("permission_denied", "/home/guest/.ssh cannot be read"),
        ),
    ),
)
