"""A request's look as the colouring kernel takes it: for pictures, for finding edges, and for colouring again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rfm_kernels.colour import DISTANCE, FIELD_LINES, HISTOGRAM, ORBIT_TRAP, SMOOTH, colour
from rfm_kernels.gradient import CLAMP, FINE_STEPS, MIRROR, STEPS, WRAP, table
from rfm_runtime.render.palettes import gradient
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest

__all__ = ["Painter", "table_of"]

MODES = {
    "smooth": SMOOTH,
    "distance": DISTANCE,
    "histogram": HISTOGRAM,
    "field_lines": FIELD_LINES,
    "orbit_trap": ORBIT_TRAP,
}
ENDS = {"mirror": MIRROR, "wrap": WRAP, "clamp": CLAMP}

UNITS = 1000.0
"""Distances that colours follow from are in thousandths of the view's width: a picture of any size has the same."""


class Painter:
    """Colours any part of a frame. share: of a histogram, see `rfm_kernels.colour.ranks`."""

    def __init__(self, request: RenderRequest, share: NDArray[np.float64] | None = None) -> None:
        view = plan(request)
        self._request = request
        self._table = table_of(request)
        self._options: dict[str, Any] = {
            "mode": MODES[request.colouring],
            "clamp": request.cyclic == "clamp",
            "degree": view.degree,
            "axes": (view.right[0], view.down[0], view.right[1], view.down[1]),
            "unit": request.width_px / UNITS,
            "share": share,
            "light": request.light,
            "dither": request.dither,
            "by_period": request.by_period,
        }

    def paint(
        self,
        n: NDArray[np.int32],
        nf: NDArray[np.float32],
        out_rgb: NDArray[np.uint8] | NDArray[np.uint16],
        *,
        z: NDArray[np.complex64] | None = None,
        far: NDArray[np.complex64] | None = None,
        left: int = 0,
        top: int = 0,
    ) -> None:
        """Colour planes [h, w] or [samples, h, w] whose first pixel is at left, top of the frame."""
        look = self._request
        colour(
            n, nf, self._table, look.interior_rgb, look.density, look.offset, out_rgb,
            z=z, far=far, px0=left, py0=top, **self._options,
        )  # fmt: skip


def table_of(look: RenderRequest) -> NDArray[np.uint16]:
    """Its palette, see `rfm_kernels.gradient.table`."""
    found = gradient(look.palette)
    return table(
        np.frombuffer(found.colours, np.uint8).reshape(-1, 3),
        np.array(found.positions) if found.positions else None,
        end=ENDS[look.cyclic],
        perceptual=not found.published,
        steps=FINE_STEPS if look.bits == 16 or look.dither else STEPS,
    )
