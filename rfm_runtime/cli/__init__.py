"""The command line. One file a command; `main` is the console script."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run `rfm-runtime` with the process's arguments and exit."""
    from rfm_runtime.cli.app import run

    raise SystemExit(run())
