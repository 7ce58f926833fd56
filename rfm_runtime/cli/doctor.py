"""`rfm-runtime doctor`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, StateDirOption, console, print_json, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, destination, folders, unknown_variables
from rfm_runtime.core.counts import counted
from rfm_runtime.errors import CertificateError, ConfigError, NoRuntimeError, RfmError, SetupError

__all__ = ["doctor"]

EXTRAS = {
    "server": ("sqlalchemy", "alembic", "structlog", "prometheus_client", "psutil", "jwt", "cryptography"),
    "engine": ("numpy", "numba", "gmpy2", "PIL", "psutil", "xxhash"),
    "viewer": ("PySide6", "numpy"),
}
OPTIONAL = {"viewer"}
"""Not missed where nobody sits."""
ROOM_BYTES = 1024**3


class Finding(NamedTuple):
    """One check. todo is empty if it is fine."""

    what: str
    fine: bool
    detail: str
    todo: str


def doctor(as_json: JsonOption = False, state_dir: StateDirOption = None, runtime_dir: RuntimeDirOption = None) -> None:
    """Check this machine and the runtime.

    Every problem comes with what to do; exit code 1 if there is one.
    """
    resolved = settings(state_dir=state_dir, runtime_dir=runtime_dir)
    if state_dir is None:
        # A runtime that runs knows best where its files are.
        with suppress(NoRuntimeError, SetupError):
            running = ConnectionInfo.read(folders(resolved).connection)
            resolved = msgspec.structs.replace(resolved, state_dir=running.state_dir)
    findings = [*_python(), *_extras(), *_environment(), *_folders(resolved), *_room(resolved), *_journal(resolved)]
    findings += [*_tls(resolved), *_runtime(resolved)]
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        _print(findings)
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    out = console()
    for finding in findings:
        mark = ("ok  ", "green") if finding.fine else ("bad ", "bold red")
        out.print(Text.assemble(mark, f"{finding.what}: {finding.detail}"))
        if not finding.fine:
            out.print(Text(f"    {finding.todo}"))


def _check(what: str, fine: bool, detail: str, todo: str) -> Finding:
    return Finding(what, fine, detail, "" if fine else todo)


def _python() -> Iterator[Finding]:
    version = sys.version.split()[0]
    yield _check("Python", sys.version_info >= (3, 11), version, "use Python 3.11 or newer")
    todo = "run the runtime on Linux; clients run everywhere"
    yield _check("platform", sys.platform.startswith("linux"), sys.platform, todo)


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        detail = f"{', '.join(missing)} missing" if missing else "installed"
        is_fine = not missing or extra in OPTIONAL
        yield _check(f"extra [{extra}]", is_fine, detail, f"pip install 'rfm-runtime[{extra}]'")


def _environment() -> Iterator[Finding]:
    """Names that begin as ours do and mean nothing; and whether those of a server elsewhere make sense."""
    unknown = unknown_variables(os.environ)
    misspelt = [one for one in unknown if one.nearest]
    for one in misspelt:
        yield _check("environment", False, f"{one.name} means nothing here", f"rename it: {one.nearest}; or unset it")
    try:
        named = destination()
    except ConfigError as error:
        yield _check("environment", False, error.message, error.hint or "")
        return
    if not misspelt:
        others = [one.name for one in unknown]
        where = "the runtime of this machine" if named is None else urlsplit(named.url).netloc.rpartition("@")[2]
        detail = f"commands go to {where}"
        yield _check("environment", True, f"{detail}; ignored: {', '.join(others)}" if others else detail, "")


def _existing(folder: Path) -> Path:
    """The folder, or what is there of the way to it."""
    return next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))


def _folders(resolved: Settings) -> Iterator[Finding]:
    where = folders(resolved)
    for name, folder in (("state_dir", where.state), ("runtime_dir", where.runtime), ("cache_dir", where.cache)):
        existing = _existing(folder)
        usable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        detail = str(folder) if usable else f"{folder} cannot be written"
        yield _check(name, usable, detail, f"make {existing} writable, or choose another with RFM_{name.upper()}")
    if where.runtime.is_dir():
        mode = stat.S_IMODE(where.runtime.stat().st_mode)
        yield _check("privacy", not mode & 0o077, f"{where.runtime} is {mode:04o}", f"chmod 700 {where.runtime}")


def _room(resolved: Settings) -> Iterator[Finding]:
    existing = _existing(Path(resolved.state_dir))
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1024**3:.1f} GiB free in {existing}"
    yield _check("disk", free > ROOM_BYTES, detail, "make room: `rfm-runtime clean` removes files of finished renders")


def _journal(resolved: Settings) -> Iterator[Finding]:
    """Whether a broker would open it, and nothing keeps what is beside it from getting into it."""
    if importlib.util.find_spec("sqlalchemy") is None:
        return
    from rfm_runtime.store.files import WAL_LIMIT_BYTES
    from rfm_runtime.store.journal import rehearse
    from rfm_runtime.store.look import looked_at

    path = folders(resolved).journal
    try:
        if not rehearse(resolved):
            yield _check("journal", True, "none yet", "")
            return
        with looked_at(path) as look:
            found = look.figures()
    except RfmError as error:
        yield _check("journal", False, error.message, error.hint or "")
        return
    operations = sum(found.operations.values())
    detail = (
        f"{counted(operations, 'operation')} in {found.bytes / 1e6:.1f} MB, {found.wal_bytes / 1e6:.1f} MB beside it"
    )
    todo = "end the program that has the journal open to read it for long (see `fuser`): it cannot be cut back"
    yield _check("journal", found.wal_bytes <= 2 * WAL_LIMIT_BYTES, detail, todo)


def _tls(resolved: Settings) -> Iterator[Finding]:
    """Whether a server would start with the certificate that the settings name, and how long it lasts."""
    if not resolved.uses_tls or importlib.util.find_spec("cryptography") is None:
        return
    from rfm_runtime.security.server_tls import ServerTls

    try:
        tls = ServerTls(resolved)
    except CertificateError as error:
        yield _check("TLS", False, error.message, error.hint or "")
    else:
        detail = tls.trouble or f"{resolved.tls_certificate}, valid for {tls.days_left} days"
        yield _check("TLS", not tls.trouble, detail, "renew it: `rfm-runtime certs renew`, or as you got it")


def _runtime(resolved: Settings) -> Iterator[Finding]:
    from rfm_runtime.cli.status import standing

    try:
        info = ConnectionInfo.read(folders(resolved).connection)
    except NoRuntimeError:
        yield _check("runtime", True, "none is running", "")
        yield from _port(resolved)
    except SetupError as error:
        yield _check("runtime", False, error.message, error.hint or "")
    else:
        ready, why = standing(info, folders(resolved))
        yield _check("runtime", ready, f"{info.url or 'no gateway'}, pid {info.pid}: {why}", "see `rfm-runtime logs`")


def _port(resolved: Settings) -> Iterator[Finding]:
    if resolved.port == 0:
        yield _check("port", True, "any free one", "")
        return
    family = socket.AF_INET6 if ":" in resolved.host else socket.AF_INET
    with socket.socket(family) as probe:
        taken = probe.connect_ex((resolved.host, resolved.port)) == 0
    if taken and importlib.util.find_spec("psutil") is not None:
        from rfm_runtime.app.folders import holder

        detail = f"{resolved.port} is taken{holder(resolved.port)}"
    else:
        detail = f"{resolved.port} is {'taken' if taken else 'free'}"
    yield _check("port", not taken, detail, "start with another: rfm-runtime start --port 0")
