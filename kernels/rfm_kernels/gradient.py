"""Palettes as tables, and the curves between stored levels and light. NumPy alone, a few milliseconds a table.

Levels are sRGB (IEC 61966-2-1) in 16 bits, light is linear, 0 to 1. Tables are kept in levels, so that what is looked
up and written is exactly what the palette says; what is mixed (samples, lamps) is mixed in light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

__all__ = ["CLAMP", "CURVE", "FINE_STEPS", "MIRROR", "STEPS", "WRAP", "curve", "light_of", "table"]

MIRROR, WRAP, CLAMP = range(3)
"""What comes after a palette's end: the way back, its beginning, or nothing but its last colour."""

STEPS = 4096
"""Entries of a table for 8 bits a channel: a step is far below one of 256 levels."""
FINE_STEPS = 65_536
"""Entries for 16 bits, and for 8 that are dithered: the steepest run of a named palette (turbo) is 16 levels of 65,536
an entry."""

CURVE = 16_384
"""Intervals of the curve from light to levels: interpolated it is off by less than a quarter of a level of 65,536."""

# Björn Ottosson, "A perceptual color space for image processing", 2020: linear sRGB to cone responses, and their cube
# roots to Oklab.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def light_of(levels: Doubles) -> Doubles:
    """Linear light of sRGB levels, both 0 to 1, any shape."""
    light: Doubles = np.where(levels <= 0.04045, levels / 12.92, ((np.maximum(levels, 0.0) + 0.055) / 1.055) ** 2.4)
    return light


def _levels_of(light: Doubles) -> Doubles:
    levels: Doubles = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    )
    return levels


def curve() -> NDArray[np.float32]:
    """Levels in 65,535ths for light in CURVE-ths; one more than needed, so that the end has a neighbour."""
    light = np.minimum(np.arange(CURVE + 2) / CURVE, 1.0)
    return (_levels_of(light) * 65_535.0).astype(np.float32)


def _to_lab(colours: Doubles) -> Doubles:
    lab: Doubles = np.cbrt(light_of(colours / 255.0) @ TO_CONES.T) @ TO_LAB.T
    return lab


def _from_lab(lab: Doubles) -> Doubles:
    light = (lab @ np.linalg.inv(TO_LAB).T) ** 3 @ np.linalg.inv(TO_CONES).T
    # A straight line between two colours may leave what a screen can show, by little.
    return _levels_of(np.clip(light, 0.0, 1.0)) * 255.0


def table(
    colours: NDArray[np.uint8] | NDArray[np.float32],
    positions: Doubles | None = None,
    *,
    end: int = MIRROR,
    perceptual: bool = False,
    steps: int = STEPS,
) -> NDArray[np.uint16]:
    """A palette in `steps` entries (a power of two), as `rfm_kernels.colour` takes it: uint16 [steps, 3], sRGB levels.

    colours: [k, 3], k ≥ 2, values 0–255. positions: of the colours along the palette, [k], ascending within 0 to 1;
    without them they are evenly spaced, from one end to the other, or all around with WRAP. MIRROR: entry i is at
    i / steps of the way to the end and back; WRAP: of the way around; CLAMP: from the first entry to the last.
    perceptual: between two colours in Oklab, where equal steps look equal; else in sRGB levels, which is right for
    palettes that are dense already.
    """
    count = len(colours)
    values = colours.astype(np.float64)
    if positions is None:
        at = np.arange(count) / count if end == WRAP else np.linspace(0.0, 1.0, count)
    else:
        at = np.asarray(positions, np.float64)
    if perceptual:
        values = _to_lab(values)
    if end == WRAP:
        at = np.concatenate([at[-1:] - 1.0, at, at[:1] + 1.0])
        values = np.concatenate([values[-1:], values, values[:1]])
    if end == MIRROR:
        places = 1.0 - np.abs(1.0 - 2.0 * np.arange(steps) / steps)
    else:
        places = np.arange(steps) / (steps if end == WRAP else steps - 1)
    between = np.stack([np.interp(places, at, values[:, k]) for k in range(3)], axis=1)
    if perceptual:
        between = _from_lab(between)
    return np.clip(np.rint(between * 257.0), 0, 65_535).astype(np.uint16)
