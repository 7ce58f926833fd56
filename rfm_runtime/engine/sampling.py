"""Antialiasing: more samples of those pixels of a tile that one says too little of. In a worker's compute thread."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rfm_kernels.samples import edges, offsets
from rfm_runtime.core.tiles.messages import Rect
from rfm_runtime.engine.frames import HOLE, NOT_SAMPLED, PENDING, Frame
from rfm_runtime.engine.painter import Painter
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest

__all__ = ["Sampler", "share_done"]

EDGE_LEVELS = 12
"""Of 255: neighbours that differ by more in a channel have an edge between them. Half of it is hardly seen."""

USUAL_SHARE = 0.25
"""Of pixels at edges, before it is known: what their samples take of a tile's progress."""

PIXELS, EXPECTED, BASE = 0, 3, 4
"""Words of a worker's counters: pixels finished by kernels; samples after the first that the tile needs, plus 1, 0
while that is not known; pixels finished before."""


class Sampler:
    """Of one render with several samples. `first` computes the pixels' centres."""

    def __init__(self, request: RenderRequest, first: Renderer) -> None:
        self._request = request
        self._first = first
        derivative = request.needs_derivative
        self._others = []
        for right, down in offsets(request.samples)[1:]:
            view = plan(request, (Fraction(float(right)), Fraction(float(down))))
            self._others.append(Renderer(view, derivative=derivative, by_period=request.by_period))
        # Distances are estimated from how fast a point escapes.
        self._converges = FORMULAS[request.formula].converges
        self._painter = Painter(_for_edges(request))

    def compute(self, frame: Frame, place: Rect, control: NDArray[Any], counters: NDArray[Any]) -> int:
        """The samples of a part of a frame whose centres are computed; 0, or the control word it saw.

        They do not depend on what else is computed already, nor on how the frame is cut into tiles, but for holes.
        """
        edge, told = self._edges(frame, place, control)
        if told:
            return told
        planes = frame.samples(*place)
        for plane in planes["n"]:
            plane[edge & (plane == NOT_SAMPLED)] = PENDING
        counters[BASE] = counters[PIXELS]
        counters[EXPECTED] = 1 + np.count_nonzero(planes["n"] == PENDING)
        for number, renderer in enumerate(self._others):
            sample = {name: plane[number] for name, plane in planes.items()}
            told = renderer.compute(x=place[0], y=place[1], control=control, counters=counters, **sample)
            if told:
                return told
        return 0

    def _edges(self, frame: Frame, place: Rect, control: NDArray[Any]) -> tuple[NDArray[np.bool_], int]:
        """Which pixels need more. The ring of pixels around them is computed here once more: a neighbour may be late,
        or have a hole."""
        x, y, width, height = place
        left, top = max(x - 1, 0), max(y - 1, 0)
        right, bottom = min(x + width + 1, frame.grid.width_px), min(y + height + 1, frame.grid.height_px)
        inside = slice(y - top, y - top + height), slice(x - left, x - left + width)
        planes: dict[str, Any] = {}
        for name, plane in frame.planes.items():
            planes[name] = np.full((bottom - top, right - left), PENDING if name == "n" else 0, plane.dtype)
            planes[name][inside] = plane[y : y + height, x : x + width]
        # What nobody can compute kills here too.
        around = frame.n[top:bottom, left:right]
        planes["n"][around == HOLE] = HOLE
        told = self._first.compute(x=left, y=top, control=control, **planes)
        edge = np.zeros(planes["n"].shape, np.bool_)
        if not told:
            rgb = np.empty((*edge.shape, 3), np.uint8)
            self._painter.paint(**planes, out_rgb=rgb, left=left, top=top)
            edges(planes["n"], rgb, EDGE_LEVELS, edge, far=None if self._converges else planes.get("far"))
        return edge[inside], told


def share_done(counters: NDArray[Any], area: int, samples: int) -> int:
    """Pixels of a tile that count as done, where all of their samples are to be."""
    pixels, expected, base = (int(counters[word]) for word in (PIXELS, EXPECTED, BASE))
    if samples == 1:
        return pixels
    first = area / (1.0 + USUAL_SHARE * (samples - 1))
    if not expected:
        return int(first * min(pixels / area, 1.0))
    share = min((pixels - base) / (expected - 1), 1.0) if expected > 1 else 1.0
    return min(int(first + (area - first) * share + 0.5), area)


def _for_edges(request: RenderRequest) -> RenderRequest:
    """The look in 8 bits. Shares of a histogram are not known yet: counts along the same palette stand for them."""
    flat = {"bits": 8, "dither": False}
    if request.colouring == "histogram":
        return msgspec.structs.replace(request, colouring="smooth", density=1.0, **flat)
    return msgspec.structs.replace(request, **flat)
