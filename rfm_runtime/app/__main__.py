"""`python -m rfm_runtime.app`: the supervisor in a process of its own; settings come on standard input."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

from rfm_runtime.observe.loading import loading

with loading():
    import msgspec

    from rfm_runtime.app.supervisor import run
    from rfm_runtime.config import Settings
    from rfm_runtime.errors import RfmError, fields_of
    from rfm_runtime.observe.process import die_with_parent


def main() -> int:
    """Run until stopped; start-up is reported as JSON lines to `--status-fd`."""
    parser = argparse.ArgumentParser(prog="python -m rfm_runtime.app")
    parser.add_argument("--status-fd", type=int, required=True)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--ephemeral", action="store_true")
    parser.add_argument("--detach", action="store_true")
    arguments = parser.parse_args()
    if arguments.parent is not None:
        # SIGTERM: an orderly stop, which removes the temporary folders.
        die_with_parent(arguments.parent, signal.SIGTERM)
    if arguments.detach and os.fork():
        # Nobody's child any more: whoever started us need not live to reap it.
        os._exit(0)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    status = _Status(arguments.status_fd)
    try:
        return run(settings, on_status=status.tell, on_waiting=status.waits, ephemeral=arguments.ephemeral)
    except RfmError as error:
        status.fail(error)
        return error.exit_code


class _Status:
    """Lines to whoever started us, until the runtime is ready or the reader is gone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, text: str, ready: bool) -> None:
        self._write({"kind": "status", "text": text, "ready": ready})
        if ready:
            self._close()

    def waits(self, text: str) -> None:
        self._write({"kind": "waiting", "text": text})

    def fail(self, error: RfmError) -> None:
        self._write({"kind": "error", "error": fields_of(error)})
        self._close()

    def _write(self, message: dict[str, object]) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


if __name__ == "__main__":
    sys.exit(main())
