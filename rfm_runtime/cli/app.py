"""The command `rfm-runtime`: its subcommands, and how errors become two lines and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rfm_runtime import __version__
from rfm_runtime.cli import (
    audit,
    cancel,
    certs,
    chaos,
    clean,
    config,
    db,
    doctor,
    errors,
    explain,
    fetch,
    formulas,
    history,
    keys,
    logs,
    parts,
    pause,
    permissions,
    presets,
    priority,
    probe,
    ps,
    recolour,
    render,
    report,
    resume,
    rules,
    show,
    simulate,
    start,
    status,
    stop,
    token,
    viewer,
    watch,
)
from rfm_runtime.cli.reaching import reaching
from rfm_runtime.config import unknown_variables
from rfm_runtime.core.text import fault
from rfm_runtime.errors import (
    MissingExtraError,
    OperationCanceled,
    OperationFailedError,
    RfmError,
    SystemFaultError,
    UsageError,
)

__all__ = ["app", "error_lines", "run", "silence"]

EPILOG = """\b
Exit codes:
    0  done
    1  something failed here, or doctor found a problem
    2  wrong option, value, file or setting
    3  no runtime there, one too many, or the port is taken
    4  unknown operation
    5  not permitted
    6  try again later
    7  the operation failed
  130  cancelled

What a code in `error[CODE]` means: rfm-runtime errors CODE.
"""


WORDS = (
    (r"Input should be greater than or equal to (\S+)", r"it has to be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"it has to be \1 or less"),
    (r"Input should be a valid integer.*", "it has to be a whole number"),
    (r"Input should be a valid number.*", "it has to be a number"),
)


@contextmanager
def _faults(command: str) -> Iterator[None]:
    """Faults of the system as errors of ours, before typer gives them exit codes of its own."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read our output has enough; nothing is left to say, and the interpreter must not try.
        for stream in (sys.stdout, sys.stderr):
            silence(stream.fileno())
        raise typer.Exit(0) from None
    except ModuleNotFoundError as error:
        extra = next((extra for extra, modules in doctor.EXTRAS.items() if error.name in modules), None)
        if extra is None or os.environ.get("RFM_DEBUG"):
            raise
        raise MissingExtraError(f"`{command}`", extra) from None
    except EOFError as error:
        if os.environ.get("RFM_DEBUG"):
            raise
        # Python before 3.13 leaves half a compiled module behind where a disk was full, and fails with it for ever.
        raise SystemFaultError(
            f"a file of this program was cut off, as a full disk does: {error}",
            hint="make room, and remove the `__pycache__` folders of rfm_runtime, or install it again",
        ) from None
    except OSError as error:
        if os.environ.get("RFM_DEBUG"):
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        raise SystemFaultError(f"{where}{error.strerror or error}") from None


class _Commands(TyperGroup):
    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        with _faults("rfm-runtime"):
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _faults(f"rfm-runtime {ctx.invoked_subcommand or ''}".rstrip()):
            return super().invoke(ctx)


app = typer.Typer(
    name="rfm-runtime",
    cls=_Commands,
    help="Run long computations on all cores, watch them live, cancel them, never lose an outcome.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Frames around help cost a third of its time and most of a narrow terminal.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

TO_A_SERVER = {
    *(status.status, render.render, fetch.fetch, ps.ps, watch.watch, cancel.cancel, pause.pause, resume.resume),
    *(priority.priority, explain.explain, recolour.recolour, show.show, history.history, report.report),
    *(simulate.simulate, viewer.viewer),
}

for command in (
    *(start.start, stop.stop, status.status, render.render, fetch.fetch, ps.ps, watch.watch, cancel.cancel),
    *(pause.pause, resume.resume, priority.priority, explain.explain, presets.presets, logs.logs),
    *(formulas.formulas, probe.probe, recolour.recolour),
    *(show.show, history.history, report.report, doctor.doctor, errors.errors, clean.clean, simulate.simulate),
    *(parts.broker, parts.engine, parts.gateway),
    *(chaos.chaos, permissions.permissions, audit.audit, viewer.viewer),
):
    run_command = reaching(command) if command in TO_A_SERVER else command
    # `priority ID -5`: a number and no option.
    app.command(context_settings={"ignore_unknown_options": command is priority.priority})(run_command)
app.add_typer(certs.app, name="certs")
app.add_typer(config.app, name="config")
app.add_typer(db.app, name="db")
app.add_typer(token.app, name="token")
app.add_typer(keys.app, name="keys")
app.add_typer(rules.app, name="rules")


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
    _warn([unknown.said for unknown in unknown_variables(os.environ) if unknown.nearest])


def _warn(texts: Sequence[str]) -> None:
    if texts:
        _say([f"warning: {text}" for text in texts])


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. Errors are two lines on stderr: what, and what to do."""
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments) if arguments is not None else None, prog_name="rfm-runtime", standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except RfmError as error:
        if os.environ.get("RFM_DEBUG"):
            raise
        _say(error_lines(error))
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130


def error_lines(error: RfmError) -> list[str]:
    """One line what happened (and what was kept), with severity and code; one line what to do."""
    kept = f" ({error.kept})" if error.kept else ""
    if isinstance(error, OperationCanceled):
        # What somebody wanted is no error.
        return [f"{error.message}{kept}"]
    severity, code = error.severity, error.code
    if isinstance(error, OperationFailedError):
        severity, code = error.cause_severity, error.cause_code
    # Nothing was done, however soon it may be: to whoever gave the command a refusal is no mere warning.
    head = "critical" if severity == "critical" else "error"
    return [fault(head, code, f"{error.message}{kept}"), f"hint: {error.hint}"]


def _worded(text: str) -> str:
    """What the library that reads options says of a value, in our words."""
    for theirs, ours in WORDS:
        text = re.sub(theirs, ours, text)
    return text


def _usage(error: typer.TyperException) -> int:
    """A wrong command line. Without a command there is a page of help instead of an error."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "rfm-runtime"
    text = error.format_message().strip()
    if text.startswith("Usage:"):
        _say([text])
    else:
        _say(error_lines(UsageError(_worded(" ".join(text.split())), hint=f"see `{where} --help`")))
    return UsageError.exit_code


def _say(lines: Sequence[str]) -> None:
    try:
        print("\n".join(lines), file=sys.stderr, flush=True)
    except OSError:
        # Nobody can be told; the exit code still says it.
        silence(sys.stderr.fileno())


def silence(descriptor: int) -> None:
    """What is still to be written to a broken stream goes nowhere."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)
