"""`rfm-runtime recolour`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rfm_runtime.cli.colours import (
    BitsOption,
    ColouringOption,
    CyclicOption,
    DensityOption,
    DitherOption,
    InteriorOption,
    LightAzimuthOption,
    LightElevationOption,
    OffsetOption,
    PaletteOption,
    ShineOption,
    SlopesOption,
)
from rfm_runtime.cli.common import (
    JsonOption,
    OperationArgument,
    RuntimeDirOption,
    client,
    find,
    output_file,
    print_json,
)
from rfm_runtime.cli.fetch import files_of
from rfm_runtime.cli.refusals import by_options
from rfm_runtime.errors import BadRequestError

__all__ = ["recolour"]


def recolour(
    operation: OperationArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the PNG.")],
    palette: PaletteOption = None,
    density: DensityOption = None,
    offset: OffsetOption = None,
    interior: InteriorOption = None,
    colouring: ColouringOption = None,
    cyclic: CyclicOption = None,
    slopes: SlopesOption = None,
    light_azimuth: LightAzimuthOption = None,
    light_elevation: LightElevationOption = None,
    shine: ShineOption = None,
    bits: BitsOption = None,
    dither: DitherOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome first.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Colour a finished render again, without computing it again.

    What is not named stays as it was. With --samples, pixels keep the samples that their first colours gave them: new
    edges are smooth only where old ones were. Slopes, distances and field lines need a frame rendered with one of them,
    orbit traps one with --trap, periods one with --interior period.
    """
    from rfm_runtime.client.handle import write_file
    from rfm_runtime.render.colouring import Colouring, check

    given: dict[str, Any] = {
        "palette": palette,
        "density": density,
        "offset": offset,
        "interior": interior,
        "colouring": colouring,
        "cyclic": cyclic,
        "slopes": slopes,
        "light_azimuth_deg": light_azimuth,
        "light_elevation_deg": light_elevation,
        "shine": shine,
        "bits": bits,
        "dither": dither,
    }
    look = {name: value for name, value in given.items() if value is not None}
    if not look:
        raise BadRequestError("no colours are named", hint="name what is to change, e.g. --palette turbo")
    with by_options(look):
        # What can be known without the render is said before anything else.
        check(Colouring(**look))
    target = output_file(output, force=force, runtime_dir=runtime_dir)
    with client(runtime_dir) as connected:
        handle = connected.handle(find(connected, operation))
        if wait:
            handle.outcome()
        files_of(handle)
        content = handle.recolour(**look)
        write_file(target, content, force=force)
    if as_json:
        print_json({"operation_id": handle.id, "file": str(target), "size_bytes": len(content)})
    else:
        typer.echo(str(target))
