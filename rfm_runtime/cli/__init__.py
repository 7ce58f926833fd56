"""The command line. One file a command; `main` is the console script."""

from __future__ import annotations

import io
import signal
import sys
from types import FrameType

__all__ = ["main"]


def main() -> None:
    """Run `rfm-runtime` with the process's arguments and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As Ctrl-C: the cursor is shown again and a private runtime stopped. Under nohup it stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminated)
    for stream in (sys.stdout, sys.stderr):
        # A name that this terminal has no letters for is shown by their codes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from rfm_runtime.cli.app import run, silence
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None

    code = run()
    try:
        sys.stdout.flush()
    except OSError:
        # Said already; the interpreter would say it again.
        silence(sys.stdout.fileno())
    raise SystemExit(code)


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
