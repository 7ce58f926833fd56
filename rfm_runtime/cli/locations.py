"""Where a command takes a view from: a preset, or a file of parameters."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfm_runtime.cli.common import console
from rfm_runtime.errors import BadRequestError, RfmError, SetupError

if TYPE_CHECKING:
    from rfm_runtime.render.files.params import Found

__all__ = ["file_params", "params_of"]


def params_of(location: str) -> dict[str, Any]:
    """The parameters of a view, not validated: of the preset with that name, or in that file.

    A preset goes before a file without a suffix. Raises BadRequestError, SetupError.
    """
    from rfm_runtime.client.presets import preset_params
    from rfm_runtime.render.presets import PRESETS

    path = Path(location)
    if location in PRESETS or not (path.suffix or path.exists()):
        return preset_params(location)
    params = file_params(path)
    if "re" not in params:
        raise BadRequestError(f"{path} has no view in it", hint="name a PNG, a TOML or a .kfr file with one")
    return params


def file_params(path: Path, *, width_px: int | None = None, height_px: int | None = None) -> dict[str, Any]:
    """The parameters in a file, not validated; what it has beyond them is said on standard error.

    Raises BadRequestError, SetupError.
    """
    try:
        found = _read(path, width_px, height_px)
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}", hint="name a file that is there") from None
    except RfmError as error:
        error.message = f"{path}: {error.message}"
        raise
    out = console(stderr=True)
    for note in found.notes:
        out.print(f"{path}: {note}", style="yellow", markup=False)
    if found.ignored:
        out.print(f"{path}: not understood: {', '.join(found.ignored)}", style="dim", markup=False)
    return found.params


def _read(path: Path, width_px: int | None, height_px: int | None) -> Found:
    from rfm_runtime.render.files.params import read

    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BadRequestError("the file is empty", hint="a view is read from a PNG, a TOML or a .kfr file")
        # A picture may be larger than memory, and its text is in its first pages.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            return read(path.suffix, data, width_px=width_px, height_px=height_px)
