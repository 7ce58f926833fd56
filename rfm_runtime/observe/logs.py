"""Structured logs: one JSON line an event, one file a process, with component, pid and correlation id.

Configured once at the start of a process of ours. In somebody else's, an embedded server, nothing of theirs is touched:
events are lines of text for the loggers `rfm_runtime.…` of the standard library. Bound context (`operation_id`, …)
travels with `structlog.contextvars`. Secrets never reach a log: what is logged is named field by field, and what has
the shape of one is masked.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import time
from pathlib import Path
from typing import Any

import structlog

from rfm_runtime.observe.redaction import redacted

__all__ = ["LOG_LIMIT_BYTES", "configure", "get"]

LOG_LIMIT_BYTES = 10 * 1024 * 1024
"""One log file; one older file is kept beside it."""

NO_DESCRIPTOR = "socket.accept() out of system resource"

Logger = structlog.stdlib.BoundLogger


def _masked(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The last of them: whatever the others have made of it."""
    for key, value in event.items():
        if isinstance(value, str | list | tuple | dict):
            event[key] = redacted(value)
    return event


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _masked,
]
_as_text = structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True)


class _Output:
    """is_ours: this process's handlers are, and take events as they are."""

    is_ours = False


class _OnceASecond(logging.Filter):
    """What asyncio says of accepting without a descriptor: that would be a hundred traces a second."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(NO_DESCRIPTOR):
            return True
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + 1.0
        record.exc_info = None
        return True


_once_a_second = _OnceASecond()


def _hand_over(logger: Any, method: str, event: structlog.typing.EventDict) -> Any:
    """The last step: to our handlers, or as text to those of the program that we are in."""
    if _Output.is_ours:
        return structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, method, event)
    name = event.pop("event", "")
    event.pop("timestamp", None)
    event.pop("level", None)
    exception = event.pop("exception", None)
    text = f"{name} {_as_text(logger, method, event)}".rstrip()
    # `Logger.exception` adds it by itself.
    return text if exception is None or method == "exception" else f"{text}\n{exception}"


def configure(component: str, level: str, folder: Path | None) -> None:
    """Send this process's logs to `folder/component.log`, and its errors to stderr, readable if that is a terminal.

    Without a folder everything goes to stderr.
    """
    _Output.is_ours = True

    def name_process(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # Not bound to the context: other threads have another one.
        return {"component": component, "pid": os.getpid(), **event}

    def formatter(*last: structlog.typing.Processor) -> logging.Formatter:
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )

    lines = formatter(name_process, structlog.processors.JSONRenderer())
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level.upper())
    logging.getLogger("asyncio").addFilter(_once_a_second)
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(formatter(_for_people()) if sys.stderr.isatty() else lines)
    root.addHandler(console)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = logging.handlers.RotatingFileHandler(
            folder / f"{component}.log", maxBytes=LOG_LIMIT_BYTES, backupCount=1, encoding="utf-8"
        )
        file.setFormatter(lines)
        root.addHandler(file)
        console.setLevel(logging.ERROR)


def _for_people() -> structlog.dev.ConsoleRenderer:
    # Values as Python writes them: what others made up must not move the terminal's cursor.
    return structlog.dev.ConsoleRenderer(
        colors="NO_COLOR" not in os.environ,
        pad_event_to=0,
        repr_native_str=True,
        exception_formatter=structlog.dev.plain_traceback,
    )


def get(name: str) -> Logger:
    """A logger; bind context with `.bind(operation_id=…)`."""
    logger: Logger = structlog.wrap_logger(
        logging.getLogger(f"rfm_runtime.{name}"),
        processors=[structlog.stdlib.filter_by_level, *_SHARED, _hand_over],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger
