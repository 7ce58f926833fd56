"""Commands as users run them, for tests: in processes of their own, with nothing of this machine's user."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from rfm_runtime.config import cache_home
from rfm_runtime.protocol.catalogue import entries

__all__ = ["COMMAND", "cli", "document", "environment", "output", "two_lines"]

COMMAND = [sys.executable, "-P", "-m", "rfm_runtime.cli"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of the user's but the compiled kernels."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "RFM_STATE_DIR": str(folder / "state"),
        "RFM_RUNTIME_DIR": str(folder / "run"),
        "RFM_CACHE_DIR": str(cache_home()),
        "RFM_PORT": "0",
        **more,
    }


def cli(
    *arguments: str, env: dict[str, str], cwd: Path | None = None, file_limit_blocks: int | None = None
) -> subprocess.CompletedProcess[str]:
    """file_limit_blocks: RLIMIT_FSIZE in KiB, the system's way to say that a file has no more room."""
    command = [*COMMAND, *arguments]
    if file_limit_blocks is not None:
        command = ["bash", "-c", f"ulimit -f {file_limit_blocks}; exec {shlex.join(command)}"]
        # Half a compiled module would be left for every later test.
        env = {**env, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=90, check=False)


def output(*arguments: str, env: dict[str, str], cwd: Path | None = None) -> str:
    """Standard output of a command that succeeds."""
    done = cli(*arguments, env=env, cwd=cwd)
    assert done.returncode == 0, done
    return done.stdout


def document(*arguments: str, env: dict[str, str], cwd: Path | None = None) -> Any:
    return json.loads(output(*arguments, "--json", env=env, cwd=cwd))


def two_lines(done: subprocess.CompletedProcess[str], code: int) -> tuple[str, str]:
    """What happened and what to do, as every error has to say it: with its code, which is in the catalogue."""
    assert done.returncode == code, done
    assert done.stdout == "", done
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    head = re.match(r"(error|critical)\[(\w+)\]: ", lines[0])
    assert head is not None, done.stderr
    (known,) = [one for one in entries() if one.code == head[2]]
    assert known.exit_code in (code, None), done
    assert lines[1].startswith("hint: "), done.stderr
    return lines[0][head.end() :], lines[1].removeprefix("hint: ")
