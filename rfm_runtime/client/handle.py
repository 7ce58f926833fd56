"""Handles of one operation, asynchronous and synchronous, and the result of a render."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rfm_runtime.errors import (
    OperationCanceled,
    OperationFailedError,
    OutcomeError,
    OutputExistsError,
    RfmError,
    SetupError,
    UnavailableError,
)
from rfm_runtime.protocol.operation import TERMINAL_STATES, OperationState, ProgressUpdate
from rfm_runtime.protocol.operation import Operation as OperationInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from rfm_runtime.client.async_client import AsyncClient
    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.render.request import RenderRequest

__all__ = ["AsyncOperation", "Operation", "RenderResult", "Track", "check_target", "write_file"]

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
"""What link(2) answers on file systems without hard links, such as FAT."""


class Track:
    """What handles of one operation share: the newest that is known, and who waits for more."""

    __slots__ = ("__weakref__", "_version", "_waiting", "lost", "operation", "operation_id", "refreshing", "stopped")

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        self.operation: OperationInfo | None = None
        self.lost: RfmError | None = None
        self.stopped: RfmError | None = None
        self.refreshing: asyncio.Future[None] | None = None
        self._version = 0
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def terminal(self) -> bool:
        """Whether its outcome is known."""
        return self.operation is not None and self.operation.state in TERMINAL_STATES

    @property
    def version(self) -> int:
        """Rises with every change."""
        return self._version

    def bump(self) -> None:
        """Something changed."""
        self._version += 1
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self, since: int) -> None:
        """Wait for a change after `since`. Raises if none can come any more."""
        while self._version == since:
            self.check()
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)

    def check(self) -> None:
        """Raise if the outcome will never be known here."""
        if self.terminal:
            return
        error = self.lost or self.stopped
        if error is not None:
            raise error


class RenderResult:
    """The files of a finished render.

    image: PIL image, RGB. n: int32 [height, width], iterations until escape, −1 inside. nf: float32, smooth fraction.
    """

    def __init__(self, operation: OperationInfo, files: dict[str, bytes]) -> None:
        self.operation = operation
        self.files = files

    @cached_property
    def image(self) -> Image:
        """The picture, as a PIL image."""
        from PIL.PngImagePlugin import PngImageFile

        # Not by `Image.open`, which takes what is larger than 179 megapixels for an attack.
        picture = PngImageFile(io.BytesIO(self._file("image.png")))
        picture.load()
        return picture

    @cached_property
    def request(self) -> RenderRequest:
        """What was rendered, as the picture says: with as many iterations as an automatic limit has become."""
        from rfm_runtime.render.files.png import text_chunks
        from rfm_runtime.render.image_metadata import from_text

        return from_text(text_chunks(self._file("image.png")))

    @cached_property
    def n(self) -> NDArray[np.int32]:
        """Iterations until escape, int32 [height, width]; −1 where the point did not escape."""
        return self._array("n.npy")

    @cached_property
    def nf(self) -> NDArray[np.float32]:
        """Smooth fraction, float32 [height, width]: where n ≥ 0, n + nf is the smooth iteration count.

        Elsewhere 0, or the period of the inside where the picture is coloured by it.
        """
        return self._array("nf.npy")

    @cached_property
    def z(self) -> NDArray[np.complex64] | None:
        """The last z, complex64 [height, width], if the picture's colours took it.

        With an orbit trap, how near the orbit came to it, squared, as the real part.
        """
        return self._array("z.npy") if "z.npy" in self.files else None

    @cached_property
    def far(self) -> NDArray[np.complex64] | None:
        """The estimated distance in pixels as a vector of the plane, away from the set, likewise."""
        return self._array("far.npy") if "far.npy" in self.files else None

    def _array(self, name: str) -> NDArray[Any]:
        import numpy as np

        array: NDArray[Any] = np.load(io.BytesIO(self._file(name)), allow_pickle=False)
        return array

    def _file(self, name: str) -> bytes:
        content = self.files.get(name)
        if content is None:
            raise OutcomeError(f"{name} was not fetched", hint="ask for it with result(arrays=True)")
        return content


class AsyncOperation:
    """A handle of one operation; it survives lost connections."""

    def __init__(self, client: AsyncClient, track: Track) -> None:
        self._client = client
        self._track = track

    def __repr__(self) -> str:
        return f"<AsyncOperation {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """Its operation_id."""
        return self._track.operation_id

    @property
    def info(self) -> OperationInfo | None:
        """The newest that is known of it."""
        return self._track.operation

    @property
    def state(self) -> OperationState:
        """Its state, as far as it is known."""
        return self._track.operation.state if self._track.operation is not None else "pending"

    async def progress(self) -> AsyncIterator[ProgressUpdate]:
        """Progress until the outcome; the last one is the final one. Measures that nobody waited for are skipped."""
        track = self._track
        shown: tuple[int, int] | None = None
        while True:
            version = track.version
            operation = track.operation
            latest = operation.latest if operation is not None else None
            if latest is not None and (shown is None or latest.rev > shown):
                shown = latest.rev
                yield latest
                continue
            if track.terminal:
                return
            await track.changed(version)

    async def wait(self, timeout_s: float | None = None) -> OperationState:
        """Its terminal state. Raises UnavailableError after `timeout_s`; the operation goes on."""
        track = self._track
        try:
            async with asyncio.timeout(timeout_s):
                while not track.terminal:
                    await track.changed(track.version)
        except TimeoutError:
            raise UnavailableError(f"{self.id} is still {self.state} after {timeout_s:g} s") from None
        return self.state

    async def outcome(self, timeout_s: float | None = None) -> OperationInfo:
        """The completed operation. Raises OperationFailedError, OperationCanceled or UnavailableError."""
        await self.wait(timeout_s)
        operation = self._track.operation
        if operation is None:
            raise UnavailableError(f"nothing is known of {self.id}")
        if operation.state == "failed":
            error = operation.error
            if error is None:
                raise OperationFailedError(f"{self.id} failed")
            raise OperationFailedError(
                error.message, cause_code=error.code, cause_severity=error.severity, hint=error.hint
            )
        if operation.state == "canceled":
            raise OperationCanceled(f"{self.id} was cancelled")
        return operation

    async def result(self, timeout_s: float | None = None, *, arrays: bool = True) -> RenderResult:
        """The render's files, fetched and verified. Raises like `outcome`. arrays: raw data too, not only the image."""
        operation = await self.outcome(timeout_s)
        names = [a.name for a in operation.artifacts if arrays or a.media_type.startswith("image/")]
        return RenderResult(operation, {name: await self._client.fetch_artifact(self.id, name) for name in names})

    async def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the finished image. Raises OutputExistsError before anything is fetched, unless `force`."""
        target = check_target(path, force=force)
        await self.outcome()
        content = await self._client.fetch_artifact(self.id, "image.png")
        return await asyncio.to_thread(write_file, target, content, force=force)

    async def recolour(self, **look: Any) -> bytes:
        """The finished image with other colours, as PNG; waits for its end. Raises like `outcome`, and BadRequestError.

        look: parameters of a render that have to do with colours, e.g. `palette="turbo", slopes=1.5`.
        """
        await self.outcome()
        return await self._client.recolour(self.id, **look)

    async def cancel(self, *, mode: str = "soft", reason: str | None = None) -> str:
        """Cancel it."""
        return await self._client.cancel(self.id, mode=mode, reason=reason)

    async def pause(self) -> None:
        """Pause it."""
        await self._client.pause(self.id)

    async def resume(self) -> None:
        """Have it go on."""
        await self._client.resume(self.id)


class Operation:
    """A handle of one operation for synchronous programs."""

    def __init__(self, client: Client, operation: AsyncOperation) -> None:
        self._client = client
        self._operation = operation

    def __repr__(self) -> str:
        return f"<Operation {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """Its operation_id."""
        return self._operation.id

    @property
    def info(self) -> OperationInfo | None:
        """The newest that is known of it."""
        return self._operation.info

    @property
    def state(self) -> OperationState:
        """Its state, as far as it is known."""
        return self._operation.state

    def progress(self) -> Iterator[ProgressUpdate]:
        """Progress until the outcome; the last one is the final one."""
        return self._client.iterate(self._operation.progress())

    def wait(self, timeout_s: float | None = None) -> OperationState:
        """Its terminal state. Raises UnavailableError after `timeout_s`; the operation goes on."""
        return self._client.call(self._operation.wait(timeout_s))

    def outcome(self, timeout_s: float | None = None) -> OperationInfo:
        """The completed operation. Raises OperationFailedError, OperationCanceled or UnavailableError."""
        return self._client.call(self._operation.outcome(timeout_s))

    def result(self, timeout_s: float | None = None, *, arrays: bool = True) -> RenderResult:
        """The render's files, fetched and verified. Raises like `outcome`."""
        return self._client.call(self._operation.result(timeout_s, arrays=arrays))

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the finished image."""
        return self._client.call(self._operation.save(path, force=force))

    def recolour(self, **look: Any) -> bytes:
        """The finished image with other colours, as PNG; see `AsyncOperation.recolour`."""
        return self._client.call(self._operation.recolour(**look))

    def cancel(self, *, mode: str = "soft", reason: str | None = None) -> str:
        """Cancel it."""
        return self._client.call(self._operation.cancel(mode=mode, reason=reason))

    def pause(self) -> None:
        """Pause it."""
        self._client.call(self._operation.pause())

    def resume(self) -> None:
        """Have it go on."""
        self._client.call(self._operation.resume())


def check_target(path: str | os.PathLike[str], *, force: bool) -> Path:
    """The path, if a file may be written there. Raises OutputExistsError or SetupError."""
    if str(path) == "-":
        raise SetupError("- is no file", hint="name a file, e.g. picture.png; ./- if it is really to be called that")
    target = Path(path)
    if force and target.is_symlink() and target.exists():
        # What a link points to is replaced, not the link.
        target = target.resolve()
    if target.is_dir():
        raise SetupError(f"{target} is a folder", hint="name a file, e.g. picture.png")
    if target.exists() and not target.is_file():
        raise SetupError(f"{target} is no regular file", hint="name a file, e.g. picture.png")
    if target.exists() and not force:
        raise OutputExistsError(f"{target} exists and was kept")
    if not target.absolute().parent.is_dir():
        raise SetupError(f"the folder {target.absolute().parent} does not exist", hint="create it first")
    return target


def write_file(target: Path, content: bytes | Callable[[BinaryIO], object], *, force: bool) -> Path:
    """Write it whole or not at all: beside its place first, then renamed. Raises OutputExistsError, SetupError.

    content: bytes, or what writes them into an open file.
    """
    # Random, since threads of one program may save to one place.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        if force:
            temporary.replace(target)
        else:
            _place(temporary, target)
    except FileExistsError:
        raise OutputExistsError(f"{target} exists and was kept") from None
    except OSError as error:
        raise SetupError(
            f"cannot write {target}: {error.strerror}",
            hint="make room or choose another place",
            kept="the result is still in the runtime: `rfm-runtime fetch ID -o FILE`",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _place(temporary: Path, target: Path) -> None:
    """Unlike a rename, a link does not replace what somebody else put there meanwhile. Raises FileExistsError."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Take the name with an empty file, then replace that one.
        target.touch(exist_ok=False)
        temporary.replace(target)
