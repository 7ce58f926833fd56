"""`rfm-runtime doctor`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, print_json, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import NoRuntimeError, SetupError

__all__ = ["doctor"]

EXTRAS = {
    "server": ("sqlalchemy", "structlog", "prometheus_client", "psutil", "jwt", "cryptography"),
    "engine": ("numpy", "numba", "gmpy2", "PIL", "psutil"),
}
ROOM_BYTES = 1024**3


class Finding(NamedTuple):
    """One check. todo is empty if it is fine."""

    what: str
    fine: bool
    detail: str
    todo: str = ""


def doctor(as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Check this machine and the runtime; every problem comes with what to do."""
    resolved = settings(runtime_dir=runtime_dir)
    findings = [*_python(), *_extras(), *_folders(resolved), *_room(resolved), *_runtime(resolved)]
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        out = console()
        for finding in findings:
            mark = "[green]ok[/green]  " if finding.fine else "[red]bad[/red] "
            out.print(f"{mark} {finding.what}: {finding.detail}")
            if not finding.fine:
                out.print(f"      {finding.todo}")
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


def _python() -> Iterator[Finding]:
    version = sys.version.split()[0]
    yield Finding("Python", sys.version_info >= (3, 11), version, "use Python 3.11 or newer")
    yield Finding("platform", sys.platform == "linux", sys.platform, "run the runtime on Linux; clients run everywhere")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        detail = f"{', '.join(missing)} missing" if missing else "installed"
        yield Finding(f"extra [{extra}]", not missing, detail, f"pip install 'rfm-runtime[{extra}]'")


def _folders(resolved: Settings) -> Iterator[Finding]:
    where = folders(resolved)
    for name, folder in (("state_dir", where.state), ("runtime_dir", where.runtime), ("cache_dir", where.cache)):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        writable = os.access(existing, os.W_OK | os.X_OK)
        todo = f"make {existing} writable, or choose another folder with RFM_{name.upper()}"
        yield Finding(name, writable, str(folder), todo)
    if where.runtime.exists():
        mode = stat.S_IMODE(where.runtime.stat().st_mode)
        yield Finding("privacy", not mode & 0o077, f"{where.runtime} is {mode:04o}", f"chmod 700 {where.runtime}")


def _room(resolved: Settings) -> Iterator[Finding]:
    state = Path(resolved.state_dir)
    existing = next(parent for parent in (state, *state.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1024**3:.1f} GiB free below {existing}"
    yield Finding("disk", free > ROOM_BYTES, detail, "make room: `rfm-runtime clean` removes files of finished renders")


def _runtime(resolved: Settings) -> Iterator[Finding]:
    try:
        info = ConnectionInfo.read(folders(resolved).connection)
    except NoRuntimeError:
        with socket.socket() as probe:
            taken = probe.connect_ex((resolved.host, resolved.port)) == 0
        detail = f"{resolved.port} is {'taken' if taken else 'free'}, no runtime is running"
        yield Finding("port", not taken, detail, "start with another: rfm-runtime start --port 0")
        return
    except SetupError as error:
        yield Finding("runtime", False, error.message, error.hint or "")
        return
    from rfm_runtime.cli.status import readiness

    ready, why = readiness(info.url)
    yield Finding("runtime", ready, f"{info.url}, pid {info.pid}: {why}", "see `rfm-runtime logs`")
