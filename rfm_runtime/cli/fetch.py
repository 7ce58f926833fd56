"""`rfm-runtime fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rfm_runtime.cli.common import OperationArgument, RuntimeDirOption, client, find

__all__ = ["fetch"]


def fetch(
    operation: OperationArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the file.")],
    artifact: Annotated[str, typer.Option(help="Which file: image.png, n.npy or nf.npy.")] = "image.png",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome first.")] = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Fetch a file of a finished operation, verified."""
    from rfm_runtime.client.handle import check_target, write_file
    from rfm_runtime.errors import BadRequestError

    target = check_target(output, force=force)
    with client(runtime_dir) as connected:
        handle = connected.handle(find(connected, operation))
        if wait:
            handle.outcome()
        info = handle.info
        names = [found.name for found in info.artifacts] if info is not None else []
        if artifact not in names:
            has = ", ".join(names) if names else f"no files, it is {handle.state}"
            raise BadRequestError(f"{handle.id} has {has}", hint="name another with --artifact, or add --wait")
        write_file(target, connected.fetch_artifact(handle.id, artifact), force=force)
    typer.echo(str(target))
