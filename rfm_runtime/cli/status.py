"""`rfm-runtime status`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, console, print_json, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import folders
from rfm_runtime.errors import UnavailableError

__all__ = ["readiness", "status"]


def status(as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Say whether a runtime is running and ready, and what it does.

    Exit code 3 where none is running, 6 where one is running and not ready.
    """
    info = ConnectionInfo.read(folders(settings(runtime_dir=runtime_dir)).connection)
    ready, why = readiness(info.url)
    # What is not ready is not asked: it would only make the user wait.
    states = _states(runtime_dir) if ready else None
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
    else:
        typer.echo(f"rfm-runtime {info.version} at {info.url}, pid {info.pid}")
        console().print(why, style="green" if ready else "red", markup=False)
        if states is not None:
            listed = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none yet"
            typer.echo(f"operations: {listed}")
        typer.echo(f"state in {info.state_dir}")
    if not ready:
        raise typer.Exit(UnavailableError.exit_code)


def _states(runtime_dir: str | None) -> dict[str, int]:
    states: dict[str, int] = {}
    with client(runtime_dir) as connected:
        for operation in connected.operations():
            states[operation.state] = states.get(operation.state, 0) + 1
    return states


def readiness(url: str) -> tuple[bool, str]:
    """What /readyz says."""
    import http.client

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status == 200, response.read().decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"the gateway does not answer: {error}"
    finally:
        connection.close()
