"""The connection file: where the local runtime listens, and its token. Written by the supervisor, 0600."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rfm_runtime.errors import NoRuntimeError, SetupError
from rfm_runtime.observe.alive import is_alive
from rfm_runtime.security.token import write_private

__all__ = ["ConnectionInfo"]


class ConnectionInfo(Struct, frozen=True, kw_only=True):
    """pid, start_time: of the supervisor; together they name its process. url: "" where no gateway is.

    ca_file: with wss://, what the server's certificate is verified by. server_name: the name that it must have, if that
    is not the url's host.
    """

    url: str
    token: str
    pid: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    start_time: float
    version: str
    state_dir: str
    ca_file: str = ""
    server_name: str = ""

    @classmethod
    def read(cls, path: Path) -> ConnectionInfo:
        """The runtime that wrote the file and still runs. Raises NoRuntimeError; SetupError if others may read it."""
        try:
            found = path.stat()
            content = path.read_bytes()
        except OSError:
            raise NoRuntimeError(f"no runtime is running here ({path} does not exist)") from None
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise SetupError(
                f"{path} can be read by others, so its token is no secret",
                hint=f"remove it, then restart the runtime: rm {path}",
            )
        try:
            info = msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NoRuntimeError(f"{path} is not a connection file", hint="restart the runtime") from None
        if not is_alive(info.pid, info.start_time):
            raise NoRuntimeError(f"the runtime that wrote {path} (pid {info.pid}) is gone")
        return info

    def serving(self) -> ConnectionInfo:
        """Itself, if watchers can connect. Raises NoRuntimeError where this host has other parts of a runtime alone."""
        if self.url:
            return self
        raise NoRuntimeError(
            "no gateway is running here, only other parts of a runtime",
            hint="connect to a gateway on another host: RFM_URL, and RFM_TOKEN_FILE with a token of it",
        )

    def write(self, path: Path) -> None:
        """Replace the file, mode 0600, in one step."""
        write_private(path, msgspec.json.encode(self).decode())
