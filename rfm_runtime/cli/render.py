"""`rfm-runtime render`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_runtime.cli import completion
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
from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, output_file, print_json, settings
from rfm_runtime.cli.refusals import by_options
from rfm_runtime.cli.sizes import IterationsOption, SizeOption, pixels_of
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, destination, folders
from rfm_runtime.core.text import duration, number
from rfm_runtime.errors import (
    BadRequestError,
    NoRuntimeError,
    OperationCanceled,
    SetupError,
    StartError,
    UnavailableError,
)

if TYPE_CHECKING:
    from rfm_runtime.cli.outputs import Outputs
    from rfm_runtime.client.handle import Operation
    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.protocol.operation import Operation as OperationInfo

__all__ = ["RENDER", "render", "runtime"]

RENDER = "render.escape_time"

PRIVATE_RETRIES = 8
"""Of a lost connection to a private runtime, a second apart at most."""

CANCEL_S = 10.0
"""A kernel stops within milliseconds; beyond this something is wrong that waiting does not mend."""


def _pair(option: str, text: str | None, first: str, second: str) -> dict[str, float]:
    """Two numbers with a comma between them, by the names of the parameters that they are."""
    if text is None:
        return {}
    try:
        numbers = [float(part) for part in text.split(",")]
        return dict(zip((first, second), numbers, strict=True))
    except ValueError:
        raise BadRequestError(f"{option} is {text[:40]!r}", hint="write it like 0.5,0.25") from None


def render(
    preset: Annotated[
        str | None,
        typer.Argument(metavar="PRESET", help="See `rfm-runtime presets`.", autocompletion=completion.presets),
    ] = None,
    re: Annotated[str | None, typer.Option(metavar="DECIMAL", help="Centre, real part, decimal.")] = None,
    im: Annotated[str | None, typer.Option(metavar="DECIMAL", help="Centre, imaginary part, decimal.")] = None,
    width: Annotated[
        str | None, typer.Option(metavar="DECIMAL", help="Horizontal extent of the view, decimal.")
    ] = None,
    size: SizeOption = None,
    max_iter: IterationsOption = None,
    formula: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="See `rfm-runtime formulas`.", autocompletion=completion.formulas),
    ] = None,
    power: Annotated[int | None, typer.Option(metavar="NUMBER", help="Of a Multibrot set, 2 to 16.")] = None,
    p: Annotated[str | None, typer.Option("--p", metavar="COMPLEX", help="Of `phoenix`, e.g. -0.5+0.1i.")] = None,
    coefficients: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Of the polynomial of `newton` and `nova`, highest first, e.g. 1,0,0,-1."),
    ] = None,
    roots: Annotated[
        str | None, typer.Option(metavar="LIST", help="Or its roots, complex, with commas between them.")
    ] = None,
    relaxation: Annotated[
        str | None, typer.Option(metavar="COMPLEX", help="R of `newton` and `nova`; 1 without it.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="A shorter step ends `newton` and `nova`.")
    ] = None,
    rotation: Annotated[
        float | None, typer.Option(metavar="DEGREES", help="Turn the view about its centre, counterclockwise.")
    ] = None,
    skew: Annotated[float | None, typer.Option(metavar="DEGREES", help="Lean its upright axis over.")] = None,
    stretch: Annotated[float | None, typer.Option(metavar="NUMBER", help="Lengthen its upright axis.")] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Upside down: the imaginary axis points down.")
    ] = None,
    julia_re: Annotated[str | None, typer.Option(metavar="DECIMAL", help="c of a Julia set, real part.")] = None,
    julia_im: Annotated[str | None, typer.Option(metavar="DECIMAL", help="c of a Julia set, imaginary part.")] = None,
    bailout: Annotated[float | None, typer.Option(metavar="NUMBER", help="Escape radius.")] = None,
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
    trap: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keep how near orbits come to it: point, cross or circle.")
    ] = None,
    trap_at: Annotated[str | None, typer.Option(metavar="RE,IM", help="Where it is; 0,0 without it.")] = None,
    trap_radius: Annotated[float | None, typer.Option(metavar="NUMBER", help="Of the circle.")] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="1…8", help="Of a pixel at edges, against jaggies and noise; 1 without it.")
    ] = None,
    distances: Annotated[
        bool | None,
        typer.Option(
            "--distances/--no-distances",
            help="Keep the last z and the distance to the set too, for other colours later and for --exr.",
        ),
    ] = None,
    interior_tests: Annotated[
        bool | None, typer.Option("--interior-tests/--no-interior-tests", help="Find inside points early.")
    ] = None,
    on_poison: Annotated[
        str | None,
        typer.Option(
            metavar="fail|hole", help="Pixels that kill whoever computes them fail the render, or are left out."
        ),
    ] = None,
    tile: Annotated[int | None, typer.Option(metavar="NUMBER", help="Edge of a tile in pixels, 16 to 512.")] = None,
    focus: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Where tiles begin: 0,0 is the upper left corner, 1,1 the lower right one."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Name to show to watchers.")] = None,
    priority: Annotated[
        int, typer.Option(metavar="NUMBER", min=-100, max=100, help="-100 to 100; higher runs first.")
    ] = 0,
    like: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the view from a picture of ours, a .toml or a .kfr file."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write the PNG; PRESET.png without it."),
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write counts too: n and mu for NumPy, .npz.")
    ] = None,
    exr: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write N0 and NF for other deep-zoom programs, .exr; with --distances T, DEX, DEY."
        ),
    ] = None,
    save_params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the parameters too: .toml, .kfr or .kfp.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and print its id.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Render a preset or a view, with a live bar.

    Ctrl-C cancels, a second one quits at once. Without a running runtime a private one is started for this picture.
    Options override what a preset or a file says.
    """
    from rfm_runtime.cli.locations import file_params
    from rfm_runtime.cli.outputs import Outputs
    from rfm_runtime.client.presets import preset_params
    from rfm_runtime.render.request import validate

    given: dict[str, Any] = {
        "re": re,
        "im": im,
        "width": width,
        "max_iter": max_iter,
        "formula": formula,
        "power": power,
        "p": p,
        "coefficients": None if coefficients is None else coefficients.split(","),
        "roots": None if roots is None else roots.split(","),
        "relaxation": relaxation,
        "tolerance": tolerance,
        "rotation_deg": rotation,
        "skew_deg": skew,
        "stretch": stretch,
        "mirror": mirror,
        "julia_re": julia_re,
        "julia_im": julia_im,
        "bailout": bailout,
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
        "trap": trap,
        **_pair("--trap-at", trap_at, "trap_re", "trap_im"),
        "trap_radius": trap_radius,
        "samples": samples,
        "distances": distances,
        "interior_tests": interior_tests,
        "on_poison": on_poison,
        "tile_px": tile,
        **_pair("--focus", focus, "focus_x", "focus_y"),
    }
    pixels = pixels_of(size)
    known = file_params(like, **pixels) if like is not None else {}
    if preset is not None and "re" in known:
        raise BadRequestError(f"both {preset} and {like} are a view", hint="name one of them")
    options = {key: value for key, value in given.items() if value is not None} | pixels
    params = {**(preset_params(preset) if preset is not None else {}), **known, **options}
    missing = [key for key in ("re", "im", "width") if key not in params]
    with by_options(options):
        # What is wrong is said before what is missing.
        request = validate(dict.fromkeys(missing, "1") | params)
    if missing and like is not None:
        raise BadRequestError(
            f"{like} has no {', no '.join(missing)}", hint=f"give --{', --'.join(missing)} too, or a preset"
        )
    if missing:
        raise BadRequestError(
            "name a preset, or give --re, --im and --width", hint="list the presets with `rfm-runtime presets`"
        )
    stem = preset or (like.stem if like is not None else "render")
    title = name or stem
    if detach:
        if output is not None or raw is not None or exr is not None:
            raise BadRequestError(
                "--detach writes no file, so -o, --raw and --exr have no meaning",
                hint="fetch it later: `rfm-runtime fetch ID -o FILE`",
            )
        kept = Outputs(request, params=save_params, rendered=False, force=force, runtime_dir=runtime_dir)
        with runtime(runtime_dir, detach=True) as (client, _):
            operation = client.submit(RENDER, params, name=title, priority=priority)
        kept.write_params()
        print_json({"operation_id": operation.id}) if as_json else typer.echo(operation.id)
        return
    # A name is for people and may be no file's name.
    target = _target(output or Path(f"{stem}.png"), force=force, runtime_dir=runtime_dir)
    beside = Outputs(request, raw=raw, exr=exr, params=save_params, force=force, runtime_dir=runtime_dir)
    with runtime(runtime_dir, detach=False) as (client, private):
        operation = client.submit(RENDER, params, name=title, priority=priority)
        _follow(client, operation)
        outcome = operation.outcome()
        saved = _save(operation, target, beside, force=force, private=private)
        if as_json:
            print_json({"operation": outcome, "file": str(saved), "files": [str(path) for path in beside.paths]})
        else:
            _summary(outcome, saved, beside.paths)


def _target(path: Path, *, force: bool, runtime_dir: str | None) -> Path:
    if path.suffix.lower() not in ("", ".png"):
        raise BadRequestError(f"{path} is not the name of a PNG", hint=f"name it {path.with_suffix('.png')}")
    return output_file(path, force=force, runtime_dir=runtime_dir)


def _has_a_part(resolved: Settings) -> bool:
    """Whether parts of a runtime are here, a gateway or not."""
    try:
        ConnectionInfo.read(folders(resolved).connection)
    except NoRuntimeError:
        return False
    return True


@contextmanager
def runtime(runtime_dir: str | None, *, detach: bool) -> Iterator[tuple[Client, bool]]:
    """The server that RFM_URL names, the running runtime, or a private one (True) that ends with this command."""
    from rfm_runtime.client.sync_client import Client

    resolved = settings(runtime_dir=runtime_dir)
    try:
        where = None if runtime_dir is None and destination() is not None else resolved
        client = Client(settings=where, name="render", detail="tiles")
    except NoRuntimeError as nobody:
        if _has_a_part(resolved):
            # Whoever renders here means the runtime that it is a part of.
            raise
        if detach:
            raise NoRuntimeError(
                nobody.message, hint="--detach needs one that stays: start it with `rfm-runtime start --daemon`"
            ) from None
        client = None
    if client is not None:
        with client:
            yield client, False
        return
    from rfm_runtime.app.daemon import private
    from rfm_runtime.cli.start import starting

    console(stderr=True).print("no runtime is running: starting a private one for this render", style="dim")
    with ExitStack() as stack:
        with starting("starting") as tell:
            info = stack.enter_context(private({}, on_status=tell))
        # Its supervisor starts again what dies; nobody starts the supervisor again, so a longer silence is the end.
        connected = Client(
            url=info.url, token=info.token, name="render", detail="tiles", max_retries=PRIVATE_RETRIES, max_delay=1.0
        )
        try:
            yield stack.enter_context(connected), True
        except UnavailableError as gone:
            if connected.state != "closed":
                raise
            raise StartError(
                f"the private runtime of this render is gone: {gone.message}",
                hint="render it again; a runtime of its own (`rfm-runtime start --daemon`) keeps what is finished",
            ) from None


def _follow(client: Client, operation: Operation) -> None:
    """Show progress until the outcome; Ctrl-C cancels and waits for it, a second one quits."""
    from rfm_runtime.cli.bar import follow

    try:
        follow(client, operation)
    except KeyboardInterrupt:
        _cancel(client, operation)


def _cancel(client: Client, operation: Operation) -> None:
    asked = False
    try:
        console(stderr=True).print(
            "cancelling; Ctrl-C again quits at once"
            if client.state == "live"
            else "no connection: the cancel waits for it; Ctrl-C again quits, and the render is not cancelled",
            style="dim",
        )
        operation.cancel(reason="Ctrl-C")
        asked = True
        if operation.wait(CANCEL_S) == "canceled":
            raise OperationCanceled("cancelled", kept="nothing was written") from None
    except KeyboardInterrupt:
        if not asked and client.state != "live":
            raise UnavailableError(
                "not cancelled: there was no connection to the runtime",
                hint=f"when it is back: `rfm-runtime cancel {operation.id}`",
            ) from None
        raise


def _save(operation: Operation, target: Path, beside: Outputs, *, force: bool, private: bool) -> Path:
    """Write the picture, and what is wanted beside it. What a failure leaves depends on whose runtime it is."""
    try:
        saved = operation.save(target, force=force)
        beside.write(operation)
        return saved
    except SetupError as error:
        error.kept = None if private else f"the picture is kept: `rfm-runtime fetch {operation.id} -o FILE`"
        raise


def _summary(outcome: OperationInfo, saved: Path, beside: Sequence[Path]) -> None:
    from rich.text import Text

    took_s = ((outcome.ended_at_ms or 0) - (outcome.started_at_ms or 0)) / 1000
    latest = outcome.latest
    parts = [duration(took_s)]
    if latest is not None and latest.iterations:
        parts.append(f"{number(latest.iterations / max(took_s, 1e-3))} iterations/s")
    names = " ".join(str(path) for path in (saved, *beside))
    console(stderr=True).print(Text.assemble((names, "bold green"), f"  {', '.join(parts)}"))
    if latest is not None and latest.details and (pixels := latest.details.get("hole_px")):
        holes = (
            f"{pixels} pixels could not be computed and are chequered: see `rfm-runtime explain {outcome.operation_id}`"
        )
        console(stderr=True).print(holes, style="yellow", markup=False)
