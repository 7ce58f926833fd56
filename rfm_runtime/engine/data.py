"""The `data` socket: chunks of artefacts, colours of frames, the engine's metrics. In the engine's loop thread."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import zmq
from msgspec import Struct

from rfm_runtime.engine import pipe
from rfm_runtime.engine.frames import folder_name, read_artifact, read_artifacts
from rfm_runtime.engine.helpers import Helpers
from rfm_runtime.errors import BadRequestError, RfmError, UnknownOperationError, UnsupportedError
from rfm_runtime.observe import logs
from rfm_runtime.observe.garbage import Garbage
from rfm_runtime.protocol.internal import (
    Ack,
    DataChunk,
    DataFetch,
    DataFocus,
    DataPixels,
    DataProbe,
    DataProbed,
    DataRecolour,
    DataRecoloured,
    DataTiles,
    Metrics,
    MetricsText,
    Request,
    pack_reply,
    unpack,
    unpack_body,
)
from rfm_runtime.protocol.limits import CHUNK_LIMIT_BYTES
from rfm_runtime.protocol.operation import Artifact, error_info
from rfm_runtime.transport.drain import Drain

__all__ = ["DataServer"]

RECOLOURED = re.compile(rf"{pipe.RECOLOURED}[0-9a-f]{{16}}\.png")

KNOWN_LIMIT = 64
"""Operations whose artefact list is remembered: those that are fetched now."""

log = logs.get("engine")


class DataServer:
    """Answers chunks in the order they are asked for, at most 256 KiB each, so that none takes long.

    Colours take longer, and come when they are there. under_way_of: folder and parameters of a render's frame.
    on_focus: somebody looks at a part of one, see `rfm_runtime.core.tiles.messages.FocusChanged`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        artifacts: Path,
        metrics_text: Callable[[], str],
        helpers: Helpers,
        under_way_of: Callable[[str], tuple[Path, bytes] | None],
        on_focus: Callable[[str, float, float], None],
        garbage: Garbage,
    ) -> None:
        self._artifacts = artifacts
        self._garbage = garbage
        self._metrics_text = metrics_text
        self._loop = loop
        self._under_way_of = under_way_of
        self._on_focus = on_focus
        self._helpers = helpers
        self._under_way: set[asyncio.Task[None]] = set()
        self._known: dict[str, tuple[Artifact, ...]] = {}
        self._drain = Drain(loop, socket, self._received)

    def close(self) -> None:
        """Close the socket; what is being coloured is not waited for. Idempotent."""
        for task in self._under_way:
            task.cancel()
        self._drain.close()

    def kick(self) -> None:
        """Look again soon, whatever the descriptor says."""
        self._drain.kick()

    def _received(self, frames: list[bytes]) -> None:
        try:
            request = unpack(frames[1:])
            if not isinstance(request, Request):
                raise BadRequestError("only requests are answered here")
        except RfmError as error:
            self._garbage.found("data", error)
            return
        try:
            message = unpack_body(request)
            job = self._job(message)
            answer = None if job is not None else self._answer(message)
        except RfmError as error:
            job, answer = None, error_info(error)
        if job is not None:
            task = self._loop.create_task(self._paint(frames[0], request.id, job))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        elif answer is not None:
            self._say(frames[0], request.id, answer)

    def _say(self, peer: bytes, request_id: int, answer: Struct) -> None:
        try:
            self._drain.send([peer, *pack_reply(request_id, answer)])
        except zmq.ZMQError as error:
            log.info("undeliverable", socket="data", error=str(error))

    def _answer(self, message: Struct) -> Struct:
        if isinstance(message, Metrics):
            return MetricsText(self._metrics_text())
        if isinstance(message, DataFetch):
            return self._chunk(message)
        if isinstance(message, DataFocus):
            self._on_focus(message.operation_id, message.x, message.y)
            return Ack()
        raise UnsupportedError(f"{type(message).__name__} is no request to an engine")

    # --- colours ----------------------------------------------------------------------------

    def _job(self, message: Struct) -> pipe.Job | None:
        """For a helper, if it is one. Raises UnknownOperationError."""
        match message:
            case DataRecolour():
                folder = self._artifacts / folder_name(message.operation_id)
                if read_artifacts(folder) is None:
                    raise UnknownOperationError(f"{message.operation_id} has no finished frame here")
                return pipe.Recolour(str(folder), message.look)
            case DataTiles():
                place = message.x, message.y, message.width, message.height
                folder, params = self._frame(message.operation_id)
                return pipe.Pixels(str(folder), place, message.step, params)
            case DataProbe():
                folder, params = self._frame(message.operation_id)
                return pipe.Probe(str(folder), message.points, message.orbit, params)
        return None

    def _frame(self, operation_id: str) -> tuple[Path, bytes | None]:
        """Of a finished render, or of one that is under way, with its parameters. Raises UnknownOperationError."""
        folder = self._artifacts / folder_name(operation_id)
        if read_artifacts(folder) is not None:
            return folder, None
        under_way = self._under_way_of(operation_id)
        if under_way is None:
            raise UnknownOperationError(f"{operation_id} has no frame here")
        return under_way

    async def _paint(self, peer: bytes, request_id: int, job: pipe.Job) -> None:
        answer: Struct
        try:
            self._helpers.admit()
            match await self._helpers.done(job):
                case pipe.Picture(artifact):
                    answer = DataRecoloured(artifact)
                case pipe.Rgb(width, height, rgb):
                    answer = DataPixels(width, height, rgb)
                case pipe.Points(points):
                    answer = DataProbed(points)
                case pipe.Refused(error):
                    answer = error
                case other:
                    raise TypeError(other)
        except RfmError as refused:
            answer = error_info(refused)
        self._say(peer, request_id, answer)

    # --- files ------------------------------------------------------------------------------

    def _chunk(self, fetch: DataFetch) -> DataChunk:
        folder = self._artifacts / folder_name(fetch.operation_id)
        artifacts = self._known.get(fetch.operation_id) or read_artifacts(folder)
        if artifacts is None:
            raise UnknownOperationError(f"{fetch.operation_id} has no artefacts here")
        if len(self._known) >= KNOWN_LIMIT:
            self._known.pop(next(iter(self._known)))
        self._known[fetch.operation_id] = artifacts
        # The name is looked up, never joined to a path by itself.
        artifact = next((artifact for artifact in artifacts if artifact.name == fetch.name), None)
        if artifact is None and RECOLOURED.fullmatch(fetch.name):
            artifact = read_artifact(folder, fetch.name)
        if artifact is None:
            names = ", ".join(artifact.name for artifact in artifacts)
            raise BadRequestError(f"{fetch.operation_id} has no artefact {fetch.name[:64]!r}", hint=f"it has {names}")
        if fetch.offset < 0 or not 1 <= fetch.length <= CHUNK_LIMIT_BYTES:
            raise BadRequestError(f"a chunk has 1 to {CHUNK_LIMIT_BYTES} bytes")
        try:
            with (folder / artifact.name).open("rb") as file:
                file.seek(fetch.offset)
                chunk = file.read(fetch.length)
        except OSError as error:
            self._known.pop(fetch.operation_id, None)
            raise UnknownOperationError(
                f"{artifact.name} of {fetch.operation_id} cannot be read: {error.strerror}",
                hint="it may have been removed by `rfm-runtime clean`; render it again",
            ) from None
        return DataChunk(offset=fetch.offset, size_bytes=artifact.size_bytes, sha256=artifact.sha256, chunk=chunk)
