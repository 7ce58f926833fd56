"""What engine and worker say to each other through their pipe: MessagePack of tagged structs."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from rfm_runtime.core.tiles.messages import Task
from rfm_runtime.protocol.operation import Artifact, ErrorInfo

__all__ = [
    "Begin",
    "Done",
    "End",
    "Failed",
    "FromWorker",
    "Ready",
    "Run",
    "StopWork",
    "Stopped",
    "ToWorker",
    "decode_from",
    "decode_to",
    "encode",
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


ToWorker = Begin | Run | StopWork | End
FromWorker = Ready | Done | Stopped | Failed

_encoder = msgspec.msgpack.Encoder()
_to: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """One message."""
    return _encoder.encode(message)


def decode_to(data: bytes) -> ToWorker:
    """In the worker."""
    return _to.decode(data)


def decode_from(data: bytes) -> FromWorker:
    """In the engine."""
    return _from.decode(data)
