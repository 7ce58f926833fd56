"""`rfm-runtime clean`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, StateDirOption, print_json, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import NoRuntimeError

__all__ = ["clean"]

DAY_S = 86_400.0


def clean(
    older_than_days: Annotated[float, typer.Option(min=0.0, help="Files of renders finished before that.")] = 30.0,
    kernels: Annotated[bool, typer.Option("--kernels", help="Compiled kernels too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Remove files of old renders, and what a killed runtime left. The journal is never touched."""
    resolved = settings(state_dir=state_dir, runtime_dir=runtime_dir)
    found = _old_artifacts(resolved, older_than_days) + _leftovers(resolved)
    if kernels:
        found += sorted(folders(resolved).kernels.glob("*"))
    sizes = {str(path): _size(path) for path in found}
    if not dry_run:
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    if as_json:
        print_json({"removed": sizes, "dry_run": dry_run})
        return
    for removed, size in sizes.items():
        typer.echo(f"{size / 1e6:10.1f} MB  {removed}")
    verb = "would remove" if dry_run else "removed"
    typer.echo(f"{verb} {len(sizes)} files and folders, {sum(sizes.values()) / 1e6:.1f} MB")


def _old_artifacts(resolved: Settings, days: float) -> list[Path]:
    limit_s = time.time() - days * DAY_S
    folder = folders(resolved).artifacts
    return sorted(path for path in folder.glob("op-*") if path.stat().st_mtime < limit_s)


def _leftovers(resolved: Settings) -> list[Path]:
    """Sockets and half-made frames; only where no runtime runs that may own them."""
    where = folders(resolved)
    try:
        ConnectionInfo.read(where.connection)
    except NoRuntimeError:
        return [*sorted(where.runtime.glob("*.sock")), *sorted(where.frames.glob(".op-*"))]
    return []


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size
