"""The `data` socket: chunks of artefacts, and the engine's metrics. In the engine's loop thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import zmq
from msgspec import Struct

from rfm_runtime.engine.frames import folder_name, read_artifacts
from rfm_runtime.errors import BadRequestError, RfmError, UnknownOperationError, UnsupportedError
from rfm_runtime.observe import logs
from rfm_runtime.protocol.internal import (
    DataChunk,
    DataFetch,
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

KNOWN_LIMIT = 64
"""Operations whose artefact list is remembered: those that are fetched now."""

log = logs.get("engine")


class DataServer:
    """Answers requests in the order they come; a chunk is at most 256 KiB, so none of them takes long."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        artifacts: Path,
        metrics_text: Callable[[], str],
    ) -> None:
        self._artifacts = artifacts
        self._metrics_text = metrics_text
        self._known: dict[str, tuple[Artifact, ...]] = {}
        self._drain = Drain(loop, socket, self._received)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._drain.close()

    def _received(self, frames: list[bytes]) -> None:
        try:
            request = unpack(frames[1:])
            if not isinstance(request, Request):
                raise BadRequestError("only requests are answered here")
        except RfmError as error:
            log.warning("garbage", socket="data", error=error.message)
            return
        try:
            answer: Struct = self._answer(unpack_body(request))
        except RfmError as error:
            answer = error_info(error)
        try:
            self._drain.send([frames[0], *pack_reply(request.id, answer)])
        except zmq.ZMQError as error:
            log.info("undeliverable", socket="data", error=str(error))

    def _answer(self, message: Struct) -> Struct:
        if isinstance(message, Metrics):
            return MetricsText(self._metrics_text())
        if isinstance(message, DataFetch):
            return self._chunk(message)
        raise UnsupportedError(f"{type(message).__name__} is no request to an engine")

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
