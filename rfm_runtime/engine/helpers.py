"""Processes beside the workers, one for each job: see `rfm_runtime.engine.jobs`. In the engine's loop."""

from __future__ import annotations

import asyncio
import multiprocessing

from rfm_runtime.engine import pipe
from rfm_runtime.engine.entry import enter_job
from rfm_runtime.errors import InternalError, RateLimitedError
from rfm_runtime.observe import logs

__all__ = ["Helpers"]

log = logs.get("engine")

AT_ONCE = 2
WAITING = 32
TIMEOUT_S = 60.0
"""A frame of 400 megapixels takes a fifth of it."""


class Helpers:
    """Two jobs at once, and a few dozen that wait."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._places = asyncio.Semaphore(AT_ONCE)
        self._jobs = 0

    def admit(self) -> None:
        """Raises RateLimitedError where so many jobs wait that one more of a client's had better come later."""
        if self._jobs >= AT_ONCE + WAITING:
            raise RateLimitedError(f"{self._jobs} pictures are being coloured already", retry_after_s=1.0)

    async def done(self, job: pipe.Job) -> pipe.JobAnswer:
        """Raises InternalError if its process dies."""
        self._jobs += 1
        try:
            async with self._places:
                return await asyncio.to_thread(self._run, pipe.encode_job(job))
        finally:
            self._jobs -= 1

    def _run(self, encoded: bytes) -> pipe.JobAnswer:
        """In a thread, which waits for the process."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=enter_job, args=(theirs, encoded), name="helper", daemon=True)
        try:
            process.start()
            theirs.close()
            if not ours.poll(TIMEOUT_S):
                raise InternalError(f"it took longer than {TIMEOUT_S:g} s")
            return pipe.decode_answer(ours.recv_bytes())
        except (EOFError, OSError) as error:
            log.warning("helper_died", error=str(error) or type(error).__name__)
            raise InternalError("the process that was to do it has died", hint="see engine-0.log") from None
        finally:
            ours.close()
            theirs.close()
            if process.pid is not None:
                process.kill()
                process.join()
                process.close()
