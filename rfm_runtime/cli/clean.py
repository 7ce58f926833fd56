"""`rfm-runtime clean`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, StateDirOption, print_json, settings
from rfm_runtime.config import Folders, folders
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_runtime.errors import AlreadyRunningError

if TYPE_CHECKING:
    from rfm_runtime.app.folders import Claim

__all__ = ["clean"]

DAY_S = 86_400.0


def clean(
    older_than_days: Annotated[
        float, typer.Option(metavar="DAYS", min=0.0, help="Files of renders finished before that.")
    ] = 30.0,
    kernels: Annotated[bool, typer.Option("--kernels", help="Compiled kernels too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Remove files of old renders, and what a killed runtime left.

    The journal and unfinished renders are never touched.
    """
    from rfm_runtime.app.folders import remove_run_files, run_files

    where = folders(settings(state_dir=state_dir, runtime_dir=runtime_dir))
    lock = _claimed(where)
    try:
        found = _old_artifacts(where, older_than_days)
        if lock is not None:
            found += [*run_files(where), *sorted(where.frames.glob(".op-*"))]
        if kernels:
            found += sorted(where.kernels.glob("*"))
        sizes = {str(path): _size(path) for path in found}
        if not dry_run:
            if lock is not None:
                remove_run_files(where)
            for path in found:
                _remove(path)
    finally:
        if lock is not None:
            lock.close()
    if as_json:
        print_json({"removed": sizes, "dry_run": dry_run})
        return
    for removed, size in sizes.items():
        typer.echo(f"{size / 1e6:10.1f} MB  {printable(removed)}")
    verb = "would remove" if dry_run else "removed"
    what = (
        f"{counted(len(sizes), 'file or folder', 'files and folders')}, {sum(sizes.values()) / 1e6:.1f} MB"
        if sizes
        else "nothing"
    )
    typer.echo(f"{verb} {what}")


def _claimed(where: Folders) -> Claim | None:
    """The runtime's locks, if no runtime runs or starts: what lies about is nobody's then, and stays so meanwhile."""
    from rfm_runtime.app.folders import claim

    if not where.lock.exists() or not where.state.is_dir():
        return None
    try:
        return claim(where)
    except AlreadyRunningError:
        return None


def _old_artifacts(where: Folders, days: float) -> list[Path]:
    limit_s = time.time() - days * DAY_S
    return sorted(path for path in where.artifacts.glob("op-*") if path.stat().st_mtime < limit_s)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.lstat().st_size
