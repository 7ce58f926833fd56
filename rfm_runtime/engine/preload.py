"""What the forkserver imports before it forks workers: kernels, loaded from the cache. No thread, no ZeroMQ context.

Importing this module has effects on purpose, since it is the only hook a forkserver offers.
"""

from __future__ import annotations

import os
import signal

from rfm_runtime.observe.loading import loading
from rfm_runtime.observe.process import die_with_parent

with loading():
    import rfm_kernels.catalog
    import rfm_kernels.colour
    import rfm_kernels.samples
    import rfm_runtime.engine.worker

__all__: list[str] = []

# The forkserver outlives a killed engine only until its pipe ends; this also covers a stopped one.
die_with_parent(os.getppid(), signal.SIGKILL)
# Every worker inherits them; importing is loading.
LOADED = (rfm_kernels.catalog, rfm_kernels.colour, rfm_kernels.samples, rfm_runtime.engine.worker)
