"""A view that the runtime renders, for a picture that fills in: submits, follows, fetches, recolours, cancels."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from msgspec.structs import asdict
from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage

from rfm_runtime.client.async_client import RENDER, AsyncClient
from rfm_runtime.client.ids import ulid
from rfm_runtime.errors import RfmError, UnavailableError
from rfm_runtime.protocol.messages import TilePixels
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.request import RenderRequest
from rfm_ui.bridge import News
from rfm_ui.model.exploring import SETTLED_S, Cancel, Exploring, Order
from rfm_ui.model.looking import look_of
from rfm_ui.model.newest import Newest
from rfm_ui.model.picture import Part, Picture
from rfm_ui.view.picture_view import PictureView
from rfm_ui.view.session import Session

__all__ = ["Rendering", "said"]

AT_ONCE = 4
"""Parts of a picture that are under way."""
ELSEWHERE = 0.08
"""Of the picture: nearer than that, the order of its tiles is as good as another."""
AGAIN_MS = 150
"""Until a part that could not be had is asked for again; twice as long each time."""
AGAIN_MOST_MS = 10_000


class Rendering(QObject):
    """changed: another view is shown. heard(Operation): of its render. refused(str): why something could not be had.

    name: of the renders, and what they have as label `from`.
    """

    changed = Signal()
    heard = Signal(object)
    refused = Signal(str)

    def __init__(
        self,
        session: Session,
        picture: PictureView,
        home: RenderRequest,
        *,
        name: str,
        priority: int,
        settled_s: float = SETTLED_S,
    ) -> None:
        super().__init__(picture)
        self._session = session
        self._view = picture
        self._name, self._priority = name, priority
        self.exploring = Exploring(home, ulid, settled_s=settled_s)
        self.operation: Operation | None = None
        """What is known of the render of what is shown."""
        self._parts = Picture(home.width_px, home.height_px)
        self._under_way = 0
        self._to_cancel: set[str] = set()
        self._colours: Newest[RenderRequest] = Newest()
        self._painted: RenderRequest | None = None
        self._failures = 0
        self._is_left = True
        self._focus: Newest[tuple[float, float]] = Newest()
        self._looked_at: tuple[float, float] | None = None
        self._due = QTimer(self)
        self._due.setSingleShot(True)
        self._due.setTimerType(Qt.TimerType.PreciseTimer)
        self._due.timeout.connect(self._tick)
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(self._fetch)
        session.news.connect(self._heard)

    @property
    def view(self) -> RenderRequest:
        """What is shown."""
        return self.exploring.view

    @property
    def is_rendered(self) -> bool:
        """Whether every pixel is computed."""
        return self.operation is not None and self.operation.state == "completed"

    @property
    def is_complete(self) -> bool:
        """Whether every pixel is computed, and here, in the colours that are wanted."""
        is_here = self._parts.is_exhausted and self._under_way == 0 and not self._colours.is_under_way
        return self.is_rendered and is_here and self._painted == self.view

    def picture(self) -> QImage:
        """What is to be seen, as one picture."""
        return self._view.composed()

    # --- where to ---------------------------------------------------------------------------

    def go(self, view: RenderRequest) -> None:
        """Show all of a valid view. Where it differs in colours alone, nothing is computed that is there."""
        before = self.exploring.view
        orders = self.exploring.go(view, time.monotonic())
        if self.exploring.view != before:
            self._moved(orders)
        elif self._is_left:
            # Nobody has looked at it for a while.
            self.refresh()

    def fit(self, width_px: int, height_px: int) -> None:
        """Show the same in a picture of another size."""
        self._moved(self.exploring.fit(width_px, height_px, time.monotonic()))

    def undo(self) -> None:
        """Back to the view before."""
        self._moved(self.exploring.undo(time.monotonic()))

    def redo(self) -> None:
        """To the view from which one went back."""
        self._moved(self.exploring.redo(time.monotonic()))

    def refresh(self) -> None:
        """Compute what is shown again."""
        self._moved(self.exploring.refresh(time.monotonic()))

    def look_at(self, x_px: float, y_px: float) -> None:
        """What is not computed yet is computed from there outwards."""
        operation = self.operation
        if operation is None or operation.state != "running" or operation.location is None:
            return
        x, y = (min(1.0, max(0.0, at / size)) for at, size in ((x_px, self.view.width_px), (y_px, self.view.height_px)))
        before = self._looked_at or (self.view.focus_x, self.view.focus_y)
        if math.dist(before, (x, y)) < ELSEWHERE:
            return
        self._looked_at = x, y
        if self._focus.want((x, y)):
            self._ask_focus(operation.operation_id, x, y)

    def _ask_focus(self, operation_id: str, x: float, y: float) -> None:
        def answered(_result: Any, error: RfmError | None) -> None:
            following = self._focus.answered()
            if following is not None and operation_id == self.exploring.operation_id and error is None:
                self._ask_focus(operation_id, *following)
            elif following is not None:
                self._focus.answered()

        self._session.ask(lambda client: client.set_focus(operation_id, x, y), answered)

    def leave(self) -> None:
        """Nobody looks any more."""
        self._is_left = True
        self._due.stop()
        self._colours.forget()
        self._follow(self.exploring.leave())

    # --- what happens -----------------------------------------------------------------------

    def _moved(self, orders: list[Order]) -> None:
        self._is_left = False
        self._follow(orders)
        if self.exploring.rendered is None:
            self._shown()
        else:
            # Only the colours are others.
            self.changed.emit()
            self._recolour()

    def _shown(self) -> None:
        view = self.exploring.view
        self._view.show_view(view)
        self._parts = Picture(view.width_px, view.height_px)
        self.operation = self._painted = self._looked_at = None
        self._focus.forget()
        self._colours.forget()
        self._wait()
        self.changed.emit()

    def _wait(self) -> None:
        if self.exploring.due_s is not None:
            self._due.start(max(0, math.ceil((self.exploring.due_s - time.monotonic()) * 1000)))

    def _tick(self) -> None:
        self._follow(self.exploring.tick(time.monotonic()))
        # Qt's clock may be early.
        self._wait()

    def _follow(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Cancel):
                self._cancel(order.operation_id)
            else:
                self._submit(order.operation_id, order.view)

    def _cancel(self, operation_id: str) -> None:
        def answered(_result: Any, error: RfmError | None) -> None:
            if isinstance(error, UnavailableError):
                self._to_cancel.add(operation_id)

        if self._session.is_there:
            self._session.ask(lambda client: client.cancel(operation_id), answered)
        else:
            # However long it is away: it would be computed to its end for nobody.
            self._to_cancel.add(operation_id)

    def _submit(self, operation_id: str, view: RenderRequest) -> None:
        params, labels = non_defaults(view), {"from": self._name}
        self._painted = view

        def answered(_result: Any, error: RfmError | None) -> None:
            if error is not None:
                self.exploring.ended(operation_id, is_there=False)
                if operation_id == self.exploring.operation_id:
                    self.refused.emit(said(error))

        self._session.ask(
            lambda client: client.submit(
                RENDER, params, name=self._name, priority=self._priority, labels=labels, operation_id=operation_id
            ),
            answered,
        )

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._to_cancel.clear()
        elif news.link is not None and news.link.state == "live":
            to_cancel, self._to_cancel = self._to_cancel, set()
            for forgotten in to_cancel:
                self._cancel(forgotten)
        if news.is_new_server and not self._is_left:
            # It knows nothing of what the one before has rendered.
            self.refresh()
            return
        operation_id = self.exploring.operation_id
        operation = news.operations.get(operation_id or "")
        if operation is None or operation_id is None:
            return
        self.operation = operation
        if operation.grid is not None:
            if operation.latest is not None and operation.latest.tiles is not None:
                self._parts.told(operation.grid, operation.latest.tiles)
            if operation.state == "completed":
                self._parts.finished(operation.grid)
        if operation.state in TERMINAL_STATES:
            self.exploring.ended(operation_id, is_there=operation.state == "completed")
        self.heard.emit(operation)
        self._fetch()
        self._recolour()

    def _fetch(self) -> None:
        """Ask for what is computed and not here, a few parts at a time."""
        operation_id = self.exploring.operation_id
        while operation_id is not None and self._under_way < AT_ONCE and (part := self._parts.next()) is not None:
            self._under_way += 1
            self._ask_for(operation_id, part)

    def _ask_for(self, operation_id: str, part: Part) -> None:
        parts = self._parts

        def come(pixels: Any, error: RfmError | None) -> None:
            self._under_way -= 1
            if operation_id != self.exploring.operation_id or parts is not self._parts:
                self._fetch()
                return
            if isinstance(pixels, TilePixels):
                self._failures = 0
                if self._painted == self.exploring.rendered:
                    # Otherwise all of it is here already, in other colours.
                    self._view.put(part, pixels)
                self._fetch()
            elif error is not None and self.operation is not None and self.operation.state != "canceled":
                parts.put_back(part)
                self._failures += 1
                self._again.start(min(AGAIN_MS * 2 ** min(self._failures // AT_ONCE, 8), AGAIN_MOST_MS))

        self._session.ask(
            lambda client: client.fetch_tiles(
                operation_id, x=part.x, y=part.y, width=part.width, height=part.height, step=part.step
            ),
            come,
        )

    # --- colours ----------------------------------------------------------------------------

    def _recolour(self) -> None:
        """In other colours, without computing it again: as soon as it is finished."""
        if self.is_rendered and self._painted not in (None, self.view) and self._colours.want(self.view):
            self._ask_colours(self.view)

    def _ask_colours(self, view: RenderRequest) -> None:
        operation_id = self.exploring.operation_id
        if operation_id is None:
            self._colours.answered()
            return
        look = asdict(look_of(view))

        async def coloured(client: AsyncClient) -> QImage:
            picture = await client.recolour(operation_id, **look)
            # Milliseconds that the window's thread has better use for.
            return await asyncio.to_thread(QImage.fromData, picture)

        def come(picture: Any, error: RfmError | None) -> None:
            following = self._colours.answered()
            if operation_id == self.exploring.operation_id:
                if error is None:
                    self._painted = view
                    self._view.put_whole(picture)
                else:
                    self.refused.emit(f"Could not change the colours: {said(error)}")
            if following is not None and following == self.view and self.is_rendered and following != self._painted:
                self._ask_colours(following)
            elif following is not None:
                self._colours.answered()
                self._recolour()

        self._session.ask(coloured, come)


def said(error: RfmError) -> str:
    """What went wrong, and what to do."""
    return f"{error.message} – {error.hint}" if error.hint else error.message
