"""`rfm-runtime viewer`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rfm_runtime import config
from rfm_runtime.cli.common import RuntimeDirOption, settings
from rfm_runtime.errors import SetupError

__all__ = ["viewer"]


def viewer(
    theme: Annotated[
        Literal["system", "dark", "light"], typer.Option("--theme", help="Colours; the desktop's without it.")
    ] = "system",
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Open the desktop viewer: what runs, how far it is, what failed and why.

    It shows the local runtime, or the one that RFM_URL names, and waits for one where there is none. What runs goes on
    when it is closed.
    """
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
