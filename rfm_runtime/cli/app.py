"""The command `rfm-runtime`: its subcommands, and how errors become two lines and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from rfm_runtime import __version__
from rfm_runtime.cli import (
    cancel,
    clean,
    config,
    doctor,
    explain,
    fetch,
    logs,
    pause,
    presets,
    priority,
    ps,
    render,
    resume,
    start,
    status,
    stop,
    watch,
)
from rfm_runtime.errors import RfmError

__all__ = ["app", "run"]

EPILOG = (
    "Exit codes: 0 done · 1 failed here · 2 wrong option, value, file or setting · 3 no runtime, one too many, or port "
    "taken · 4 unknown operation · 5 not permitted · 6 try again later · 7 the operation failed · 130 cancelled"
)

app = typer.Typer(
    name="rfm-runtime",
    help="Run long computations on all cores, watch them live, cancel them, never lose an outcome.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    *(start.start, stop.stop, status.status, render.render, fetch.fetch, ps.ps, watch.watch, cancel.cancel),
    *(pause.pause, resume.resume, priority.priority, explain.explain, presets.presets, logs.logs),
    *(doctor.doctor, clean.clean),
):
    app.command()(command)
app.add_typer(config.app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rfm-runtime {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the program itself."""
    del version


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. Errors are two lines on stderr: what, and what to do."""
    debug = bool(os.environ.get("RFM_DEBUG"))
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments) if arguments is not None else None, prog_name="rfm-runtime", standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except RfmError as error:
        if debug:
            raise
        _say(error.message, error.hint, error.kept)
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "rfm-runtime"
        _say(error.format_message().splitlines()[0], f"see `{where} --help`")
        return 2
    except click.ClickException as error:
        _say(error.format_message(), None)
        return 2
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; nothing is left to say, and the interpreter must not try.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _say(what: str, todo: str | None, kept: str | None = None) -> None:
    lines = [f"error: {what}"]
    if kept:
        lines[0] += f" ({kept})"
    if todo:
        lines.append(f"hint: {todo}")
    print("\n".join(lines), file=sys.stderr)
