"""tqdm itself, seen and stopped from anywhere: change `from tqdm import tqdm` to `from rfm_runtime.tqdm import tqdm`.

Bars look as they always did, since tqdm draws them. Beside that each is an operation: progress, description and
postfix travel to the runtime, and OperationCanceled is raised in the loop once somebody has asked to stop. Without a
runtime it is tqdm and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rfm_runtime.client.reporting.tracking import Progress
from rfm_runtime.errors import MissingExtraError

try:
    from tqdm import std
except ImportError:
    raise MissingExtraError("rfm_runtime.tqdm", "tqdm") from None

if TYPE_CHECKING:
    _Bar = std.tqdm[Any]
else:
    # Generic for type checkers alone.
    _Bar = std.tqdm

__all__ = ["Reported", "tqdm", "trange"]

T = TypeVar("T")


class Reported(_Bar, Generic[T]):
    """As `tqdm.tqdm`. kind: of the operation, to filter by. `disable=True` reports nothing either."""

    # Until it is made, tqdm's own constructor calls what is overridden below.
    _reported: Progress | None = None
    _iterating = False
    _updating = False

    def __init__(
        self,
        iterable: Iterable[T] | None = None,
        desc: str | None = None,
        total: float | None = None,
        *args: Any,
        kind: str = "loop",
        **options: Any,
    ) -> None:
        super().__init__(iterable, desc, total, *args, **options)
        if options.get("disable") is not True:
            self._reported = Progress(
                self.total, desc or "", unit=options.get("unit", "it"), kind=kind, bar=False, initial=self.n
            )
            if isinstance(postfix := options.get("postfix"), Mapping):
                self._reported.set_postfix(postfix)

    def __iter__(self) -> Iterator[T]:
        reported = self._reported
        if reported is None:
            yield from super().__iter__()
            return
        self._iterating = True
        with reported:
            for item in super().__iter__():
                yield item
                reported.update()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reported is not None:
            self._reported.__exit__(kind, error, trace)
        super().__exit__(kind, error, trace)

    def __del__(self) -> None:
        reported = self._reported
        # A bar that is dropped was left early, unless it was full: nobody closed it.
        if reported is not None and reported.state == "running" and not sys.is_finalizing():
            if reported.total is not None and reported.done >= reported.total:
                reported.close()
            else:
                reported.abandon(None)
        super().__del__()

    def update(self, n: float | None = 1) -> bool | None:
        """As tqdm's. Raises OperationCanceled if somebody asked to stop."""
        self._updating = True
        try:
            shown: bool | None = super().update(n)
        finally:
            self._updating = False
        # Its own loop calls this as well, now and then, and counts each item itself.
        if self._reported is not None and not self._iterating:
            self._reported.update(1 if n is None else n)
        return shown

    def close(self) -> None:
        """As tqdm's: what is closed is done."""
        super().close()
        reported = self._reported
        if reported is not None and not self._iterating:
            reported.close()

    def refresh(self, *args: Any, **options: Any) -> Any:
        """As tqdm's: `n` and `total` may have been set."""
        reported = self._reported
        if reported is not None:
            reported.total = self.total
            if not self._iterating and not self._updating:
                reported.done = max(reported.done, self.n)
        return super().refresh(*args, **options)

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """As tqdm's."""
        super().set_description(desc, refresh)
        if self._reported is not None:
            self._reported.set_description(desc or "")

    def set_description_str(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """As tqdm's."""
        super().set_description_str(desc, refresh)
        if self._reported is not None:
            self._reported.set_description(desc or "")

    def set_postfix(
        self, ordered_dict: Mapping[str, Any] | None = None, refresh: bool | None = True, **values: Any
    ) -> None:
        """As tqdm's: the figures are the operation's details."""
        super().set_postfix(ordered_dict, refresh, **values)
        if self._reported is not None:
            self._reported.set_postfix(ordered_dict, **values)

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """As tqdm's."""
        super().set_postfix_str(s, refresh)
        if self._reported is not None:
            self._reported.set_postfix_str(s)


tqdm = Reported
"""Under the name that scripts know."""


def trange(*args: int, **options: Any) -> Reported[int]:
    """`tqdm(range(*args), **options)`."""
    return Reported(range(*args), **options)
