"""Writes what is on the explorer's canvas into files: fetched, converted and written outside of the window's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.handle import RenderResult, check_target, write_file
from rfm_runtime.errors import OutcomeError, OutputExistsError, RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.render.files.params import writer
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.formats import Format
from rfm_ui.model.looking import look_of, with_look
from rfm_ui.view.rendering import Rendering, said
from rfm_ui.view.session import Session

__all__ = ["Saver"]

PICTURE = "image.png"
RAW = ("n.npy", "nf.npy")
POINTS = ("z.npy", "far.npy")


class Saver:
    """Of one canvas. say: is told what has become of it, in the window's thread."""

    def __init__(self, session: Session, rendering: Rendering, say: Callable[[str], None]) -> None:
        self._session = session
        self._rendering = rendering
        self._say = say

    def save(self, path: Path, wanted: Format, *, force: bool = True) -> None:
        """Write the file, whole or not at all. force: over one that is there."""
        view, operation = self._rendering.view, self._rendering.operation
        if wanted.content == "parameters" and not (wanted.suffix != ".toml" and self._rendering.is_rendered):
            self._session.aside(partial(_write_parameters, path, view, force), self._told)
            return
        if operation is None or not self._rendering.is_rendered:
            self._say("Nothing to save yet: the picture is not finished.")
            return
        rendered = self._rendering.exploring.rendered
        self._say(f"Saving {path} …")

        async def saved(client: AsyncClient) -> Path:
            # What cannot be written is said before anything is fetched.
            target = await asyncio.to_thread(check_target, path, force=force)
            content = await _content(client, operation, view, wanted, is_as_rendered=rendered == view)
            return await asyncio.to_thread(write_file, target, content, force=force)

        self._session.ask(saved, self._told)

    def _told(self, target: Any, error: RfmError | None) -> None:
        if error is None:
            self._say(f"Saved {target}.")
        elif isinstance(error, OutputExistsError):
            self._say(f"Could not save: {error.message} – give another name, or name it in full to replace it")
        else:
            self._say(f"Could not save: {said(error)}; the picture is still here")


def _write_parameters(path: Path, view: RenderRequest, force: bool) -> Path:
    return write_file(check_target(path, force=force), writer(path.suffix)(view).encode(), force=force)


async def _content(
    client: AsyncClient, operation: Operation, view: RenderRequest, wanted: Format, *, is_as_rendered: bool
) -> Any:
    """Bytes, or what writes them into a file."""
    if wanted.content == "exr":
        from rfm_runtime.client.raw_files import need_exr

        need_exr()
    if wanted.content == "picture":
        if is_as_rendered and wanted.bits == view.bits:
            return await client.fetch_artifact(operation.operation_id, PICTURE)
        look: dict[str, Any] = {**asdict(look_of(view)), "bits": wanted.bits}
        if wanted.bits == 16:
            # There are no steps to hide.
            look["dither"] = False
        return await client.recolour(operation.operation_id, **look)
    there = {artifact.name for artifact in operation.artifacts}
    names = [PICTURE]
    if wanted.content != "parameters":
        names += [*RAW, *(POINTS if wanted.content == "exr" else ())]
    files = {name: await client.fetch_artifact(operation.operation_id, name) for name in names if name in there}
    result = RenderResult(operation, files)
    # With as many iterations as an automatic limit has become.
    request = with_look(result.request, replace(look_of(view)))
    if wanted.content == "parameters":
        return writer(wanted.suffix)(request).encode()
    if not set(RAW) <= files.keys():
        raise OutcomeError("this render has no raw data", hint="save the picture instead")
    from rfm_runtime.client.raw_files import write_exr, write_npz

    if wanted.content == "raw":
        return partial(write_npz, n=result.n, nf=result.nf, request=request)
    return partial(write_exr, n=result.n, nf=result.nf, z=result.z, far=result.far, request=request)
