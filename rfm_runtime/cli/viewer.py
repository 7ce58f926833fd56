"""`rfm-runtime viewer`."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from rfm_runtime import config
from rfm_runtime.cli.common import RuntimeDirOption, settings
from rfm_runtime.cli.screens import has_screen, unreachable
from rfm_runtime.errors import ConfigError, SetupError

__all__ = ["viewer"]

NOWHERE = "/nonexistent"


def viewer(
    theme: Annotated[
        str,
        typer.Option(
            "--theme",
            metavar="NAME",
            help="Colours: system, dark, light, contrast, safe-dark, safe-light, or your own.",
        ),
    ] = "",
    server: Annotated[
        str,
        typer.Option("--server", metavar="NAME|URL", help="A server that the viewer knows by name, or an address."),
    ] = "",
    reset_layout: Annotated[
        bool, typer.Option("--reset-layout", help="Forget where everything in the window was.")
    ] = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Open the desktop viewer: what runs, how far it is, what failed and why.

    It shows the server that is named with --server or RFM_URL, else the one it has shown last, at first the local
    runtime, and waits for one where there is none. What runs goes on when it is closed.
    """
    if not has_screen(os.environ, sys.platform):
        # Qt would end the process, with a dump of its memory.
        raise SetupError(
            "there is no screen here: neither DISPLAY nor WAYLAND_DISPLAY is set",
            hint="open it on a desktop, with RFM_URL for a runtime elsewhere; a terminal has `rfm-runtime watch`",
        )
    if refused := unreachable(os.environ, sys.platform):
        raise SetupError(
            f"the screen cannot be reached: {', '.join(refused)}",
            hint="check that it is there and lets you in (over ssh: `ssh -X`); a terminal has `rfm-runtime watch`",
        )
    try:
        from rfm_ui.view.app import run
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        # A library of the system that Qt is linked to.
        raise SetupError(
            f"the viewer cannot start: {error}",
            hint="on Debian and Ubuntu: apt-get install libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libdbus-1-3",
        ) from None

    elsewhere = None if server or runtime_dir is not None else _destination()
    raise typer.Exit(
        run(
            theme_name=theme,
            server=server,
            is_local=runtime_dir is not None,
            reset_layout=reset_layout,
            elsewhere=elsewhere or {},
            settings=here(runtime_dir, is_needed=not server and elsewhere is None),
        )
    )


def here(runtime_dir: str | None, *, is_needed: bool) -> config.Settings:
    """The settings of the runtime of this machine. What is wrong with them keeps nobody from looking at one elsewhere:
    if this one is not needed, it is one that is nowhere, and whoever turns to it is told that it does not run.
    """
    try:
        return settings(runtime_dir=runtime_dir)
    except ConfigError:
        if is_needed:
            raise
        return config.Settings(state_dir=NOWHERE, runtime_dir=NOWHERE, cache_dir=NOWHERE)


def _destination() -> dict[str, Any] | None:
    """What RFM_URL names, as options of the client. Without a token it is asked for, in the window."""
    url = os.environ.get("RFM_URL")
    if url and not any(os.environ.get(name) for name in ("RFM_TOKEN", "RFM_TOKEN_FILE", "RFM_CLIENT_CERT")):
        config.Destination(url, "")
        return {"url": url, "token": ""}
    named = config.destination()
    return None if named is None else {"url": named.url, "token": named.token, "get_token": _newest}


def _newest() -> str:
    """Its file may have a fresh one by then."""
    named = config.destination()
    return "" if named is None else named.token
