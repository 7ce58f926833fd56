"""`track(iterable)` and `with progress(total=…)`: a loop that is seen, and stopped, from anywhere.

One step costs an addition and a look at one flag.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from rfm_runtime.client.reporting.reporter import BORROWED, Borrowing, ProgressReporter, Reporting
from rfm_runtime.client.reporting.session import session
from rfm_runtime.client.reporting.values import canceled, error_of, number_of, text_of
from rfm_runtime.core.reporting.desk import Paused
from rfm_runtime.protocol.limits import LABEL_LIMIT, MESSAGE_LIMIT, NAME_LIMIT
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["Progress", "current_operation", "operation", "progress", "track"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Progress(Reporting):
    """An operation that counts. `n` is what is done; `update` adds to it.

    As a context manager: completed at the end of the block, failed by an exception, cancelled by OperationCanceled.
    """

    def __init__(
        self,
        total: float | None = None,
        desc: str = "",
        *,
        unit: str = "it",
        kind: str = "loop",
        leave: bool = True,
        pausable: bool = True,
        labels: Mapping[str, str] | None = None,
        bar: bool | None = None,
        initial: float = 0,
    ) -> None:
        self.leave = leave
        super().__init__(kind, desc or kind, total=total, unit=unit, labels=labels, pausable=pausable, bar=bar)
        self.done = initial

    @property
    def n(self) -> float:
        """What is done."""
        return self.done

    @n.setter
    def n(self, value: float) -> None:
        self.done = value

    def update(self, n: float = 1) -> None:
        """So much more is done. Raises OperationCanceled if somebody asked to stop; stands still while asked to, but
        not in a coroutine, where everything else would stand still too.
        """
        try:
            self.done += n
        except TypeError:
            # No number: reporting does not raise.
            self.done += number_of(n)
        if self._attention:
            self._attend()

    def set_description(self, desc: str) -> None:
        """What it does now, shown as the step."""
        self._step = desc

    def set_postfix(self, ordered: Mapping[str, Any] | None = None, **values: Any) -> None:
        """Figures to watch, e.g. `loss=0.3`: they travel as details, and stand beside a local bar."""
        figures = {**dict(ordered or {}), **values}
        self._details = figures
        self._message = ", ".join(f"{key}={_figure(value)}" for key, value in figures.items())

    def set_postfix_str(self, text: str) -> None:
        """The same as one text."""
        self._message = text

    def close(self) -> None:
        """It is done; nothing if it has ended already."""
        if self.state == "running" and self._borrowed is None:
            self._end("completed")

    def fail(self, error: BaseException | str, *, code: str = "failed") -> None:
        """It cannot be done."""
        if isinstance(error, BaseException):
            self._end("failed", error_of(error))
        else:
            self._end("failed", ErrorInfo(code=text_of(code, NAME_LIMIT), message=text_of(error, MESSAGE_LIMIT)))

    def cancel(self, reason: str) -> None:
        """It ends here, unfinished."""
        self._end("canceled", canceled(reason))

    def abandon(self, where: FrameType | None) -> None:
        """It was left before its end, by a break or by an exception of the loop's body: which one, nobody tells the
        iterator. It counts as cancelled, or as failed if an exception that came through there ends the program.

        where: the frame that left it.
        """
        of = "" if self.total is None else f" of {number_of(self.total):g}"
        reason = f"the loop was left after {number_of(self.done):g}{of} {self.unit}"
        if where is None:
            self.cancel(reason)
        else:
            self._end("canceled", canceled(reason), left=(where, where.f_lasti))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit):
            if self.state == "running" and self._borrowed is None:
                # Of our iterator, called by whoever leaves the loop.
                iterator = sys._getframe(1)
                self.abandon(iterator.f_back)
            return
        self._leave_block(error)


class BorrowedProgress(Borrowing, Progress):
    """In a process that does not own the operation."""

    def update(self, n: float = 1) -> None:
        """Added to what the owner reports. Raises OperationCanceled if somebody asked to stop."""
        self.done += n
        if self._shared is not None:
            self._shared.add(number_of(n))
        self.raise_if_canceled()


BORROWED[Progress] = BorrowedProgress


def progress(total: float | None = None, desc: str = "", **options: Any) -> Progress:
    """An operation that counts up to `total`; options as of `Progress`.

    >>> with progress(total=len(files), desc="convert", unit="files") as bar:
    ...     for file in files:
    ...         convert(file)
    ...         bar.update()
    """
    return Progress(total, desc, **options)


class Tracked(Progress, Generic[T]):
    """An iterable whose progress is reported, from its first item to its last; each time anew."""

    def __init__(self, iterable: Iterable[T] | AsyncIterable[T], **options: Any) -> None:
        self._iterable = iterable
        self._options = options
        super().__init__(**options)

    def __len__(self) -> int:
        return len(cast("Any", self._iterable))

    def __iter__(self) -> Iterator[T]:
        if self.state != "running" and self._borrowed is None:
            # Once more: that is another operation.
            yield from Tracked(self._iterable, **self._options)
            return
        with self:
            for item in cast("Iterable[T]", self._iterable):
                yield item
                self.done += 1
                if self._attention:
                    self._attend()

    async def __aiter__(self) -> AsyncIterator[T]:
        with self:
            async for item in cast("AsyncIterable[T]", self._iterable):
                yield item
                self.done += 1
                if self._attention:
                    await self._attend_asynchronously()

    async def _attend_asynchronously(self) -> None:
        """Stand still, and nobody else with it."""
        import asyncio

        if self._stands() and self.pausable:
            loop, steered = asyncio.get_running_loop(), asyncio.Event()

            def wake() -> None:
                loop.call_soon_threadsafe(steered.set)

            self._wakers.append(wake)
            session().say(self, Paused(self.operation_id, True))
            try:
                while self._stands():
                    await steered.wait()
                    steered.clear()
            finally:
                self._wakers.remove(wake)
            session().say(self, Paused(self.operation_id, False))
        self.raise_if_canceled()


def track(
    iterable: Iterable[T] | AsyncIterable[T],
    desc: str = "",
    total: float | None = None,
    *,
    unit: str = "it",
    kind: str = "loop",
    leave: bool = True,
    pausable: bool = True,
    labels: Mapping[str, str] | None = None,
    bar: bool | None = None,
) -> Tracked[T]:
    """Iterate as before, and be seen.

    iterable: also an asynchronous one. total: items, if the iterable does not tell by its length. desc: for people.
    kind: to filter by. pausable: a pause holds the loop between two items. leave: a local bar stays when it is full.
    bar: show one; None: only while no runtime is there.

    Between two items, OperationCanceled is raised once somebody has asked to stop. A loop that is left early counts
    as cancelled, or as failed if that was by an exception that ends the program.
    """
    if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__aiter__"):
        raise TypeError(f"track() goes through an iterable, and this is {type(iterable).__name__}: {iterable!r:.60}")
    if total is None:
        length = operator.length_hint(iterable, -1)
        total = None if length < 0 else length
    return Tracked(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        kind=kind,
        leave=leave,
        pausable=pausable,
        labels=labels,
        bar=bar,
    )


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else text_of(value, LABEL_LIMIT)


_current: ContextVar[ProgressReporter | None] = ContextVar("rfm_operation", default=None)


def current_operation() -> ProgressReporter:
    """The operation that the innermost `@operation` around this call began. Raises LookupError outside of one."""
    reporter = _current.get()
    if reporter is None:
        raise LookupError("no operation here: call this inside of a function with @operation")
    return reporter


def operation(kind: str, name: str = "", **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: each call is an operation, which `current_operation()` reports on; also of a coroutine function.

    kind, name, options: as of `ProgressReporter`; the name is the function's if none is given. An exception fails it,
    OperationCanceled cancels it, and both go on to the caller.
    """

    if not isinstance(kind, str):
        raise TypeError('@operation wants the kind of operation: write @operation("…") above the function')

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__name__} is a generator, which ends when nobody knows: use track() around it")
        title = name or function.__name__

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                with ProgressReporter(kind, title, **options) as reporter:
                    token = _current.set(reporter)
                    try:
                        return await function(*args, **kwargs)
                    finally:
                        _current.reset(token)

            return cast("Callable[P, R]", awaited)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with ProgressReporter(kind, title, **options) as reporter:
                token = _current.set(reporter)
                try:
                    return function(*args, **kwargs)
                finally:
                    _current.reset(token)

        return called

    return decorate
