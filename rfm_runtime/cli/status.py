"""`rfm-runtime status`."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, console, print_json, print_table, settings
from rfm_runtime.cli.text import Column
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.verifying import Verifier, distrusted, refused_by_tls
from rfm_runtime.config import Destination, Folders, Settings, Trust, default_port, destination, folders, is_loopback
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.core.text import printable
from rfm_runtime.errors import CertificateError, UnavailableError
from rfm_runtime.observe import troubles
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.resources import ResourceReport, Resources

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["HEALTH_COLOURS", "NOT_READY", "readiness", "standing", "status", "told", "without_gateway"]

ANSWER_S = 5.0

NOT_READY = "not ready: "
"""What /readyz begins with where something is the matter."""

HEALTH_COLOURS = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}

COLUMNS = (
    Column("process"),
    Column("cpu"),
    Column("memory"),
    Column("threads", rank=3),
    Column("files", rank=4),
    Column("lag", rank=2),
    Column("below it", rank=1),
)


def status(as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Say whether a runtime is running and ready, and what it does: the one that RFM_URL names, or the local one.

    Of a host without a gateway it says which parts run there, and where other hosts find its broker. Exit code 3 where
    none is running, 6 where one is running and not ready.
    """
    named = destination() if runtime_dir is None else None
    here = None if named is not None else folders(settings(runtime_dir=runtime_dir))
    info = None if here is None else ConnectionInfo.read(here.connection)
    url = named.url if named is not None else info.url if info is not None else ""
    if info is not None and here is not None:
        ready, why = standing(info, here)
    else:
        ready, why = readiness(named) if named is not None else (False, "")
    # What is not ready is not asked: it would only make the user wait.
    server, states, resources = _ask(runtime_dir) if ready and url else (None, None, None)
    known = () if here is None else troubles.read(here.troubles)
    shown = None if info is None else _certificate(info)
    parts = None if here is None else _settings_of(here)
    report: dict[str, Any] = {
        "url": url,
        "parts": None if parts is None else parts.parts,
        "broker_address": None if parts is None else parts.broker_address or None,
        "pid": None if info is None else info.pid,
        "version": info.version if info is not None else server,
        "state_dir": None if info is None else info.state_dir,
        "ready": ready,
        "detail": why,
        "operations": states,
        "resources": resources,
        "troubles": told(known, ready=ready, why=why),
        "certificate": shown,
    }
    if as_json:
        print_json(report)
    else:
        pid = "" if info is None else f", pid {info.pid}"
        typer.echo(f"rfm-runtime {report['version'] or ''} at {url or 'this host'}{pid}")
        console().print(why, style="green" if ready else "red", markup=False)
        if not ready and info is not None:
            typer.echo("what was accepted is kept, and what runs goes on; `rfm-runtime logs` says more")
        for trouble in known:
            said = trouble.said(int(time.time() * 1000))
            if said not in why:
                console().print(said, style="red" if trouble.down else "yellow", markup=False)
        if states is not None:
            listed = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none yet"
            typer.echo(f"operations: {listed}")
        if info is not None:
            typer.echo(f"state in {info.state_dir}")
        if shown is not None:
            typer.echo(f"certificate of {printable(', '.join(shown['names']))}, until {shown['until']}")
        if resources is not None:
            _show(resources)
    if not ready:
        raise typer.Exit(UnavailableError.exit_code)


def told(known: Sequence[troubles.Trouble], *, ready: bool, why: str) -> list[troubles.Trouble]:
    """All that is the matter: processes that end again and again, and what keeps the whole from being ready.

    That no process is to blame for, such as a full disk, is the runtime's own: it ends nothing, and is down.
    """
    reason = why.removeprefix(NOT_READY)
    if ready or any(trouble.down and reason.startswith(f"{trouble.process} ended ") for trouble in known):
        return list(known)
    return [troubles.Trouble(process="runtime", ends=0, cause=reason, down=True), *known]


def _ask(runtime_dir: str | None) -> tuple[str | None, dict[str, int], Resources | None]:
    states: dict[str, int] = {}
    with client(runtime_dir) as connected:
        for operation in connected.operations():
            states[operation.state] = states.get(operation.state, 0) + 1
        version = None if connected.server is None else connected.server.server.version
        return version, states, connected.resources()


def _show(resources: Resources) -> None:
    """What the processes use, what is not well, and what would help."""
    health = resources.health
    console().print(f"health: {health.state}", style=HEALTH_COLOURS[health.state], markup=False)
    for reason in health.reasons:
        typer.echo(f"  {printable(reason)}")
    print_table(COLUMNS, [_row(report) for report in resources.reports])
    for advice in resources.advice:
        typer.echo(f"advice: {printable(advice.text)}{f' ({advice.setting})' if advice.setting else ''}")


def _row(report: ResourceReport) -> list[str | Text]:
    process = report.process
    below = process.children
    lag = "" if process.loop_lag_ms is None else f"{process.loop_lag_ms:.0f} ms"
    files = "" if process.descriptors is None else str(process.descriptors)
    workers = f"{below.processes}: {below.cpu_percent:.0f} %, {size(below.memory_bytes)}" if below.processes else ""
    cpu = f"{process.cpu_percent:.1f} %"
    return [process.name, cpu, size(process.memory_bytes), str(process.threads), files, lag, workers]


def standing(info: ConnectionInfo, where: Folders) -> tuple[bool, str]:
    """What /readyz of this host's gateways says; where there are none, which parts run. where: of that runtime."""
    if info.url:
        return readiness(info)
    from rfm_runtime.app.daemon import parts_of

    return without_gateway(_settings_of(where), parts_of(info.pid), troubles.read(where.troubles), time.time())


def without_gateway(
    found: Settings | None, running: Sequence[str], known: Sequence[troubles.Trouble], now_s: float
) -> tuple[bool, str]:
    """How a host is whose parts nobody can be asked about. found: its settings; running: names of its processes."""
    if down := [trouble.said(int(now_s * 1000)) for trouble in known if trouble.down]:
        return False, f"{NOT_READY}{'; '.join(down)}"
    what = f"running: {', '.join(sorted(running))}" if running else "running"
    broker = ""
    if found is not None and found.broker_address:
        whose = "their broker" if found.is_away_from_broker else "the broker, for other hosts,"
        broker = f"; {whose} is at {found.broker_address}"
    return True, f"{what}{broker}; no gateway is here: ask one on another host how it is"


def _certificate(info: ConnectionInfo) -> dict[str, Any] | None:
    """What this host's gateways show, without TLS None: by which names clients may connect, and its last day."""
    if not info.ca_file:
        return None
    from rfm_runtime.security import certificates

    try:
        # Before those that were shown earlier.
        newest = certificates.read_certificates(Path(info.ca_file))[0]
    except CertificateError:
        # Being written, or taken away: who connects is told.
        return None
    return {"names": certificates.names(newest, common=False), "until": newest.not_valid_after_utc.date().isoformat()}


def _settings_of(where: Folders) -> Settings | None:
    """Of the runtime that runs there; None if they cannot be read."""
    try:
        return msgspec.json.decode(where.settings.read_bytes(), type=Settings)
    except (OSError, msgspec.DecodeError):
        return None


def readiness(server: ConnectionInfo | Destination) -> tuple[bool, str]:
    """What /readyz says. Raises CertificateError for files that cannot be used, UnauthorizedError, ForbiddenError."""
    import http.client

    parts = urlsplit(server.url)
    host = parts.hostname or "127.0.0.1"
    # Asked for by a server that others can reach; in plain text to another host it stays here.
    tells = parts.scheme == "wss" or is_loopback(host) or isinstance(server, ConnectionInfo)
    headers = {"Authorization": f"Bearer {server.token}"} if tells and server.token else {}
    connection = http.client.HTTPConnection(host, parts.port, timeout=ANSWER_S)
    try:
        if parts.scheme == "wss":
            trust = server.trust if isinstance(server, Destination) else Trust(ca_file=server.ca_file).resolved()
            name = host if isinstance(server, Destination) else server.server_name or host
            plain = socket.create_connection((host, parts.port or 443), timeout=ANSWER_S)
            connection.sock = Verifier().context(trust).wrap_socket(plain, server_hostname=name)
        connection.request("GET", "/readyz", headers=headers)
        response = connection.getresponse()
        said = response.read().decode("utf-8", "replace").strip()
        if response.status != HTTPStatus.OK:
            with contextlib.suppress(msgspec.DecodeError):
                fault = msgspec.json.decode(said, type=ErrorInfo)
                if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    # Whether it is ready was not said: that is another thing than not being ready.
                    raise fault.to_exception()
                said = f"{NOT_READY}{printable(fault.message)}"
        return response.status == HTTPStatus.OK, said
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return False, distrusted(error, host, again=False).reason
        refused = refused_by_tls(error)
        port = default_port(server.url)
        tried = "" if port is None else f" (the address names no port, so {port} was tried)"
        return False, f"the gateway does not answer: {error if refused is None else refused.reason}{tried}"
    finally:
        connection.close()
