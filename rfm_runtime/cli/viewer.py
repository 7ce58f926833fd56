"""`rfm-runtime viewer`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from rfm_runtime import config
from rfm_runtime.cli.common import RuntimeDirOption, settings
from rfm_runtime.errors import BadRequestError, SetupError

__all__ = ["has_screen", "viewer"]

THEMES = ("system", "dark", "light")


def viewer(
    theme: Annotated[
        str, typer.Option("--theme", metavar="NAME", help="Colours: system, the desktop's; dark; light.")
    ] = "system",
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Open the desktop viewer: what runs, how far it is, what failed and why.

    It shows the local runtime, or the one that RFM_URL names, and waits for one where there is none. What runs goes on
    when it is closed.
    """
    if theme not in THEMES:
        raise BadRequestError(f"there is no theme {theme!r}", hint=f"choose one of {', '.join(THEMES)}")
    if not has_screen(os.environ, sys.platform):
        # Qt would end the process, with a dump of its memory.
        raise SetupError(
            "there is no screen here: neither DISPLAY nor WAYLAND_DISPLAY is set",
            hint="open it on a desktop, with RFM_URL for a runtime elsewhere; a terminal has `rfm-runtime watch`",
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

    where = None if runtime_dir is None and config.destination() is not None else settings(runtime_dir=runtime_dir)
    raise typer.Exit(run(theme_name="" if theme == "system" else theme, settings=where))


def has_screen(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a window may be opened. QT_QPA_PLATFORM: somebody knows better."""
    if not platform.startswith("linux"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
