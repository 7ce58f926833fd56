"""Frames on disk: the planes of a render, its commit records, and how both become artefacts.

A frame is a folder: `n.npy` (int32, [height, width]) and `nf.npy` (float32), with a derivative also `z.npy` and
`far.npy` (complex64), valid .npy files that engine and workers map; where pixels have several samples the same names
with `more_` before them, [samples - 1, height, width]; `commits.bin`, one record a tile; `frame.json`; `costs.json`
once it was interrupted. Space is reserved before it is used: a sparse mapping on a full disk would be a
SIGBUS. A finished frame is renamed as a whole to be the operation's folder of artefacts.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import mmap
import os
import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from rfm_runtime.core.tiles.messages import Rect
from rfm_runtime.core.tiles.order import PREVIEW_STEP, rect
from rfm_runtime.protocol.operation import Artifact, TileGrid
from rfm_runtime.render.request import RenderRequest

__all__ = [
    "ARTIFACTS",
    "COSTS",
    "HOLE",
    "HOLES",
    "PENDING",
    "WRITE_BYTES",
    "Frame",
    "FrameInfo",
    "Interrupted",
    "IsStopped",
    "Recovered",
    "create",
    "describe",
    "flush",
    "flush_folder",
    "folder_name",
    "frame_bytes",
    "inside_cost",
    "operation_of",
    "read_artifact",
    "read_artifacts",
    "read_holes",
    "recover",
    "rectangles",
]

PENDING = -2
"""Of `rfm_kernels.escape_time`, which the engine's own process does not import: a pixel that is to be computed."""

HOLE = -3
"""Count of a pixel that nobody could compute, in a tile that is committed all the same."""

NOT_SAMPLED = -4
"""Of `rfm_kernels.colour`: count in the later samples of a pixel that needs none."""

PLANES: dict[str, tuple[type[np.generic], int]] = {"n": (np.int32, PENDING), "nf": (np.float32, 0)}
DERIVATIVE: dict[str, tuple[type[np.generic], int]] = {"z": (np.complex64, 0), "far": (np.complex64, 0)}
"""Planes by name, with what they are filled with; the others if a picture needs them."""

MORE = "more_"
"""Of the planes of second and later samples."""

RECORD = struct.Struct("<IIQ")
"""Commit record of a tile: attempt, 1 (or 2 with holes), digest. Zeros: not committed."""

WHOLE, WITH_HOLES = 1, 2

TOUCH_LIMIT_BYTES = 128 * 1024 * 1024
"""A plane: milliseconds once a worker. What is larger is computed for seconds, and might not fit into memory."""

WRITE_BYTES = 2 * 1024 * 1024
"""A plane is filled by writes that end at multiples of this: the file system can then keep it in pages of this size,
which are mapped at once, and seldom miss in the TLB."""

MADV_POPULATE_WRITE = 23  # madvise(2)
ARTIFACTS = "artifacts.json"
HOLES = "holes.json"
COSTS = "costs.json"
"""Expected cost of each tile, as the preview said: written before the first look at what is left resets its pixels."""

INTERIOR_COST = 500
"""Iterations that an inside pixel costs, where tests find it early."""

DIGEST_BYTES = 1024 * 1024
"""Read and digested between two looks at the stop flag."""

PREFIX = "op-"

IsStopped = Callable[[], bool]


class FrameInfo(Struct, frozen=True, kw_only=True):
    """frame.json. params: digest of the parameters; others are another picture. derivative: it has all planes."""

    operation_id: str
    params: str
    grid: TileGrid
    derivative: bool = False
    samples: int = 1


class Interrupted(Exception):
    """It was told to stop."""


class Recovered(Struct, frozen=True):
    """Verified tiles of an earlier claim, the nominal iterations and the holes in them.

    damaged: tiles whose pixels did not fit their record, and are computed again. costs: of all tiles, as the preview
    said; nothing if one of them is not known.
    """

    tiles: tuple[int, ...]
    iterations: int
    holes: tuple[Rect, ...] = ()
    damaged: tuple[int, ...] = ()
    costs: tuple[float, ...] = ()


class Frame:
    """An opened frame. Every process that uses it has its own.

    planes: of the pixels' centres by name, as its files are called. more_planes: of the samples after the first, empty
    where there are none.
    """

    def __init__(
        self, folder: Path, grid: TileGrid, *, derivative: bool = False, samples: int = 1, writable: bool = True
    ) -> None:
        self.folder = folder
        self.grid = grid
        names = (*PLANES, *DERIVATIVE) if derivative else tuple(PLANES)
        mode: Any = "r+" if writable else "r"
        self.planes: dict[str, NDArray[Any]] = {name: _mapped(folder / f"{name}.npy", mode) for name in names}
        self.more_planes: dict[str, NDArray[Any]] = {}
        if samples > 1:
            self.more_planes = {name: _mapped(folder / f"{MORE}{name}.npy", mode) for name in names}
        self.n: NDArray[np.int32] = self.planes["n"]
        self.nf: NDArray[np.float32] = self.planes["nf"]
        self._words = samples * sum(plane.itemsize for plane in self.planes.values()) // 4
        self._scratch: NDArray[np.int32] | None = None
        self._commits = os.open(folder / "commits.bin", os.O_RDWR | os.O_CLOEXEC) if writable else -1

    def tile(self, x: int, y: int, width: int, height: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Views of the counts and their fractions."""
        where = slice(y, y + height), slice(x, x + width)
        return self.n[where], self.nf[where]

    def more(self, x: int, y: int, width: int, height: int) -> dict[str, NDArray[np.complex64]]:
        """Views of the last z and the distance, where it has them."""
        where = slice(y, y + height), slice(x, x + width)
        return {name: self.planes[name][where] for name in DERIVATIVE if name in self.planes}

    def samples(self, x: int, y: int, width: int, height: int) -> dict[str, NDArray[Any]]:
        """Views of the samples after the first, [samples - 1, height, width], by plane; empty where there are none."""
        where = slice(None), slice(y, y + height), slice(x, x + width)
        return {name: plane[where] for name, plane in self.more_planes.items()}

    def all_samples(self, x: int, y: int, width: int, height: int, step: int = 1) -> dict[str, Any]:
        """All of a part of the frame by plane, [samples, height, width], or every step-th pixel of it.

        Where there are several samples it is a copy.
        """
        where = slice(y, y + height, step), slice(x, x + width, step)
        return {
            name: np.concatenate([plane[where][None], self.more_planes[name][:, *where]])
            if self.more_planes
            else plane[where][None]
            for name, plane in self.planes.items()
        }

    def reset(self, x: int, y: int, width: int, height: int) -> None:
        """Have a tile computed again from scratch."""
        self.n[y : y + height, x : x + width] = PENDING
        self._leave_unsampled(x, y, width, height)

    def _leave_unsampled(self, x: int, y: int, width: int, height: int) -> None:
        for name, plane in self.samples(x, y, width, height).items():
            plane[...] = NOT_SAMPLED if name == "n" else 0

    def leave_out(self, holes: Iterable[Rect]) -> None:
        """Nobody computes these pixels any more; over whatever a dead worker left there."""
        for x, y, width, height in holes:
            n, nf = self.tile(x, y, width, height)
            for plane in (nf, *self.more(x, y, width, height).values()):
                plane[...] = 0.0
            n[...] = HOLE
            self._leave_unsampled(x, y, width, height)

    def commit(self, index: int, attempt: int, *, holes: bool = False) -> None:
        """Write the record of a finished tile; its pixels are there already."""
        record = RECORD.pack(attempt, WITH_HOLES if holes else WHOLE, self.digest(index))
        os.pwrite(self._commits, record, index * RECORD.size)

    def _record(self, index: int) -> tuple[int, int]:
        """(kind, digest) of a tile's record."""
        record = os.pread(self._commits, RECORD.size, index * RECORD.size)
        _, kind, digest = RECORD.unpack(record) if len(record) == RECORD.size else (0, 0, 0)
        return kind, digest

    def holes(self) -> tuple[Rect, ...]:
        """Of all committed tiles."""
        tiles = self.grid.columns * self.grid.rows
        return tuple(hole for index in range(tiles) if self._record(index)[0] == WITH_HOLES for hole in self._in(index))

    def _in(self, index: int) -> list[Rect]:
        x, y, width, height = rect(self.grid, index)
        n, _ = self.tile(x, y, width, height)
        return [(x + left, y + top, wide, high) for left, top, wide, high in rectangles(n == HOLE)]

    def digest(self, index: int) -> int:
        """64 bits over all planes of a tile: against torn writes, not against people."""
        place = rect(self.grid, index)
        # Into the same memory every time: fresh memory for each copy costs more than copy and digest together.
        if self._scratch is None:
            self._scratch = np.empty(self._words * self.grid.tile_px * self.grid.tile_px, np.int32)
        begin = 0
        for plane in (*self.tile(*place), *self.more(*place).values(), *self.samples(*place).values()):
            end = begin + plane.nbytes // 4
            np.copyto(self._scratch[begin:end].view(plane.dtype).reshape(plane.shape), plane)
            begin = end
        return xxhash.xxh3_64_intdigest(self._scratch[:begin].data)

    def cost(self, index: int, inside: int) -> float | None:
        """What a tile is expected to cost: the mean count of its sampled pixels, for all of them. None without any.

        inside: what a pixel that never escapes counts for.
        """
        x, y, width, height = rect(self.grid, index)
        columns = slice(x + -x % PREVIEW_STEP, x + width, PREVIEW_STEP)
        samples = self.n[y + -y % PREVIEW_STEP : y + height : PREVIEW_STEP, columns]
        if not samples.size or (samples == PENDING).any():
            return None
        return int(np.where(samples < 0, inside, samples).sum(dtype=np.int64)) / samples.size * height * width

    def costs(self, inside: int) -> tuple[float, ...]:
        """Of all tiles; nothing if one of them is not known. What was known once is read again."""
        tiles, path = self.grid.columns * self.grid.rows, self.folder / COSTS
        with contextlib.suppress(OSError, msgspec.DecodeError):
            known = msgspec.json.decode(path.read_bytes(), type=tuple[float, ...])
            return known if len(known) == tiles else ()
        found = [self.cost(index, inside) for index in range(tiles)]
        costs = tuple(cost for cost in found if cost is not None)
        if len(costs) < tiles:
            return ()
        with contextlib.suppress(OSError):
            # On a full disk the next look does without.
            fresh = path.with_name(f".{COSTS}.part")
            fresh.write_bytes(msgspec.json.encode(costs))
            fresh.replace(path)
        return costs

    def touch(self) -> None:
        """Map the pages of a frame of moderate size at once: a fault for each page costs several times as much."""
        for plane in (*self.planes.values(), *self.more_planes.values()):
            mapping: object = plane
            while isinstance(mapping, np.ndarray):
                mapping = mapping.base
            if isinstance(mapping, mmap.mmap) and plane.nbytes <= TOUCH_LIMIT_BYTES:
                # Linux before 5.14 does not know it; then they are mapped one by one.
                with contextlib.suppress(OSError):
                    mapping.madvise(MADV_POPULATE_WRITE)

    def committed(self, max_iter: int, is_stopped: IsStopped, inside: int) -> Recovered:
        """Tiles whose record fits their pixels; the others are reset. Raises Interrupted."""
        costs = self.costs(inside)
        good, damaged = [], []
        holes: list[Rect] = []
        iterations = 0
        for index in range(self.grid.columns * self.grid.rows):
            if is_stopped():
                raise Interrupted
            kind, digest = self._record(index)
            if kind and digest == self.digest(index):
                good.append(index)
                n, _ = self.tile(*rect(self.grid, index))
                iterations += int(np.where(n < 0, max_iter, n).sum(dtype=np.int64))
                if (more := self.samples(*rect(self.grid, index)).get("n")) is not None:
                    sampled = more[more > NOT_SAMPLED]
                    iterations += int(np.where(sampled < 0, max_iter, sampled).sum(dtype=np.int64))
                if kind == WITH_HOLES:
                    holes += self._in(index)
                    iterations -= max_iter * int(np.count_nonzero(n == HOLE))
            else:
                if kind:
                    damaged.append(index)
                os.pwrite(self._commits, bytes(RECORD.size), index * RECORD.size)
                self.reset(*rect(self.grid, index))
        return Recovered(tuple(good), iterations, tuple(holes), tuple(damaged), costs)

    def close(self) -> None:
        """Close files and mappings. Idempotent."""
        if self._commits >= 0:
            os.close(self._commits)
            self._commits = -1
        if self.planes:
            del self.n, self.nf
        self.planes.clear()
        self.more_planes.clear()


def frame_bytes(request: RenderRequest) -> int:
    """Of the planes of a frame: 8 bytes a pixel, 24 with a derivative, and as much for every further sample."""
    names = PLANES | (DERIVATIVE if request.needs_derivative else {})
    a_pixel = sum(np.dtype(kind).itemsize for kind, _ in names.values())
    return request.width_px * request.height_px * request.samples * a_pixel


def inside_cost(request: RenderRequest) -> int:
    """What a pixel that never escapes is expected to cost, in iterations."""
    return min(request.max_iter, INTERIOR_COST) if request.interior_tests else request.max_iter


def rectangles(mask: NDArray[np.bool_]) -> list[Rect]:
    """The true cells of a mask as rectangles, x, y, width, height, that do not overlap."""
    left = mask.copy()
    found = []
    while left.any():
        y, x = (int(place) for place in np.unravel_index(left.argmax(), left.shape))
        row = left[y : y + 1, x:]
        width = row.size if row.all() else int(row.argmin())
        rows = left[y:, x : x + width].min(axis=1, keepdims=True)
        height = rows.size if rows.all() else int(rows.argmin())
        left[y : y + height, x : x + width] = False
        found.append((x, y, width, height))
    return found


def _mapped(path: Path, mode: Any) -> NDArray[Any]:
    """A file as an array. Not as a `numpy.memmap`, of which each slice costs several times as much."""
    mapped: NDArray[Any] = np.load(path, mmap_mode=mode)
    return mapped.view(np.ndarray)


def folder_name(operation_id: str) -> str:
    """The prefix keeps an id like `..` from being a path."""
    return PREFIX + operation_id


def operation_of(folder: Path) -> str | None:
    """The operation a folder belongs to, None if it is not one of ours."""
    return folder.name.removeprefix(PREFIX) if folder.name.startswith(PREFIX) else None


def create(folder: Path, info: FrameInfo, is_stopped: IsStopped = bool) -> None:
    """A new frame with every pixel pending, complete under its name or not there. Raises OSError, Interrupted."""
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True, mode=0o700)
    try:
        shape = info.grid.height_px, info.grid.width_px
        for name, (kind, value) in (PLANES | (DERIVATIVE if info.derivative else {})).items():
            _plane(building / f"{name}.npy", shape, np.dtype(kind), value, is_stopped)
            if info.samples > 1:
                more, unsampled = (info.samples - 1, *shape), NOT_SAMPLED if name == "n" else value
                _plane(building / f"{MORE}{name}.npy", more, np.dtype(kind), unsampled, is_stopped)
        tiles = info.grid.columns * info.grid.rows
        (building / "commits.bin").write_bytes(bytes(tiles * RECORD.size))
        (building / "frame.json").write_bytes(msgspec.json.encode(info))
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _plane(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], value: int, is_stopped: IsStopped) -> None:
    with path.open("xb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        start = file.tell()
        size = math.prod(shape) * dtype.itemsize
        # Fails now, where it can be told, instead of killing a worker by SIGBUS later.
        os.posix_fallocate(file.fileno(), start, size)
        # Written, not filled through a mapping: that would fault page by page here, and again in each worker.
        if value or size <= TOUCH_LIMIT_BYTES:
            chunk = memoryview(np.full(WRITE_BYTES // dtype.itemsize, value, dtype).data).cast("B")
            end = start + size
            for at in range(0, end, WRITE_BYTES):
                if is_stopped():
                    raise Interrupted
                file.write(chunk[: min(at + WRITE_BYTES, end) - max(at, start)])


def recover(
    folder: Path, info: FrameInfo, max_iter: int, is_stopped: IsStopped = bool, *, inside: int | None = None
) -> Recovered | None:
    """What an earlier claim has left; None if there is no frame of this picture.

    inside: what a pixel that never escapes is expected to cost, in iterations; max_iter without it.
    Raises OSError if the frame is there and cannot be opened now: what is finished is not thrown away for want of a
    descriptor. Raises Interrupted.
    """
    try:
        known = msgspec.json.decode((folder / "frame.json").read_bytes(), type=FrameInfo)
        if known != info:
            return None
        frame = Frame(folder, info.grid, derivative=info.derivative, samples=info.samples)
    except (FileNotFoundError, NotADirectoryError, ValueError, EOFError, msgspec.DecodeError):
        return None
    try:
        return frame.committed(max_iter, is_stopped, max_iter if inside is None else inside)
    finally:
        frame.close()


def read_artifacts(folder: Path) -> tuple[Artifact, ...] | None:
    """The artefacts of a finished folder, None if it is not one."""
    try:
        return msgspec.json.decode((folder / ARTIFACTS).read_bytes(), type=tuple[Artifact, ...])
    except (OSError, msgspec.DecodeError):
        return None


def read_artifact(folder: Path, name: str) -> Artifact | None:
    """A picture that came later, as is written beside it; None if it is not there."""
    try:
        return msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Artifact)
    except (OSError, msgspec.DecodeError):
        return None


def read_holes(folder: Path) -> tuple[Rect, ...]:
    """The holes of a finished folder."""
    try:
        return msgspec.json.decode((folder / HOLES).read_bytes(), type=tuple[Rect, ...])
    except (OSError, msgspec.DecodeError):
        return ()


def flush(folder: Path) -> None:
    """Have the disk know the files of a folder, and the folder."""
    for path in folder.iterdir():
        _sync(path, os.O_RDONLY)
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Have the disk know which files a folder has."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe(folder: Path, name: str, media_type: str, is_stopped: IsStopped = bool) -> Artifact:
    """Size and SHA-256 of a file. Raises Interrupted."""
    digest = hashlib.sha256()
    buffer = bytearray(DIGEST_BYTES)
    with (folder / name).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            if is_stopped():
                raise Interrupted
            digest.update(memoryview(buffer)[:count])
        size = file.tell()
    return Artifact(name=name, media_type=media_type, size_bytes=size, sha256=digest.hexdigest())
