"""A helper: a process for one job beside the workers, which answers and ends.

It is forked by the forkserver that has the kernels loaded, so that it is there in milliseconds, and nothing it does can
disturb a worker or the engine.
"""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

import msgspec

from rfm_runtime.engine import pipe
from rfm_runtime.engine.limits import iterations_for
from rfm_runtime.engine.pointing import pointed
from rfm_runtime.engine.repaint import pixels, recoloured
from rfm_runtime.errors import RfmError, UnavailableError, UnknownOperationError
from rfm_runtime.observe.process import die_with_parent
from rfm_runtime.protocol.operation import error_info
from rfm_runtime.render.request import RenderRequest

__all__ = ["run"]

LATER_S = 10.0

NICE = 5
"""Whoever looks at a picture goes before the renders, and after what answers everybody."""


def run(connection: Connection, encoded: bytes) -> None:
    """Entry of the process."""
    die_with_parent(os.getppid(), signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    answer: pipe.JobAnswer
    try:
        answer = _done(pipe.decode_job(encoded))
    except RfmError as error:
        answer = pipe.Refused(error_info(error))
    except (FileNotFoundError, NotADirectoryError):
        # Renamed or removed since it was asked for.
        answer = pipe.Refused(error_info(UnknownOperationError("its frame is not there any more")))
    except OSError as error:
        answer = _not_now(f"it cannot be written: {error.strerror}")
    except MemoryError:
        answer = _not_now("there is not enough memory for it")
    connection.send_bytes(pipe.encode_answer(answer))


def _done(job: pipe.Job) -> pipe.JobAnswer:
    match job:
        case pipe.Recolour():
            return recoloured(job)
        case pipe.Pixels():
            return pixels(job)
        case pipe.Probe():
            return pointed(job)
        case pipe.Limit(params):
            return pipe.Iterations(iterations_for(msgspec.msgpack.decode(params, type=RenderRequest)))


def _not_now(why: str) -> pipe.Refused:
    return pipe.Refused(error_info(UnavailableError(why, retry_after_s=LATER_S)))
