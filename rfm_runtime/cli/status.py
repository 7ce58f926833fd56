"""`rfm-runtime status`."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, console, print_json, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import folders

__all__ = ["readiness", "status"]


def status(as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Is a runtime running, is it ready, what does it do?"""
    info = ConnectionInfo.read(folders(settings(runtime_dir=runtime_dir)).connection)
    ready, why = readiness(info.url)
    states: dict[str, int] = {}
    with client(runtime_dir) as connected:
        for operation in connected.operations():
            states[operation.state] = states.get(operation.state, 0) + 1
    report: dict[str, Any] = {
        "url": info.url,
        "pid": info.pid,
        "version": info.version,
        "state_dir": info.state_dir,
        "ready": ready,
        "detail": why,
        "operations": states,
    }
    if as_json:
        print_json(report)
        return
    out = console()
    out.print(f"[bold]rfm-runtime {info.version}[/bold] at {info.url}, pid {info.pid}")
    out.print(f"[green]{why}[/green]" if ready else f"[red]{why}[/red]")
    listed = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none yet"
    out.print(f"operations: {listed}")
    out.print(f"[dim]state in {info.state_dir}[/dim]")


def readiness(url: str) -> tuple[bool, str]:
    """What /readyz says."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status == 200, response.read().decode().strip()
    except OSError as error:
        return False, f"the gateway does not answer: {error}"
    finally:
        connection.close()
