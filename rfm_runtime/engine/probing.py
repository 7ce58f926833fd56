"""`python -m rfm_runtime.engine.probing`: points of a view, in a process of its own.

The command line does not import numba. One JSON object `Question` on standard input, one `Answers` or error on standard
output. The first point of a formula waits for its kernel to be compiled into the user's cache.
"""

from __future__ import annotations

import os
import sys

import msgspec

from rfm_kernels.cache_key import cache_key
from rfm_runtime.config import cache_home
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.operation import error_info

__all__ = ["main"]


def main() -> int:
    """Exit code 0, or 2 with the error in place of the answers."""
    folder = cache_home() / "kernels" / cache_key()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    # Numba reads the variable when it is imported.
    from rfm_runtime.engine.points import Question, answer

    try:
        question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
        answers = msgspec.json.encode(answer(question))
    except BadRequestError as error:
        sys.stdout.buffer.write(msgspec.json.encode(error_info(error)))
        return 2
    sys.stdout.buffer.write(answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
