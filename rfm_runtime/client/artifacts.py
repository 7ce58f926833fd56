"""Fetching an operation's files: chunks with a window of requests, verified as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

from rfm_runtime.errors import InternalError, UnavailableError
from rfm_runtime.protocol.limits import CHUNK_LIMIT_BYTES
from rfm_runtime.protocol.messages import ArtifactChunk, FetchArtifact

if TYPE_CHECKING:
    from rfm_runtime.client.async_client import AsyncClient

__all__ = ["PAINT_S", "fetch"]

WINDOW = 4
"""Chunks asked for at once: 1 MiB hides the way to the engine and back, and is all that anybody buffers."""

PAINT_S = 70.0
"""How long colours are waited for: a frame may have 400 megapixels."""

AGAIN_S = 30.0
"""How long a chunk is asked for again and again."""


async def fetch(client: AsyncClient, operation_id: str, name: str) -> bytes:
    """The whole file. Raises InternalError if it is not what the operation left."""
    first = await _chunk(client, operation_id, name, 0)
    content = bytearray(first.size_bytes)
    content[: len(first.chunk)] = first.chunk
    window = asyncio.Semaphore(WINDOW)

    async def one(offset: int) -> None:
        async with window:
            chunk = await _chunk(client, operation_id, name, offset)
            if len(chunk.chunk) != min(CHUNK_LIMIT_BYTES, first.size_bytes - offset):
                raise InternalError(f"{name} of {operation_id} ends early", hint="fetch it again")
            content[offset : offset + len(chunk.chunk)] = chunk.chunk

    try:
        async with asyncio.TaskGroup() as group:
            for offset in range(len(first.chunk), first.size_bytes, CHUNK_LIMIT_BYTES):
                group.create_task(one(offset))
    except ExceptionGroup as failed:
        # One reason is enough, and it is one of ours or nobody's.
        raise failed.exceptions[0] from None
    if hashlib.sha256(content).hexdigest() != first.sha256:
        raise InternalError(f"{name} of {operation_id} is damaged", hint="render it again")
    return bytes(content)


async def _chunk(client: AsyncClient, operation_id: str, name: str, offset: int) -> ArtifactChunk:
    """Asked for again after a lost connection, or while the engine does not answer."""
    request = FetchArtifact(operation_id=operation_id, name=name, offset=offset)
    deadline_s = time.monotonic() + AGAIN_S
    while True:
        try:
            return await client.request(request, ArtifactChunk)
        except UnavailableError as error:
            if client.state in ("closed", "unauthorised") or time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(error.retry_after_s or 0.1)
