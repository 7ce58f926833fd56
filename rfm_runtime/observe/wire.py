"""The logger that the WebSocket library is given: it never says what goes over the line.

At `debug` it would write every header and every frame, and so tokens: into the logs of a runtime that somebody looks
into, and into those of any program that uses a client of ours and has its own logging at that level. At `info` it says
that connections open and close, which a gateway says as well, and whose they are.
"""

from __future__ import annotations

import logging

__all__ = ["WIRE"]

WIRE = logging.getLogger("rfm_runtime.wire")
WIRE.setLevel(logging.WARNING)
