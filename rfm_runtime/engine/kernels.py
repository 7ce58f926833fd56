"""Kernels on demand: a formula is compiled when its first render comes, by a process of its own, and stays cached.

The engine itself never loads one: it would have to import numba.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from rfm_runtime.errors import StartError
from rfm_runtime.observe import logs
from rfm_runtime.render.formulas import is_built_in
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest

__all__ = ["Kernels", "kernels_of", "label_of"]

log = logs.get("engine")

PRELOADED = "mandelbrot_2_plain"
"""Compiled before the engine is ready, and loaded by the forkserver."""

LAST_LINES = 3
COMPILE_S = 300.0
"""The longest kernel of ours takes a tenth of it on a slow machine."""


class Kernels:
    """folder: the cache of this code and machine. One compilation of a kernel at a time, however many ask for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = {PRELOADED}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._place = asyncio.Semaphore(1)

    def are_ready(self, request: RenderRequest) -> bool:
        """Whether workers only have to load what the render needs."""
        label = label_of(request)
        # Of a package's formula nobody knows whether it is still the same: compiling it once more only loads it.
        if label not in self._ready and is_built_in(request.formula) and self._mark(label).exists():
            self._ready.add(label)
        return label in self._ready

    async def compiled(self, request: RenderRequest) -> None:
        """Have them compiled. Raises StartError if that fails. May be given up: the compilation goes on."""
        if self.are_ready(request):
            return
        label = label_of(request)
        task = self._under_way.get(label)
        if task is None:
            task = self._under_way[label] = asyncio.create_task(self._compile(label))
            task.add_done_callback(lambda _task: self._under_way.pop(label, None))
        await asyncio.shield(task)

    def _mark(self, label: str) -> Path:
        return self._folder / f"{label}.ready"

    async def _compile(self, label: str) -> None:
        """One at a time: each takes a core and some hundred megabytes for seconds."""
        async with self._place:
            await self._compile_now(label)

    async def _compile_now(self, label: str) -> None:
        formula, degree, kind = label.rsplit("_", 2)
        log.info("compiling_kernels", formula=formula, degree=int(degree), kernels=kind)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "rfm_runtime.engine.compiling", formula, degree, kind),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ,
        )
        try:
            async with asyncio.timeout(COMPILE_S):
                _, said = await process.communicate()
        except TimeoutError:
            said = f"it takes longer than {COMPILE_S:g} s".encode()
            process.kill()
            await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            lines = said.decode(errors="replace").splitlines()[-LAST_LINES:]
            log.error("kernels_do_not_compile", formula=formula, said=lines)
            raise StartError(
                f"the kernels of {formula} do not compile: {lines[-1] if lines else f'exit code {process.returncode}'}",
                hint="is there room for the cache, and memory? see `rfm-runtime doctor` and engine-0.log"
                if is_built_in(formula)
                else "a step has arithmetic alone, no branches and no other functions: see docs/formulas.md",
            )
        self._mark(label).touch()
        self._ready.add(label)


def label_of(request: RenderRequest) -> str:
    """Formula, degree and what else belongs to the kernels, as `rfm_runtime.engine.compiling` takes them."""
    view = plan(request)
    kind = request.trap or ("derivative" if request.needs_derivative else "plain")
    return f"{view.formula}_{view.degree}_{kind}{'+periods' if request.by_period else ''}"


def kernels_of(request: RenderRequest) -> str:
    """The same for people."""
    beside = f" with a {request.trap}" if request.trap else " with distances" if request.needs_derivative else ""
    return f"kernels of {request.formula}{beside}{' and periods' if request.by_period else ''}"
