"""Processes beside the workers, one for each job: see `rfm_runtime.engine.jobs`. In the engine's loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess

from rfm_runtime.engine import pipe
from rfm_runtime.engine.entry import enter_job
from rfm_runtime.engine.forking import forkserver_context
from rfm_runtime.errors import InternalError, RateLimitedError
from rfm_runtime.observe import logs

__all__ = ["Helpers"]

log = logs.get("engine")

AT_ONCE = 2
WAITING = 32
TIMEOUT_S = 60.0
"""A frame of 400 megapixels takes a fifth of it."""


class _Running:
    """A job's process, once it is there. Killed by the loop, waited for by the job's thread."""

    def __init__(self) -> None:
        self.process: ForkServerProcess | None = None
        self.unwanted = False

    def kill(self) -> None:
        self.unwanted = True
        if self.process is not None and self.process.pid is not None:
            self.process.kill()


class Helpers:
    """Two jobs at once, and a few dozen that wait. Their threads are their own: the engine's files need the others."""

    def __init__(self) -> None:
        self._context = forkserver_context()
        self._threads = ThreadPoolExecutor(AT_ONCE, "helper")
        self._jobs: dict[Future[pipe.JobAnswer], _Running] = {}

    def admit(self) -> None:
        """Raises RateLimitedError where so many jobs wait that one more of a client's had better come later."""
        if len(self._jobs) >= AT_ONCE + WAITING:
            raise RateLimitedError(f"{len(self._jobs)} pictures are being coloured already", retry_after_s=1.0)

    async def done(self, job: pipe.Job) -> pipe.JobAnswer:
        """Raises InternalError if its process dies. Whoever waits no more ends the process."""
        running = _Running()
        future = self._threads.submit(self._run, pipe.encode_job(job), running)
        self._jobs[future] = running
        future.add_done_callback(lambda done: self._jobs.pop(done, None))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            running.kill()
            raise

    def close(self) -> None:
        """End all of them. Idempotent."""
        for running in list(self._jobs.values()):
            running.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, encoded: bytes, running: _Running) -> pipe.JobAnswer:
        """In a thread, which waits for the process."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=enter_job, args=(theirs, encoded), name="helper", daemon=True)
        try:
            process.start()
            theirs.close()
            running.process = process
            if running.unwanted:
                process.kill()
            if not ours.poll(TIMEOUT_S):
                raise InternalError(f"it took longer than {TIMEOUT_S:g} s")
            return pipe.decode_answer(ours.recv_bytes())
        except (EOFError, OSError) as error:
            if not running.unwanted:
                log.warning("helper_died", error=str(error) or type(error).__name__)
            raise InternalError("the process that was to do it has died", hint="see engine-0.log") from None
        finally:
            running.process = None
            ours.close()
            theirs.close()
            if process.pid is not None:
                process.kill()
                process.join()
                process.close()
