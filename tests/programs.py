"""Programs that report, for tests: real scripts in processes of their own, beside a runtime or far from it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from typing import ClassVar

from rfm_runtime import Client
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.testing.runtime import Runtime, eventually

__all__ = ["Script", "elsewhere", "ended", "environment", "named", "run"]


def environment(running: Runtime) -> dict[str, str]:
    """Of a program beside the runtime."""
    return {
        "RFM_RUNTIME_DIR": str(running.folders.runtime),
        "RFM_STATE_DIR": str(running.folders.state),
        "PATH": "/usr/bin:/bin",
        "HOME": str(running.folders.state),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def elsewhere(running: Runtime) -> dict[str, str]:
    """Of a program on another machine: it has an address and a token, and no folder of a runtime."""
    folder = running.folders.state / "elsewhere"
    return environment(running) | {
        "RFM_RUNTIME_DIR": str(folder),
        "RFM_STATE_DIR": str(folder),
        "RFM_URL": running.url,
        "RFM_TOKEN_FILE": str(running.folders.token),
    }


class Script:
    """A program in a process of its own, which does not outlive its test. Its lines are read as they come."""

    running: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, code: str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(code)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(self.process)

    @classmethod
    def kill_all(cls) -> None:
        """At the end of a test."""
        for process in cls.running:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None and not pipe.closed:
                    # What was not written yet has nobody to read it.
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        cls.running.clear()

    def go_on(self) -> None:
        """What `input()` waits for."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, timeout_s: float = 30.0) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err


def run(code: str, running: Runtime) -> str:
    """What a script prints. It ends well and says nothing on stderr."""
    status, out, err = Script(code, environment(running)).end()
    assert (status, err) == (0, ""), err
    return out


def named(client: Client, name: str) -> Operation:
    """The operation of this name, once it is there."""
    return eventually(lambda: next((o for o in client.operations() if o.name == name), None), what=name)


def ended(client: Client, name: str) -> Operation:
    operation = named(client, name)
    eventually(lambda: client.operation(operation.operation_id).ended_at_ms, what=f"the end of {name}")
    return client.operation(operation.operation_id)
