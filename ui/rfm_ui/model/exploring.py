"""From one view to the next: which render is wanted, which is stale, and where one has been. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.looking import needed
from rfm_ui.model.views import fitted

__all__ = ["SETTLED_S", "Cancel", "Exploring", "Order", "Submit"]

SETTLED_S = 0.04
"""A wheel turns faster than requests travel: a view that stays for so long is submitted."""

LOOK_S = 0.7
"""Between two changes of colours that are one step."""

HISTORY = 500
"""Views that can be gone back to."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Have it computed, under this id."""

    operation_id: str
    view: RenderRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody looks at it any more."""

    operation_id: str


Order = Submit | Cancel


class Exploring:
    """The view that is shown, the ones before and after it, and the render that computes it.

    new_id: makes an operation's id. settled_s: until a view is submitted. Each call gives what is to be done at once.
    """

    def __init__(self, home: RenderRequest, new_id: Callable[[], str], *, settled_s: float = SETTLED_S) -> None:
        self.home = home
        self.rendered: RenderRequest | None = None
        """What was submitted for what is shown: its colours may be others by now."""
        self._settled_s = settled_s
        self._new_id = new_id
        # As they were asked for; the window's size may have been another.
        self._views = [home]
        self._place = 0
        self._size_px: tuple[int, int] | None = None
        self._due_s: float | None = None
        self._is_passing = False
        self._look_until_s = 0.0
        self.operation_id: str | None = None
        """Of the render of what is shown, None while it is not submitted."""
        self._alive = False

    def begin_at(self, view: RenderRequest) -> None:
        """Show this first, before anything was shown."""
        self._views, self._place = [view], 0

    @property
    def view(self) -> RenderRequest:
        """What is shown: all of what was asked for, in a picture of the size of `fit`."""
        return self.fitted(self._views[self._place])

    def fitted(self, view: RenderRequest) -> RenderRequest:
        """A view as it is shown."""
        if self._size_px is None or self._size_px == (view.width_px, view.height_px):
            return view
        return fitted(view, *self._size_px)

    @property
    def can_undo(self) -> bool:
        """Whether there is a view before this one."""
        return self._place > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is one after it."""
        return self._place + 1 < len(self._views)

    @property
    def due_s(self) -> float | None:
        """When `tick` is wanted, monotonic; None if nothing waits."""
        return self._due_s

    def go(self, view: RenderRequest, now_s: float) -> list[Order]:
        """Show another view. Views that follow each other faster than they are computed are one step back.

        Where it differs in colours alone, the render that there is goes on, and `rendered` stays.
        """
        if self.fitted(view) == self.view:
            return []
        is_look = self._is_there(self.fitted(view))
        # Nobody has seen more of the one before than its neighbours; a slider that is drawn is one step as well.
        if now_s < self._look_until_s if is_look else self._due_s is not None and self._is_passing:
            self._place -= 1
        self._is_passing = True
        self._views = [*self._views[: self._place + 1], view][-HISTORY:]
        self._place = len(self._views) - 1
        orders = self._changed(now_s)
        self._look_until_s = now_s + LOOK_S if is_look else 0.0
        return orders

    def fit(self, width_px: int, height_px: int, now_s: float) -> list[Order]:
        """Show the same in a picture of another size. That is no step that one could want back."""
        self._size_px = width_px, height_px
        return self._changed(now_s)

    def undo(self, now_s: float) -> list[Order]:
        """Back to the view before."""
        if not self.can_undo:
            return []
        self._place -= 1
        self._is_passing = False
        return self._changed(now_s)

    def redo(self, now_s: float) -> list[Order]:
        """To the view from which one went back."""
        if not self.can_redo:
            return []
        self._place += 1
        self._is_passing = False
        return self._changed(now_s)

    def refresh(self, now_s: float) -> list[Order]:
        """Compute what is shown again: the first time, after a failure, or for another server."""
        self._is_passing = False
        return self._anew(now_s)

    def tick(self, now_s: float) -> list[Order]:
        """Submit what has stayed long enough."""
        if self._due_s is None or now_s < self._due_s:
            return []
        self._due_s = None
        self.operation_id, self._alive = self._new_id(), True
        self.rendered = self.view
        return [Submit(self.operation_id, self.view)]

    def ended(self, operation_id: str, *, is_there: bool) -> None:
        """A render has ended, or was refused: there is nothing to cancel. is_there: it has a whole picture."""
        if operation_id == self.operation_id:
            self._alive = False
            if not is_there:
                self.rendered = None

    def leave(self) -> list[Order]:
        """Nobody looks any more. What is not finished is stale, too."""
        self._due_s = None
        return self._stale()

    def _is_there(self, view: RenderRequest) -> bool:
        """Whether the render of what is shown has all that the view takes."""
        return self.rendered is not None and needed(self.rendered, view) != "render"

    def _changed(self, now_s: float) -> list[Order]:
        self._look_until_s = 0.0
        return [] if self._is_there(self.view) else self._anew(now_s)

    def _anew(self, now_s: float) -> list[Order]:
        self._due_s = now_s + self._settled_s
        return self._stale()

    def _stale(self) -> list[Order]:
        stale = self.operation_id if self._alive else None
        self.operation_id, self._alive, self.rendered = None, False, None
        return [] if stale is None else [Cancel(stale)]
