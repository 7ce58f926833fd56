"""`rfm-runtime start`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import ConfigOption, RuntimeDirOption, StateDirOption, console, settings

__all__ = ["start"]


def start(
    daemon: Annotated[bool, typer.Option("--daemon", "-d", help="Run in the background.")] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on (loopback only).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0 for one a core.")] = None,
    gateways: Annotated[int | None, typer.Option(help="Gateway processes on the port.")] = None,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    config: ConfigOption = None,
) -> None:
    """Start a runtime: in the foreground until Ctrl-C, or in the background."""
    from rfm_runtime.app.daemon import start_daemon
    from rfm_runtime.app.supervisor import run

    resolved = settings(
        file=config,
        host=host,
        port=port,
        workers=workers,
        gateways=gateways,
        state_dir=state_dir,
        runtime_dir=runtime_dir,
        log_level=log_level,
    )
    out = console(stderr=True)

    def tell(text: str, ready: bool) -> None:
        if ready:
            out.print(f"[bold green]ready[/bold green] at {text}")
            if not daemon:
                out.print("[dim]Ctrl-C stops it; running renders are kept and go on at the next start[/dim]")
        else:
            out.print(f"[dim]{text}[/dim]")

    if daemon:
        info = start_daemon(resolved, on_status=tell)
        out.print(f"[dim]pid {info.pid}; stop it with `rfm-runtime stop`[/dim]")
        return
    raise typer.Exit(run(resolved, on_status=tell))
