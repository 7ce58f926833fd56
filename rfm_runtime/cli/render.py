"""`rfm-runtime render`."""

from __future__ import annotations

import re as regex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, print_json, settings
from rfm_runtime.errors import BadRequestError, NoRuntimeError, OperationCanceled

if TYPE_CHECKING:
    from rfm_runtime.client.sync_client import Client

__all__ = ["render"]


def render(
    preset: Annotated[str | None, typer.Argument(help="A preset; see `rfm-runtime presets`.")] = None,
    re: Annotated[str | None, typer.Option(help="Centre, real part, decimal.")] = None,
    im: Annotated[str | None, typer.Option(help="Centre, imaginary part, decimal.")] = None,
    width: Annotated[str | None, typer.Option(help="Horizontal extent of the view, decimal.")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels, e.g. 1920x1080.")] = None,
    max_iter: Annotated[int | None, typer.Option(help="Iterations after which a point counts as inside.")] = None,
    julia_re: Annotated[str | None, typer.Option(help="c of a Julia set, real part.")] = None,
    julia_im: Annotated[str | None, typer.Option(help="c of a Julia set, imaginary part.")] = None,
    bailout: Annotated[float | None, typer.Option(help="Escape radius.")] = None,
    palette: Annotated[str | None, typer.Option(help="viridis, plasma, inferno, magma, cividis, turbo.")] = None,
    density: Annotated[float | None, typer.Option(help="Palette runs each time the count doubles.")] = None,
    offset: Annotated[float | None, typer.Option(help="Where the palette begins, 0 to 1.")] = None,
    interior: Annotated[str | None, typer.Option(help="Colour of the inside, #rrggbb.")] = None,
    interior_tests: Annotated[
        bool | None, typer.Option("--interior-tests/--no-interior-tests", help="Find inside points early.")
    ] = None,
    tile: Annotated[int | None, typer.Option(help="Edge of a tile in pixels, 16 to 512.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to show to watchers.")] = None,
    priority: Annotated[int, typer.Option(help="-100 to 100; higher runs first.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the PNG.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and print its id.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Render a preset or a view, with a live bar. Ctrl-C cancels; a second one quits at once.

    Without a running runtime a private one is started for this picture.
    """
    from rfm_runtime.client.handle import check_target
    from rfm_runtime.client.presets import preset_params
    from rfm_runtime.render.request import validate

    given: dict[str, Any] = {
        "re": re,
        "im": im,
        "width": width,
        "max_iter": max_iter,
        "julia_re": julia_re,
        "julia_im": julia_im,
        "bailout": bailout,
        "palette": palette,
        "density": density,
        "offset": offset,
        "interior": interior,
        "interior_tests": interior_tests,
        "tile_px": tile,
        **_size(size),
    }
    params = {
        **(preset_params(preset) if preset is not None else {}),
        **{key: value for key, value in given.items() if value is not None},
    }
    if preset is None and not {"re", "im", "width"} <= params.keys():
        raise BadRequestError(
            "name a preset, or give --re, --im and --width", hint="list the presets with `rfm-runtime presets`"
        )
    validate(params)
    target = None
    if not detach:
        target = check_target(output or Path(f"{name or preset or 'render'}.png"), force=force)
    with _runtime(runtime_dir, detach=detach) as client:
        operation = client.submit("render.escape_time", params, name=name or preset or "render", priority=priority)
        if detach:
            print_json({"operation_id": operation.id}) if as_json else typer.echo(operation.id)
            return
        _follow(operation)
        outcome = operation.outcome()
        saved = operation.save(target or Path("render.png"), force=force)
        if as_json:
            print_json({"operation": outcome, "file": str(saved)})
        else:
            _summary(outcome, saved)


def _size(size: str | None) -> dict[str, int]:
    if size is None:
        return {}
    match = regex.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", size)
    if match is None:
        raise BadRequestError(f"--size is {size!r}", hint="write it like 1920x1080")
    return {"width_px": int(match[1]), "height_px": int(match[2])}


@contextmanager
def _runtime(runtime_dir: str | None, *, detach: bool) -> Iterator[Client]:
    """The running runtime, or a private one that ends with this command."""
    from rfm_runtime.client.sync_client import Client

    resolved = settings(runtime_dir=runtime_dir)
    try:
        client = Client(settings=resolved, name="render", detail="tiles")
    except NoRuntimeError:
        if detach:
            raise
        client = None
    if client is not None:
        with client:
            yield client
        return
    from rfm_runtime.app.daemon import private

    out = console(stderr=True)
    out.print("[dim]no runtime is running: starting a private one for this render[/dim]")

    def tell(text: str, _ready: bool) -> None:
        if "compiling" in text:
            out.print(f"[dim]{text.partition(': ')[2]} (once after an update)[/dim]")

    with (
        private({}, on_status=tell) as info,
        Client(url=info.url, token=info.token, name="render", detail="tiles") as connected,
    ):
        yield connected


def _follow(operation: Any) -> None:
    """Show progress until the outcome; Ctrl-C cancels and waits for it, a second one quits."""
    from rfm_runtime.cli.bar import follow

    try:
        follow(operation)
    except KeyboardInterrupt:
        console(stderr=True).print("[dim]cancelling (Ctrl-C again quits at once)[/dim]")
        operation.cancel(reason="Ctrl-C")
        state = operation.wait(10)
        if state == "canceled":
            raise OperationCanceled("cancelled", hint="nothing was written") from None


def _summary(outcome: Any, saved: Path) -> None:
    from rfm_runtime.cli.common import duration, number

    took_s = ((outcome.ended_at_ms or 0) - (outcome.started_at_ms or 0)) / 1000
    latest = outcome.latest
    parts = [duration(took_s)]
    if latest is not None and latest.iterations:
        parts.append(f"{number(latest.iterations / max(took_s, 1e-3))} iterations/s")
    console(stderr=True).print(f"[bold green]{saved}[/bold green]  {', '.join(parts)}")
