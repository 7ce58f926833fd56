"""Antialiasing: where the samples of a pixel lie, and which pixels need more than the one at their centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import config, njit, types

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["edges", "offsets"]

# The plastic number, the one real root of x³ = x + 1.
PLASTIC = 1.32471795724474602596

NEAR = 0.5
"""Distance estimates below this many pixels: the set is at most that far, so it may lie within the pixel."""


def offsets(samples: int) -> NDArray[np.float64]:
    """Places of samples within a pixel, float64 [samples, 2]: to the right and down, in pixels, -0.5 up to 0.5.

    Sample 0 is the centre; any number of first ones is spread evenly. The same in every pixel, so that sample k of a
    frame is the frame itself, moved by that much. The R₂ sequence of Roberts, "The unreasonable effectiveness of
    quasirandom sequences", 2018.
    """
    steps = np.array([1.0 / PLASTIC, 1.0 / PLASTIC**2])
    places: NDArray[np.float64] = (0.5 + np.arange(samples)[:, None] * steps) % 1.0 - 0.5
    return places


# Planes of finished frames may be mapped to be read only.
COUNTS, POINTS = (types.Array(kind, 2, "A", readonly=True) for kind in (types.int32, types.complex64))
BYTES, FLAGS = types.uint8[:, :, :], types.boolean[:, :]


@njit(
    [types.void(COUNTS, BYTES, POINTS, types.float64, types.int64, types.boolean, FLAGS)],
    nogil=True,
    cache=bool(config.CACHE_DIR),
    error_model="numpy",
)
def _edges(
    n: NDArray[np.int32],
    rgb: NDArray[np.uint8],
    far: NDArray[np.complex64],
    near: float,
    limit: int,
    has_far: bool,
    out_edge: NDArray[np.bool_],
) -> None:
    h, w = n.shape
    for y in range(h):
        for x in range(w):
            out_edge[y, x] = False
            if n[y, x] < -1:
                continue
            if has_far and n[y, x] >= 0:
                re, im = float(far[y, x].real), float(far[y, x].imag)
                out_edge[y, x] = re * re + im * im < near * near
        # Half of the eight neighbours of each pixel: the other halves are theirs.
        for x in range(w):
            if n[y, x] < -1:
                continue
            for k in range(4):
                dx, dy = (-1, 0) if k == 0 else (k - 2, -1)
                x2, y2 = x + dx, y + dy
                if y2 < 0 or x2 < 0 or x2 >= w or n[y2, x2] < -1:
                    continue
                apart = False
                for c in range(3):
                    # Signed: what Numba's int() makes of a uint8 is not.
                    if abs(np.int64(rgb[y, x, c]) - np.int64(rgb[y2, x2, c])) > limit:
                        apart = True
                if apart:
                    out_edge[y, x] = True
                    out_edge[y2, x2] = True


def edges(
    n: NDArray[np.int32],
    rgb: NDArray[np.uint8],
    limit: int,
    out_edge: NDArray[np.bool_],
    *,
    far: NDArray[np.complex64] | None = None,
    spacing: float = 1.0,
) -> None:
    """Find the pixels that one sample says too little of.

    n, rgb: counts [h, w] and colours [h, w, 3] of a tile, from `rfm_kernels.colour`. A pixel is on an edge where a
    channel differs by more than `limit` levels of 255 from one of its eight neighbours, both of them computed. far: the
    distance estimate, if there is one; then also where the set may lie within the pixel though no neighbour shows it.
    spacing: of pixels, in its unit. out_edge: bool [h, w], written. Neighbours that are not among these pixels are not
    looked at: for an answer that does not depend on tiles, give one row and column more on each side that has any, and
    leave those out of what is used.
    """
    if not n.shape == rgb.shape[:2] == out_edge.shape or (far is not None and far.shape != n.shape):
        raise ValueError(f"shapes do not fit: n {n.shape}, rgb {rgb.shape}, out_edge {out_edge.shape}")
    plane = np.zeros((1, 1), np.complex64) if far is None else far
    _edges(n, rgb, plane, NEAR * spacing, limit, far is not None, out_edge)
