"""`rfm-runtime presets`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_runtime.cli import completion
from rfm_runtime.cli.bar import PLAIN_S
from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, output_file, print_json, print_table
from rfm_runtime.cli.sizes import SizeOption, pixels_of
from rfm_runtime.cli.text import Column
from rfm_runtime.errors import BadRequestError, SetupError
from rfm_runtime.protocol.operation import TERMINAL_STATES

if TYPE_CHECKING:
    from rfm_runtime.render.presets import Preset

__all__ = ["presets"]

COLUMNS = (
    Column("name"),
    Column("title", flexible=True),
    Column("formula", rank=2),
    Column("iterations", rank=1),
)

THUMBNAIL = {"width_px": 384, "height_px": 240}
SAMPLES = 8


def presets(
    toml: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Print one as TOML, to change and to render with --like.",
            autocompletion=completion.presets,
        ),
    ] = None,
    thumbnails: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Render a small picture of each into a folder, NAME.png."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", hidden=True)] = False,
    size: SizeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """List the presets for `rfm-runtime render`."""
    from rfm_runtime.render.files.toml import write
    from rfm_runtime.render.presets import PRESETS, preset

    if toml is not None:
        chosen = preset(toml)
        print_json(chosen) if as_json else typer.echo(write(chosen.request), nl=False)
        return
    known = list(PRESETS.values())
    if markdown:
        typer.echo(_gallery(known), nl=False)
        return
    if thumbnails is not None:
        files = _thumbnails(known, thumbnails, THUMBNAIL | pixels_of(size), force=force, runtime_dir=runtime_dir)
        print_json({"files": [str(file) for file in files]}) if as_json else typer.echo(str(thumbnails))
        return
    if size is not None or force:
        raise BadRequestError("--size and --force are for --thumbnails", hint="name a folder: --thumbnails FOLDER")
    if as_json:
        print_json({"presets": known})
        return
    rows = [(one.name, one.title, one.request.formula, str(one.request.max_iter)) for one in known]
    print_table(COLUMNS, rows)


def _gallery(known: Sequence[Preset]) -> str:
    """docs/gallery.md, with the pictures that --thumbnails makes."""
    lines = [
        "# Gallery",
        "",
        "The presets of `rfm-runtime render NAME`, rendered by `make gallery`. Every picture carries its parameters:",
        "`rfm-runtime render --like docs/gallery/seahorse.png --size 3840x2160 -o large.png` makes it again, larger.",
        "",
    ]
    for one in known:
        lines += [f"**{one.name}** — {one.title} (`{one.request.formula}`)", ""]
        lines += [f"![{one.title}](gallery/{one.name}.png)", ""]
    return "\n".join(lines[:-1]) + "\n"


def _thumbnails(
    known: Sequence[Preset], folder: Path, pixels: dict[str, int], *, force: bool, runtime_dir: str | None
) -> list[Path]:
    """Small pictures of the presets, with several samples at edges. What exists is said before anything is rendered."""
    from rfm_runtime.cli.render import RENDER, runtime
    from rfm_runtime.client.presets import preset_params

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot make the folder {folder}: {error.strerror}", hint="name another folder") from None
    targets = [output_file(folder / f"{one.name}.png", force=force, runtime_dir=runtime_dir) for one in known]
    with runtime(runtime_dir, detach=False) as (client, _):
        out = console(stderr=True)
        status, said_s = out.status("rendering"), time.monotonic()
        with status:
            params: list[dict[str, Any]] = [preset_params(one.name) | pixels | {"samples": SAMPLES} for one in known]
            submitted = [client.submit(RENDER, given, name=one.name) for one, given in zip(known, params, strict=True)]
            try:
                for number, (operation, target) in enumerate(zip(submitted, targets, strict=True)):
                    status.update(f"rendering {known[number].name} ({number + 1} of {len(known)})")
                    operation.save(target, force=force)
                    if not out.is_terminal and time.monotonic() - said_s >= PLAIN_S:
                        said_s = time.monotonic()
                        print(f"{number + 1} of {len(known)} presets", file=sys.stderr, flush=True)
            finally:
                # Where one fails, or the user has had enough, nobody waits for the rest.
                for operation in submitted:
                    if operation.state not in TERMINAL_STATES:
                        operation.cancel(reason="no thumbnail is wanted any more")
    return targets
