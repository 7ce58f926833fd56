"""`rfm-runtime start`."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from rfm_runtime.cli.common import (
    ConfigOption,
    RuntimeDirOption,
    StateDirOption,
    console,
    print_json,
    settings,
)
from rfm_runtime.cli.status import NOT_READY, readiness, standing
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, Settings, folders
from rfm_runtime.errors import BadRequestError, NoRuntimeError

if TYPE_CHECKING:
    from rfm_runtime.app.supervisor import OnStatus

__all__ = [
    "CertificateOption",
    "ClientCaOption",
    "DaemonOption",
    "GatewaysOption",
    "HostOption",
    "InsecureOption",
    "JsonOption",
    "KeyOption",
    "LogLevelOption",
    "PortOption",
    "WorkersOption",
    "serve",
    "start",
    "starting",
    "warn",
]

DaemonOption = Annotated[bool, typer.Option("--daemon", "-d", help="Run in the background.")]
JsonOption = Annotated[bool, typer.Option("--json", help="With --daemon: print JSON when it is ready.")]
LogLevelOption = Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")]
WorkersOption = Annotated[int | None, typer.Option(metavar="NUMBER", help="Worker processes; 0 for one a core.")]
HostOption = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where to listen; off loopback with TLS.")]
PortOption = Annotated[int | None, typer.Option(metavar="NUMBER", help="Where to listen; 0 for any free port.")]
CertificateOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Encrypt: the server's certificate, PEM (see `certs init`).")
]
KeyOption = Annotated[str | None, typer.Option(metavar="FILE", help="Its key, PEM, mode 0600.")]
ClientCaOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Authorities of client certificates that are taken, PEM.")
]
InsecureOption = Annotated[
    bool | None, typer.Option("--allow-insecure", help="Plain text off loopback, for others to read.")
]
GatewaysOption = Annotated[int | None, typer.Option(metavar="NUMBER", help="Gateway processes on the port.")]


def start(
    daemon: DaemonOption = False,
    host: HostOption = None,
    port: PortOption = None,
    workers: WorkersOption = None,
    gateways: GatewaysOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_client_ca: ClientCaOption = None,
    allow_insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
    log_level: LogLevelOption = None,
    interrupted: Annotated[
        str | None, typer.Option(metavar="resume|fail", help="What is done with renders that were not finished.")
    ] = None,
    config: ConfigOption = None,
    new_journal: Annotated[
        bool, typer.Option("--new-journal", help="Begin with an empty journal; the present one is kept beside it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a runtime: in the foreground, or with --daemon.

    In the foreground the first Ctrl-C lets tiles in hand finish, a second one stops at once. Running renders are kept
    either way and go on at the next start, or have failed with it (--interrupted fail).
    """
    if as_json and not daemon:
        raise BadRequestError(
            "--json belongs to --daemon", hint="add --daemon, or ask with `rfm-runtime status --json`"
        )
    resolved = settings(
        file=config,
        host=host,
        port=port,
        workers=workers,
        gateways=gateways,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        allow_insecure=allow_insecure,
        state_dir=state_dir,
        runtime_dir=runtime_dir,
        log_level=log_level,
        interrupted=interrupted,
    )
    warn(resolved)
    if new_journal:
        _begin_anew(folders(resolved))
    serve(resolved, daemon=daemon, as_json=as_json, runtime_dir=runtime_dir)


def serve(resolved: Settings, *, daemon: bool, as_json: bool, runtime_dir: str | None) -> None:
    """Start what the settings say, in the foreground or not, and say where it is. Raises what the supervisor raises."""
    from rfm_runtime.app.daemon import start_daemon
    from rfm_runtime.app.supervisor import run

    what = "starting a runtime" if resolved.parts == "all" else f"starting: {resolved.parts}"
    if daemon:
        waits: list[str] = []
        with starting(what) as tell:
            info = start_daemon(resolved, on_status=tell, on_waiting=waits.append)
        # It runs, whatever the answer: on a full disk it is watched and steered, and takes nothing new.
        ready, why = (False, waits[0]) if waits else standing(info, folders(resolved))
        if as_json:
            fields = msgspec.structs.asdict(info)
            named = {name: fields[name] for name in ("url", "pid", "version", "state_dir")}
            print_json({**named, "ready": ready, "detail": why})
        else:
            where = "" if runtime_dir is None else f" --runtime-dir {shlex.quote(runtime_dir)}"
            place = info.url or resolved.broker_address or "this host"
            said = f"{place}, pid {info.pid}; stop it with `rfm-runtime stop{where}`"
            if waits:
                _started(said)
            else:
                _ready(said, None if ready else why)
        return
    out = console(stderr=True)
    with starting(what) as tell_start:

        def tell(text: str, ready: bool) -> None:
            tell_start(text, ready)
            if ready:
                _ready(f"{text}; Ctrl-C stops it")
                if resolved.has_gateways:
                    # Beside it: whoever watches over the processes waits for none of them.
                    threading.Thread(target=_say_why_not, args=(folders(resolved).connection,), daemon=True).start()
            elif text.startswith("stopping"):
                out.print(text, style="dim", markup=False)

        code = run(resolved, on_status=tell)
    # The terminal may be what has ended.
    with suppress(OSError):
        out.print("stopped", style="dim")
    raise typer.Exit(code)


def warn(resolved: Settings) -> None:
    """Say what is weaker than it should be. Raises InsecureBindError where that is not to be."""
    from rfm_runtime.app.address import PLAIN_WARNING, plain_off_loopback
    from rfm_runtime.security.authority import weakness

    weak = weakness(resolved)
    if weak is not None:
        console(stderr=True).print(f"warning: {weak}; make one with `rfm-runtime token rotate`", style="yellow")
    if plain_off_loopback(resolved):
        console(stderr=True).print(f"warning: {PLAIN_WARNING}", style="bold red", markup=False)


def _begin_anew(where: Folders) -> None:
    from rfm_runtime.app.folders import claim_state
    from rfm_runtime.store.files import begin_anew

    if not where.state.is_dir():
        return
    lock = claim_state(where)
    try:
        kept = begin_anew(where.journal, where.shown)
    finally:
        lock.close()
    if kept is not None:
        console(stderr=True).print(f"the journal so far is {kept}", style="dim", markup=False)


def _ready(where: str, why_not: str | None = None) -> None:
    from rich.text import Text

    if why_not is None:
        console(stderr=True).print(Text.assemble(("ready", "bold green"), f" at {where}"))
        return
    console(stderr=True).print(Text.assemble(("ready, but degraded", "bold yellow"), f" at {where}"))
    console(stderr=True).print(why_not.removeprefix(NOT_READY), style="yellow", markup=False)


def _started(where: str) -> None:
    """What it waits for was said."""
    from rich.text import Text

    out = console(stderr=True)
    out.print(Text.assemble(("started", "bold yellow"), f" at {where}"))
    out.print("it is ready by itself as soon as the broker is there; see `rfm-runtime logs`", style="dim", markup=False)


def _say_why_not(connection: Path) -> None:
    try:
        ready, why = readiness(ConnectionInfo.read(connection))
    except NoRuntimeError:
        # It is stopped again already.
        return
    if not ready:
        console(stderr=True).print(f"degraded: {why.removeprefix(NOT_READY)}", style="yellow", markup=False)


@contextmanager
def starting(text: str) -> Iterator[OnStatus]:
    """Shows how starting goes: in a terminal in one line that is gone afterwards, elsewhere only what takes long."""
    out = console(stderr=True)
    status = out.status(text)
    said: set[str] = set()

    def tell(what: str, ready: bool) -> None:
        if ready or what.startswith("stopping"):
            status.stop()
        elif "compiling" in what:
            doing = f"{what.partition(': ')[2]} (once after an update)"
            status.update(f"{text}: {doing}")
            if not sys.stderr.isatty() and doing not in said:
                said.add(doing)
                print(doing, file=sys.stderr, flush=True)
        elif "waiting for the broker" in what:
            out.print(what, style="dim", markup=False)
        elif " unfinished " in what:
            out.print(what.partition(", ")[2], style="dim", markup=False)

    with status:
        yield tell
