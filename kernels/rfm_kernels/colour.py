"""Colouring: raw data to RGB through a palette, without iterating anything again.

A pixel goes: raw data → its place along the palette (four ways) → a colour → the light that falls on it → written.
Where there are lamps or several samples that is done in linear light, 32 bits a channel, and written as sRGB;
elsewhere the palette's own levels are copied. Every pixel is computed by itself, in the same order of operations: the
same input gives the same bytes, in whatever parts it comes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import config, njit, types

from rfm_kernels.gradient import CURVE, curve, light_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int32]
    Fractions = NDArray[np.float32]
    Points = NDArray[np.complex64]
    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]
    Levels = NDArray[np.uint16]
    Bytes = NDArray[np.uint8]

__all__ = [
    "DISTANCE",
    "FIELD_LINES",
    "HISTOGRAM",
    "NOT_SAMPLED",
    "ORBIT_TRAP",
    "PENDING_RGB",
    "SMOOTH",
    "TALLY_BINS",
    "colour",
    "ranks",
    "tally",
]

SMOOTH, DISTANCE, HISTOGRAM, FIELD_LINES, ORBIT_TRAP = range(5)
"""What a pixel's place along the palette follows from."""

NOT_SAMPLED = -4
"""Count in the second and later samples of a pixel that needed none."""

PENDING_RGB = 38
"""Grey of pixels that are not computed yet: dark, neutral, in none of the palettes."""

CHUNK = 512

OCTAVE_BINS = 32_768
TALLY_BINS = 32 * OCTAVE_BINS
"""Bins of `tally`: of log2(mu + 1), which is below 32. At a count of 100,000 a bin is two iterations wide."""

AMBIENT = 0.2
"""Share of the light that falls on a slope from everywhere."""
GLOSS_SQUARINGS = 5
"""The highlight is the cosine to the power 32: the gleam of varnish."""

LINES_DEPTH = 0.125
"""How far a field line lies from the middle between two of them, in palette runs."""

TRAP_UNITS = 100.0
"""Of an orbit trap's unit: a hundredth is near."""

TURN = 0.6180339887498949
"""Of the palette from one period to the next, of inside pixels: the golden ratio keeps all of them apart."""

# Numbers of a look.
DENSITY, OFFSET, UNIT, RIGHT_RE, RIGHT_IM, DOWN_RE, DOWN_IM, SLOPE, SHINE = range(9)
LAMP, HALF = 9, 12
LOOK = 15

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
INLINE = OPTIONS | {"forceinline": True}


@njit(**INLINE)
def _places(
    n: Counts,
    nf: Fractions,
    z: Points,
    far: Points,
    mode: int,
    degree: int,
    look: Doubles,
    share: Doubles,
    out: Doubles,
) -> None:
    """Of the pixels of a chunk along the palette, in runs. What a pixel without a count gets is not used."""
    density, offset = look[DENSITY], look[OFFSET]
    # One loop a way, so that logarithm and square root keep the pipelines busy.
    if mode == DISTANCE:
        per_unit = 1.0 / look[UNIT]
        for x in range(len(n)):
            re, im = float(far[x].real) * per_unit, float(far[x].imag) * per_unit
            units = math.sqrt(re * re + im * im)
            # NaN and infinity, where the gradient vanishes: as far as can be.
            found = units < 1e30
            out[x] = math.log2((units if found else 1e30) + 1.0) * density + offset
        return
    if mode == ORBIT_TRAP:
        for x in range(len(n)):
            apart2 = float(z[x].real)
            # Infinite, of points that are out before the first step: as far as can be.
            found = apart2 < 1e30
            out[x] = math.log2(math.sqrt(max(apart2, 0.0) if found else 1e30) * TRAP_UNITS + 1.0) * density + offset
        return
    for x in range(len(n)):
        mu = float(n[x]) + float(nf[x])
        out[x] = math.log2(max(mu, 0.0) + 1.0)
    if mode == HISTOGRAM:
        for x in range(len(n)):
            place = out[x] * OCTAVE_BINS
            left = int(place)
            rank = share[left] + (share[left + 1] - share[left]) * (place - left)
            out[x] = rank * density + offset
        return
    for x in range(len(n)):
        out[x] = out[x] * density + offset
    if mode == FIELD_LINES:
        for x in range(len(n)):
            re, im = float(z[x].real), float(z[x].imag)
            size = math.sqrt(re * re + im * im)
            found = 0.0 < size < 1e30
            # The direction of z, squared: two lines around the set in the outermost band (with four they were too near
            # to each other at a few hundred pixels), and an even number, so that formulas which fold the plane show no
            # seams. Within a band of equal counts this turns into the inner pattern, whose angles are the next band's.
            re, im = (re / size, im / size) if found else (0.0, 0.0)
            re, im = re * re - im * im, 2.0 * re * im
            inner_re, inner_im = re, im
            for _ in range(degree - 1):
                inner_re, inner_im = inner_re * re - inner_im * im, inner_re * im + inner_im * re
            into = min(max(float(nf[x]), 0.0), 1.0)
            into = into * into * (3.0 - 2.0 * into)
            out[x] += LINES_DEPTH * (re + (inner_re - re) * into)


@njit(**INLINE)
def _light(far: Points, look: Doubles, diffuse: Floats, gloss: Floats) -> None:
    """What falls on the pixels of a chunk: Lambert's cosine, as a multiple of what falls on level ground, and a gleam.

    The ground falls away from the set by SLOPE in every place, as a cone does. Blinn, "Models of light reflection for
    computer synthesized pictures", 1977.
    """
    slope, shine = float(look[SLOPE]), float(look[SHINE])
    right_re, right_im = float(look[RIGHT_RE]), float(look[RIGHT_IM])
    down_re, down_im = float(look[DOWN_RE]), float(look[DOWN_IM])
    lamp_x, lamp_y, lamp_z = float(look[LAMP]), float(look[LAMP + 1]), float(look[LAMP + 2])
    half_x, half_y, half_z = float(look[HALF]), float(look[HALF + 1]), float(look[HALF + 2])
    level = 1.0 / math.sqrt(1.0 + slope * slope)
    for x in range(len(diffuse)):
        re, im = float(far[x].real), float(far[x].imag)
        # A direction of steepest ascent goes over to the picture by the transpose, and the picture's rows go down.
        right, up = right_re * re + right_im * im, -(down_re * re + down_im * im)
        length = math.sqrt(right * right + up * up)
        found = 0.0 < length < 1e300
        # Where there is no direction (the gradient vanishes), it is level.
        steep = slope * level / length if found else 0.0
        nx, ny, nz = (right * steep, up * steep, level) if found else (0.0, 0.0, 1.0)
        cosine = nx * lamp_x + ny * lamp_y + nz * lamp_z
        diffuse[x] = AMBIENT + (1.0 - AMBIENT) * max(cosine, 0.0) / lamp_z
        gleam = max(nx * half_x + ny * half_y + nz * half_z, 0.0)
        for _ in range(GLOSS_SQUARINGS):
            gleam *= gleam
        gloss[x] = shine * gleam


@njit(**INLINE)
def _entry(place: float, steps: int, clamp: bool) -> int:
    if clamp:
        return min(int(min(max(place, 0.0), 1.0) * steps), steps - 1)
    return int((place - math.floor(place)) * steps) & (steps - 1)


@njit(**INLINE)
def _level(light: np.float32, levels: Floats) -> int:
    """The sRGB level of 65,535 that a light of 0 to 1 is nearest to."""
    place = light * np.float32(CURVE)
    left = int(place)
    part = place - np.float32(left)
    return int(levels[left] + (levels[left + 1] - levels[left]) * part + np.float32(0.5))


@njit(**INLINE)
def _stored(level: np.int64, x: int, y: int, k: int, bits: int, dither: bool) -> np.int64:
    """A level of 65,535 as it is written: in 16 bits, or the nearest of 255, or one of both beside it."""
    if bits == 16:
        return level
    threshold = 0
    if dither:
        # Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018: as even as blue noise, from the
        # place alone. A channel begins a third further, so that their steps are not in one place. Less than half a
        # level by a little, so that what is exactly a level stays it.
        turn = (x * 3_242_174_889 + y * 2_447_445_414 + k * 1_431_655_765) & 0xFFFFFFFF
        threshold = (((turn >> 16) - 32_768) * 63) >> 6
    return (level * 255 + 32_895 + threshold) >> 16


@njit(**INLINE)
def _period_entry(nf: np.float32, steps: int) -> int:
    """Of an inside pixel whose period is known."""
    place = float(nf) * TURN
    return int((place - math.floor(place)) * steps)


@njit(**INLINE)
def _any(counts: Counts) -> bool:
    """Whether any pixel of a chunk has this sample."""
    found = False
    for x in range(len(counts)):
        found |= counts[x] >= -1
    return found


@njit(**INLINE)
def _add(
    counts: Counts,
    entries: NDArray[np.int64],
    lights: Floats,
    inside: Floats,
    known: NDArray[np.bool_],
    lit: bool,
    diffuse: Floats,
    gloss: Floats,
    total: Floats,
    weight: NDArray[np.int64],
) -> None:
    """A sample of each pixel of a chunk to the light that the pixel has."""
    for x in range(len(counts)):
        if counts[x] == -1:
            weight[x] += 1
            for k in range(3):
                total[x, k] += lights[entries[x], k] if known[x] else inside[k]
        elif counts[x] >= 0:
            weight[x] += 1
            for k in range(3):
                light = lights[entries[x], k]
                total[x, k] += min(light * diffuse[x] + gloss[x], np.float32(1.0)) if lit else light


@njit(**INLINE)
def _write(
    counts: Counts,
    entries: NDArray[np.int64],
    table: Levels,
    inside: Levels,
    known: NDArray[np.bool_],
    mixed: bool,
    lit: bool,
    total: Floats,
    weight: NDArray[np.int64],
    levels: Floats,
    px: int,
    py: int,
    bits: int,
    dither: bool,
    out_rgb: Bytes | Levels,
) -> None:
    """The pixels of a chunk. Only what was mixed goes through light: all else is the palette to the last bit."""
    for x in range(len(counts)):
        count = counts[x]
        through = mixed and count >= -1 and ((lit and count >= 0) or weight[x] > 1)
        for k in range(3):
            # Signed: what Numba's int() makes of a uint16 is not, and both together are a float.
            level = np.int64(PENDING_RGB * 257)
            if through:
                level = np.int64(_level(total[x, k] / np.float32(weight[x]), levels))
            elif count >= 0:
                level = np.int64(table[entries[x], k])
            elif count == -1:
                level = np.int64(table[entries[x], k]) if known[x] else np.int64(inside[k])
            out_rgb[x, k] = _stored(level, px + x, py, k, bits, dither)


def _read_only(kind: Any, dimensions: int, layout: str = "A") -> Any:
    """Of an array that is read: planes of finished frames may be mapped so."""
    return types.Array(kind, dimensions, layout, readonly=True)


COUNTS, FRACTIONS, POINTS = (_read_only(kind, 3) for kind in (types.int32, types.float32, types.complex64))


def _signature(out: Any) -> Any:
    doubles, floats = types.float64[::1], types.float32[::1]
    return types.void(
        COUNTS, FRACTIONS, POINTS, POINTS, types.int64, types.int64, doubles, doubles, types.uint16[:, ::1],
        types.float32[:, ::1], floats, types.uint16[::1], floats, types.boolean, types.boolean, types.boolean,
        types.boolean, types.int64, types.int64, out[:, :, :],
    )  # fmt: skip


@njit([_signature(types.uint8), _signature(types.uint16)], cache=bool(config.CACHE_DIR), **OPTIONS)
def _colour(
    n: Counts,
    nf: Fractions,
    z: Points,
    far: Points,
    mode: int,
    degree: int,
    look: Doubles,
    share: Doubles,
    table: Levels,
    lights: Floats,
    levels: Floats,
    inside: Levels,
    inside_light: Floats,
    clamp: bool,
    lit: bool,
    dither: bool,
    by_period: bool,
    px0: int,
    py0: int,
    out_rgb: Bytes | Levels,
) -> None:
    samples, h, w = n.shape
    steps, bits, mixed = len(table), 8 * out_rgb.itemsize, lit or samples > 1
    # Planes that the look does without are a single pixel, of which every chunk takes what there is.
    has_z, has_far = mode in (FIELD_LINES, ORBIT_TRAP), lit or mode == DISTANCE
    place, entries, others = np.empty(CHUNK), np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    diffuse, gloss = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    total, weight = np.empty((CHUNK, 3), np.float32), np.empty(CHUNK, np.int64)
    # Inside pixels that have the colour of their period, in the first sample and in the one in hand.
    known, known_too = np.zeros(CHUNK, np.bool_), np.zeros(CHUNK, np.bool_)
    for y in range(h):
        for x0 in range(0, w, CHUNK):
            width = min(CHUNK, w - x0)
            total[...] = 0.0
            weight[...] = 0
            for s in range(samples):
                counts = n[s, y, x0 : x0 + width]
                if s > 0 and not _any(counts):
                    continue
                zs = z[s, y, x0 : x0 + width] if has_z else z[0, 0]
                fars = far[s, y, x0 : x0 + width] if has_far else far[0, 0]
                fractions = nf[s, y, x0 : x0 + width]
                _places(counts, fractions, zs, fars, mode, degree, look, share, place)
                into, is_known = (entries, known) if s == 0 else (others, known_too)
                for x in range(width):
                    into[x] = _entry(place[x], steps, clamp)
                if by_period:
                    for x in range(width):
                        is_known[x] = counts[x] == -1 and fractions[x] > 0.0
                        if is_known[x]:
                            into[x] = _period_entry(fractions[x], steps)
                if lit:
                    _light(fars, look, diffuse[:width], gloss[:width])
                if mixed:
                    _add(counts, into, lights, inside_light, is_known, lit, diffuse, gloss, total, weight)
            _write(
                n[0, y, x0 : x0 + width], entries, table, inside, known, mixed, lit, total, weight, levels,
                px0 + x0, py0 + y, bits, dither, out_rgb[y, x0 : x0 + width],
            )  # fmt: skip


@njit(
    [types.void(_read_only(types.int32, 2), _read_only(types.float32, 2), types.int64[::1])],
    cache=bool(config.CACHE_DIR),
    **OPTIONS,
)
def _tally(n: Counts, nf: Fractions, bins: NDArray[np.int64]) -> None:
    h, w = n.shape
    for y in range(h):
        for x in range(w):
            if n[y, x] >= 0:
                mu = float(n[y, x]) + float(nf[y, x])
                bins[int(math.log2(max(mu, 0.0) + 1.0) * OCTAVE_BINS)] += 1


LEVELS = curve()
LIGHTS = light_of(np.arange(65_536) / 65_535.0).astype(np.float32)
NO_POINTS = np.zeros((1, 1, 1), np.complex64)
NO_RANKS = np.zeros(2)
NO_LIGHTS = np.zeros((1, 3), np.float32)


def tally(n: Counts, nf: Fractions, bins: NDArray[np.int64]) -> None:
    """Count the escaped pixels of a tile or a strip, [h, w], into bins, int64 [TALLY_BINS], zero at first.

    Counts of parts add up to the frame's, in whatever parts it comes.
    """
    _tally(n, nf, bins)


def ranks(bins: NDArray[np.int64]) -> Doubles:
    """Share of a frame's escaped pixels below each bin of `tally`, float64 [TALLY_BINS + 1], 0 to 1."""
    below = np.concatenate([[0], np.cumsum(bins)]).astype(np.float64)
    below /= max(below[-1], 1.0)
    return below


def _look(
    density: float,
    offset: float,
    unit: float,
    axes: tuple[float, float, float, float],
    light: tuple[float, float, float, float] | None,
) -> Doubles:
    look = np.zeros(LOOK)
    look[DENSITY], look[OFFSET], look[UNIT] = density, offset, unit
    # Their size does not matter, and at great depth its square would not be a number.
    size = max(map(abs, axes))
    look[[RIGHT_RE, DOWN_RE, RIGHT_IM, DOWN_IM]] = [axis / size for axis in axes]
    if light is not None:
        slope, azimuth, elevation, shine = light
        look[SLOPE], look[SHINE] = slope, shine
        azimuth, elevation = math.radians(azimuth), math.radians(elevation)
        across = math.cos(elevation)
        lamp = np.array([math.cos(azimuth) * across, math.sin(azimuth) * across, math.sin(elevation)])
        # Halfway between the lamp and who looks, from straight above.
        half = lamp + np.array([0.0, 0.0, 1.0])
        look[LAMP : LAMP + 3], look[HALF : HALF + 3] = lamp, half / math.sqrt(half @ half)
    return look


def colour(
    n: Counts,
    nf: Fractions,
    table: Levels,
    interior_rgb: tuple[int, int, int],
    density: float,
    offset: float,
    out_rgb: Bytes | Levels,
    *,
    mode: int = SMOOTH,
    clamp: bool = False,
    z: Points | None = None,
    far: Points | None = None,
    degree: int = 2,
    axes: tuple[float, float, float, float] = (1.0, 0.0, 0.0, -1.0),
    unit: float = 1.0,
    share: Doubles | None = None,
    light: tuple[float, float, float, float] | None = None,
    dither: bool = False,
    by_period: bool = False,
    px0: int = 0,
    py0: int = 0,
) -> None:
    """Colour a tile or a frame.

    n, nf: raw data [h, w], see `rfm_kernels.escape_time`, or [samples, h, w], where n is NOT_SAMPLED in later samples
    of pixels that need none: a pixel is the mean, in linear light, of those of its samples that are computed; the first
    one says whether it is there at all. z, far: the same of the last z and of the distance estimate, for those looks
    that need them (FIELD_LINES and ORBIT_TRAP; DISTANCE and light). table: see `rfm_kernels.gradient.table`; clamp: it
    was made with CLAMP. interior_rgb: 0–255. out_rgb: uint8 or uint16 [h, w, 3], sRGB, written.

    A pixel gets the table's colour at the fraction of density · x + offset, where x is
    SMOOTH: log2(mu + 1), so that density is the number of runs each time the count doubles;
    DISTANCE: log2(1 + |far| / unit), unit being a length in the unit of far;
    HISTOGRAM: the share, 0 to 1, of the frame's escaped pixels with a smaller mu; share: what `ranks` says of it;
    FIELD_LINES: as SMOOTH, with a wave of an eighth of a run along the level curves, which follows the angle of z;
    ORBIT_TRAP: log2(1 + 100·t), t² being the real part of z.
    degree: of the formula, 2 to 16, whole.

    light: by how much the ground falls away from the set (1 is 45°, less than 0 rises), azimuth and elevation of the
    lamp in degrees (counterclockwise from the right; above the picture, more than 0), and how much of it gleams, 0 to
    1. axes: xx xy yx yy of the view, see `rfm_kernels.escape_time`; only their proportions matter. by_period: inside
    pixels whose nf is more than 0, a period, have a colour of the table for it, without light. dither: of 8 bits a
    channel; px0, py0: place of the first pixel in the frame, which it follows. The same input gives the same bytes.
    """
    if n.ndim == 2:
        n, nf = n[None], nf[None]
        z, far = (None if z is None else z[None]), (None if far is None else far[None])
    needed = [nf.shape]
    for plane, needs in ((z, mode in (FIELD_LINES, ORBIT_TRAP)), (far, mode == DISTANCE or light is not None)):
        if needs:
            needed.append(() if plane is None else plane.shape)
    if out_rgb.shape != (*n.shape[1:], 3) or any(shape != n.shape for shape in needed):
        raise ValueError(f"shapes do not fit: n {n.shape}, others {needed}, out_rgb {out_rgb.shape}")
    if mode == HISTOGRAM and (share is None or len(share) != TALLY_BINS + 1):
        raise ValueError("a histogram needs the ranks of the whole frame: see `tally` and `ranks`")
    inside = np.array(interior_rgb, np.uint16) * np.uint16(257)
    no_light = light is None
    _colour(
        n, nf, NO_POINTS if z is None else z, NO_POINTS if far is None else far, mode, degree,
        _look(density, offset, unit, axes, light), NO_RANKS if share is None else share,
        table, NO_LIGHTS if no_light and len(n) == 1 else LIGHTS[table], LEVELS, inside, LIGHTS[inside],
        clamp, not no_light, dither, by_period, px0, py0, out_rgb,
    )  # fmt: skip
