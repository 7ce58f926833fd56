"""Small pictures of views: rendered by the runtime when somebody looks, one after the other, and kept in the cache."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QSize, Qt, Signal
from PySide6.QtGui import QImage, QImageReader, QImageWriter

from rfm_runtime.client.async_client import RENDER, AsyncClient
from rfm_runtime.client.handle import write_file
from rfm_runtime.client.ids import ulid
from rfm_runtime.errors import RfmError
from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.image_metadata import to_text
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.thumbnails import THUMBNAIL_PX, cache_name, small
from rfm_ui.view.session import Session

__all__ = ["Thumbnails", "reduced", "thumbnail_png"]

log = logging.getLogger(__name__)

PRIORITY = -20
"""Everything else goes before it."""
LONGEST_S = 120.0
"""With kernels that have to be compiled first."""


class Thumbnails(QObject):
    """ready(name, QImage): of what was wanted. folder: of the cache."""

    ready = Signal(str, QImage)

    def __init__(self, session: Session, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._folder = folder
        self._waiting: deque[tuple[str, RenderRequest]] = deque()
        self._known: set[str] = set()
        self._under_way: str | None = None

    def want(self, name: str, view: RenderRequest) -> None:
        """Have one made, or read, if it was not wanted before."""
        if name in self._known:
            return
        self._known.add(name)
        self._waiting.append((name, small(view)))
        self._next()

    def leave(self) -> None:
        """Nobody looks any more: what is not made yet is to be wanted again."""
        self._known -= {name for name, _view in self._waiting}
        self._waiting.clear()
        if (operation_id := self._under_way) is not None:
            self._session.ask(lambda client: client.cancel(operation_id))

    def _next(self) -> None:
        if self._under_way is not None or not self._waiting:
            return
        name, view = self._waiting.popleft()
        self._under_way = operation_id = ulid()
        path = self._folder / cache_name(view)

        def come(picture: Any, error: RfmError | None) -> None:
            self._under_way = None
            if error is None and not picture.isNull():
                self.ready.emit(name, picture)
            else:
                self._known.discard(name)
            self._next()

        self._session.ask(lambda client: _made(client, path, view, operation_id), come)


async def _made(client: AsyncClient, path: Path, view: RenderRequest, operation_id: str) -> QImage:
    """Out of the cache, or rendered."""
    known = await asyncio.to_thread(_read, path)
    if known is not None:
        return known
    handle = await client.submit(
        RENDER, non_defaults(view), name="thumbnail", priority=PRIORITY, labels={"from": "thumbnail"},
        operation_id=operation_id,
    )  # fmt: skip
    await handle.outcome(LONGEST_S)
    picture = await client.fetch_artifact(operation_id, "image.png")
    return await asyncio.to_thread(_kept, path, picture)


def reduced(of: Path | bytes) -> QImage:
    """A picture, no larger than it is shown; an empty one if it cannot be read. Not for the window's thread."""
    if isinstance(of, bytes):
        buffer = QBuffer()
        buffer.setData(of)
        reader = QImageReader(buffer)
    elif of.is_file():
        reader = QImageReader(str(of))
    else:
        # A pipe would never end.
        return QImage()
    size, most = reader.size(), QSize(*THUMBNAIL_PX)
    if size.width() > most.width() or size.height() > most.height():
        fitting = size.scaled(most, Qt.AspectRatioMode.KeepAspectRatio)
        reader.setScaledSize(fitting.expandedTo(QSize(1, 1)))
    return reader.read()


def _read(path: Path) -> QImage | None:
    picture = reduced(path)
    return None if picture.isNull() else picture


def _kept(path: Path, picture: bytes) -> QImage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(path, picture, force=True)
    except (OSError, RfmError) as error:
        # It is shown all the same, and made again another time.
        log.info("thumbnail not kept: %s", error)
    return reduced(picture)


def thumbnail_png(picture: QImage, view: RenderRequest) -> bytes:
    """A small PNG of a picture, with the parameters of the view in it."""
    size = QSize(*THUMBNAIL_PX)
    scaled = picture.scaled(
        size, Qt.AspectRatioMode.KeepAspectRatioByExpanding, Qt.TransformationMode.SmoothTransformation
    )
    left, top = (scaled.width() - size.width()) // 2, (scaled.height() - size.height()) // 2
    part = scaled.copy(left, top, size.width(), size.height()).convertToFormat(QImage.Format.Format_RGB888)
    for key, text in to_text(view).items():
        part.setText(key, text)
    content = QByteArray()
    buffer = QBuffer(content)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImageWriter(buffer, QByteArray(b"png")).write(part)
    return bytes(content.data())
