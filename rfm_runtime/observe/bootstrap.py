"""The first steps of every process of the runtime, and how it tells the supervisor that it is ready.

The supervisor starts `python -m rfm_runtime.<component>` with the arguments parsed here. Readiness and
progress of starting go as JSON lines to a pipe; its end-of-file tells that the process is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from rfm_runtime.config import Endpoints, Folders, Settings, away, folders
from rfm_runtime.errors import RfmError, fields_of
from rfm_runtime.observe import logs
from rfm_runtime.observe.alive import source
from rfm_runtime.observe.process import die_with_parent
from rfm_runtime.observe.resources import ResourceMonitor
from rfm_runtime.protocol.internal import Source
from rfm_runtime.protocol.resources import ResourceReport

__all__ = ["Boot", "bootstrap"]

SAY_S = 2.0
"""Longer than it takes to reach a broker that is there and lets this host in."""


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What a process knows of itself. name: among those of its host; `source.name` is among all of the runtime.

    listen_fd: the gateway's inherited listening socket.

    first: its runtime was just started; it does not follow one of its name that ended.
    """

    settings: Settings
    folders: Folders
    name: str
    source: Source
    ready_fd: int | None
    listen_fd: int | None
    first: bool = False

    @property
    def endpoints(self) -> Endpoints:
        """Where the broker is, for this process."""
        elsewhere = away(self.settings) if self.settings.is_away_from_broker else None
        return self.folders.endpoints if elsewhere is None else elsewhere

    def named(self, name: str) -> str:
        """What a process of this host is called among all of the runtime."""
        return _named(self.settings, name)

    def tell(self, status: str, *, ready: bool = False, waits: bool = False, error: RfmError | None = None) -> None:
        """One line to the supervisor; a supervisor that is gone is noticed elsewhere. error: why this process ends.

        waits: nothing is left to do here until somebody elsewhere has come.
        """
        if self.ready_fd is None:
            return
        failed = {} if error is None else {"error": fields_of(error)}
        line = json.dumps({"status": status, "ready": ready, "waits": waits, **failed}) + "\n"
        try:
            os.write(self.ready_fd, line.encode())
        except BrokenPipeError:
            logs.get(__name__).warning("supervisor_pipe_closed", status=status)

    async def first_of(self, *tasks: asyncio.Task[Any]) -> None:
        """Until one of them is done. What is waited for is said where the broker is elsewhere and it takes long."""
        away_s = SAY_S if self.settings.is_away_from_broker else None
        done, _ = await asyncio.wait(tasks, timeout=away_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self.tell(
                f"waiting for the broker at {self.settings.broker_address}, "
                "whose host has to allow the key that `rfm-runtime keys show` prints here",
                waits=True,
            )
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    @contextmanager
    def monitored(self, role: str, on_report: Callable[[ResourceReport], None]) -> Iterator[ResourceMonitor]:
        """Have `on_report` told what this process uses, in a thread of its own; the running loop is watched."""
        interval_s = self.settings.resources_interval_s
        name, state_dir = self.source.name, self.folders.state
        with ResourceMonitor(interval_s, name=name, role=role, state_dir=state_dir, on_report=on_report) as monitor:
            monitor.watch_loop(asyncio.get_running_loop())
            yield monitor


def bootstrap(component: str, argv: Sequence[str] | None = None) -> Boot:
    """Parse the arguments, tie this process to its parent, configure logs. Call it in the main thread."""
    parser = argparse.ArgumentParser(prog=f"python -m rfm_runtime.{component}")
    parser.add_argument("--settings", type=Path, required=True, help="resolved settings, JSON")
    parser.add_argument("--name", required=True, help="name among the runtime's processes, e.g. gateway-0")
    parser.add_argument("--incarnation", type=int, required=True, help="number of this start")
    parser.add_argument("--parent", type=int, help="end when this process ends")
    parser.add_argument("--ready-fd", type=int, help="pipe to report readiness to")
    parser.add_argument("--first", action="store_true", help="its runtime was just started")
    parser.add_argument("--listen-fd", type=int, help="inherited listening socket")
    arguments = parser.parse_args(argv)
    if arguments.parent is not None:
        die_with_parent(arguments.parent, signal.SIGKILL)
    settings = msgspec.json.decode(arguments.settings.read_bytes(), type=Settings)
    where = folders(settings)
    logs.configure(arguments.name, settings.log_level, where.logs)
    structlog.contextvars.bind_contextvars(incarnation=arguments.incarnation)
    return Boot(
        settings=settings,
        folders=where,
        name=arguments.name,
        source=source(_named(settings, arguments.name), arguments.incarnation),
        ready_fd=arguments.ready_fd,
        listen_fd=arguments.listen_fd,
        first=arguments.first,
    )


def _named(settings: Settings, name: str) -> str:
    node = settings.node or (socket.gethostname() if settings.is_away_from_broker else "")
    return f"{name}@{node}" if node else name
