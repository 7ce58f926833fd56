"""`rfm-runtime fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_runtime.cli.common import (
    JsonOption,
    OperationArgument,
    RuntimeDirOption,
    client,
    find,
    output_file,
    print_json,
)
from rfm_runtime.errors import BadRequestError, OperationFailedError, OutcomeError, UnavailableError
from rfm_runtime.protocol.operation import TERMINAL_STATES

if TYPE_CHECKING:
    from rfm_runtime.client.handle import Operation

__all__ = ["fetch", "files_of"]


def fetch(
    operation: OperationArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the file.")],
    artifact: Annotated[
        str, typer.Option(metavar="NAME", help="Which file: image.png, n.npy or nf.npy.")
    ] = "image.png",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome first.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Fetch a file of a finished operation, verified."""
    from rfm_runtime.client.handle import write_file

    target = output_file(output, force=force, runtime_dir=runtime_dir)
    with client(runtime_dir) as connected:
        handle = connected.handle(find(connected, operation))
        if wait:
            handle.outcome()
        names = files_of(handle)
        if artifact not in names:
            raise BadRequestError(
                f"{handle.id} has no file {artifact!r}", hint=f"choose one with --artifact: {', '.join(names)}"
            )
        content = connected.fetch_artifact(handle.id, artifact)
        write_file(target, content, force=force)
    if as_json:
        print_json({"operation_id": handle.id, "artifact": artifact, "file": str(target), "size_bytes": len(content)})
    else:
        typer.echo(str(target))


def files_of(handle: Operation) -> list[str]:
    """Names of what it left. Raises UnavailableError, OperationFailedError or OutcomeError if that is nothing."""
    info = handle.info
    names = [found.name for found in info.artifacts] if info is not None else []
    if not names and handle.state not in TERMINAL_STATES:
        raise UnavailableError(f"{handle.id} is {handle.state} and has no files yet", hint="add --wait")
    if not names and info is not None and info.error is not None:
        error = info.error
        raise OperationFailedError(
            f"{handle.id} failed and left no files: {error.message}",
            cause_code=error.code,
            cause_severity=error.severity,
            hint=error.hint,
        )
    if not names:
        raise OutcomeError(f"{handle.id} is {handle.state} and left no files", hint="render it again")
    return names
