"""The engine's process: `python -m rfm_runtime.engine`, started by the supervisor."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rfm_runtime.observe.loading import loading

with loading():
    from rfm_kernels.cache_key import cache_key
    from rfm_runtime.engine.forking import begin_forkserver
    from rfm_runtime.errors import RfmError, StartError
    from rfm_runtime.observe import logs
    from rfm_runtime.observe.bootstrap import Boot, bootstrap
    from rfm_runtime.observe.temporaries import keep_temporaries

if TYPE_CHECKING:
    from rfm_runtime.engine.shell import EngineShell

COMPLETE = "complete"
"""Marker in the cache folder: every kernel is there."""


async def serve(boot: Boot) -> None:
    """Until it has given everything back after SIGTERM, or at once after a second signal."""
    loop = asyncio.get_running_loop()
    stops = asyncio.Queue[int]()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stops.put_nowait, number)
    await _use_cache(boot)
    # multiprocessing binds its forkserver's socket in a temporary folder, which a killed engine would leave behind.
    keep_temporaries(boot.folders.temporaries(boot.name))
    # Loading the kernels takes longest of all that a start needs, so it begins before our own imports go on.
    begin_forkserver()
    with loading():
        import zmq

        from rfm_runtime.engine.shell import EngineShell

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    shell = EngineShell(boot, context)
    shell.start()
    boot.tell("starting workers")
    stop = asyncio.create_task(stops.get())
    up = asyncio.create_task(_until_up(shell))
    workers = asyncio.create_task(shell.pool_ready.wait())
    await asyncio.wait([stop, workers], return_when=asyncio.FIRST_COMPLETED)
    workers.cancel()
    await boot.first_of(stop, up)
    if up.done():
        boot.tell("ready", ready=True)
    with boot.monitored("engine", shell.used):
        await stop
    up.cancel()
    if shell.welcomed.is_set():
        await _give_back(shell, boot.settings.drain_timeout_s, stops)
    await shell.stop()
    context.term()


async def _until_up(shell: EngineShell) -> None:
    await shell.pool_ready.wait()
    await shell.welcomed.wait()


async def _give_back(shell: EngineShell, timeout_s: float, stops: asyncio.Queue[int]) -> None:
    """Tiles that run may finish within the time-out; a second signal ends the wait."""
    shell.drain(at_once=timeout_s <= 0.0)
    hurry = asyncio.create_task(stops.get())
    done = asyncio.create_task(shell.given_back.wait())
    await asyncio.wait([hurry, done], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if not done.done():
        shell.drain(at_once=True)
        await asyncio.wait([done], timeout=2.0)
    hurry.cancel()
    done.cancel()


async def _use_cache(boot: Boot) -> None:
    """Point Numba at the folder of this very code and machine; fill it first if it is not complete."""
    folder = boot.folders.kernels / cache_key()
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    os.environ["NUMBA_NUM_THREADS"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    if (folder / COMPLETE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        # Two runtimes that compile into one folder at once would damage it.
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not (folder / COMPLETE).exists():
            await _compile(boot, folder)


async def _compile(boot: Boot, folder: Path) -> None:
    boot.tell("compiling kernels")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "rfm_runtime.engine.compiling"),
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdout is not None:
        async for line in process.stdout:
            boot.tell(line.decode().strip())
    if await process.wait() != 0:
        raise StartError("the kernels do not compile", hint=f"see the logs in {boot.folders.logs}")
    (folder / COMPLETE).touch()
    _forget_old(boot.folders.kernels, folder)


def _forget_old(kernels: Path, current: Path, keep: int = 3) -> None:
    """Compiled code of older releases is worth nothing; the newest few stay, another runtime may use them."""
    folders = sorted(kernels.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[keep:]:
        if folder != current:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Exit code 0 after an orderly stop, 1 with one line on stderr if it cannot start."""
    boot = bootstrap("engine")
    try:
        asyncio.run(serve(boot))
    except RfmError as error:
        logs.get("engine").error("engine_failed", error=error.message, hint=error.hint, kept=error.kept)
        boot.tell("failed", error=error)
        print(f"{error.message} — {error.hint}" if error.hint else error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
