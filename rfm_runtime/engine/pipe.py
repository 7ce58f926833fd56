"""What engine and worker, or helper, say to each other through their pipe: MessagePack of tagged structs."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.tiles.messages import Task
from rfm_runtime.protocol.operation import Artifact, ErrorInfo
from rfm_runtime.protocol.probing import ProbedPoint

__all__ = [
    "RECOLOURED",
    "Begin",
    "Done",
    "End",
    "Failed",
    "FromWorker",
    "Iterations",
    "Job",
    "JobAnswer",
    "Limit",
    "Picture",
    "Pixels",
    "Points",
    "Probe",
    "Ready",
    "Recolour",
    "Refused",
    "Rgb",
    "Run",
    "StopWork",
    "Stopped",
    "ToWorker",
    "decode_answer",
    "decode_from",
    "decode_job",
    "decode_to",
    "encode",
    "encode_answer",
    "encode_job",
]


class Begin(Struct, frozen=True, kw_only=True, tag=True):
    """Before an operation's first task: what it is, where its frame is, how its progress is authorised."""

    operation_id: str
    generation: int
    handle: int
    params: bytes
    frame: str
    correlation_id: str


class Run(Struct, frozen=True, tag=True):
    """Do these in turn, after what you have."""

    tasks: tuple[Task, ...]


class StopWork(Struct, frozen=True, tag=True):
    """Stop what you hold of it now; later tasks of it are meant."""

    operation_id: str
    generation: int


class End(Struct, frozen=True, tag=True):
    """No more tasks of it: close its frame."""

    operation_id: str
    generation: int


class Ready(Struct, frozen=True, tag=True):
    """The worker takes tasks."""

    pid: int


class Done(Struct, frozen=True, kw_only=True, tag=True):
    """The task is finished and its commit record written. counts as in `core.tiles.messages.TaskDone`."""

    task: Task
    iterations: int
    cpu_ns: int
    weights: tuple[tuple[int, float], ...] = ()
    artifacts: tuple[Artifact, ...] = ()


class Stopped(Struct, frozen=True, kw_only=True, tag=True):
    """It stopped before its end."""

    task: Task
    iterations: int
    cpu_ns: int


class Failed(Struct, frozen=True, tag=True):
    """It cannot be done. again: not now, for want of memory."""

    task: Task
    error: ErrorInfo
    again: bool = False


# --- helpers ----------------------------------------------------------------------------------

RECOLOURED = "recoloured-"
"""Names of pictures that were coloured again begin with it."""


class Recolour(Struct, frozen=True, tag=True):
    """Colour a finished frame again. look: those fields of `rfm_runtime.render.colouring.Colouring` that change."""

    folder: str
    look: dict[str, Any]


class Pixels(Struct, frozen=True, tag=True):
    """The colours of a part of a frame. place: x, y, width, height. step: every so many-th pixel of it.

    params: of the render, while it is under way; without them they are those that the finished picture has with it.
    """

    folder: str
    place: tuple[int, int, int, int]
    step: int
    params: bytes | None = None


class Probe(Struct, frozen=True, tag=True):
    """What becomes of pixels of a frame, with so many places of their orbits. params: as of `Pixels`."""

    folder: str
    points: tuple[tuple[int, int], ...]
    orbit: int
    params: bytes | None = None


class Points(Struct, frozen=True, tag=True):
    """In the order in which they were asked for."""

    points: tuple[ProbedPoint, ...]


class Picture(Struct, frozen=True, tag=True):
    """It is in the frame's folder, with its description beside it."""

    artifact: Artifact


class Rgb(Struct, frozen=True, tag=True):
    """Rows from the top, 3 bytes a pixel."""

    width: int
    height: int
    rgb: bytes


class Limit(Struct, frozen=True, tag=True):
    """How many iterations does this render need?"""

    params: bytes


class Iterations(Struct, frozen=True, tag=True):
    """That many."""

    count: int


class Refused(Struct, frozen=True, tag=True):
    """Why it cannot be done."""

    error: ErrorInfo


Job = Recolour | Pixels | Probe | Limit
JobAnswer = Picture | Rgb | Points | Iterations | Refused
ToWorker = Begin | Run | StopWork | End
FromWorker = Ready | Done | Stopped | Failed

_encoder = msgspec.msgpack.Encoder()
_to: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """One message."""
    return _encoder.encode(message)


_job: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
_answer: msgspec.msgpack.Decoder[JobAnswer] = msgspec.msgpack.Decoder(JobAnswer)


def encode_job(job: Job) -> bytes:
    """In the engine."""
    return _encoder.encode(job)


def decode_job(data: bytes) -> Job:
    """In the helper."""
    return _job.decode(data)


def encode_answer(answer: JobAnswer) -> bytes:
    """In the helper."""
    return _encoder.encode(answer)


def decode_answer(data: bytes) -> JobAnswer:
    """In the engine."""
    return _answer.decode(data)


def decode_to(data: bytes) -> ToWorker:
    """In the worker."""
    return _to.decode(data)


def decode_from(data: bytes) -> FromWorker:
    """In the engine."""
    return _from.decode(data)
