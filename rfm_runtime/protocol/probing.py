"""What a face asks about the place under its pointer: what becomes of it, and that it is computed first."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from rfm_runtime.protocol.operation import OperationId

__all__ = ["ORBIT_LIMIT", "PLACES_LIMIT", "POINTS_LIMIT", "ProbePoints", "ProbeReply", "ProbedPoint", "SetFocus"]

POINTS_LIMIT = 64
ORBIT_LIMIT = 1000
"""Places of one orbit: more than can be told apart in a picture."""
PLACES_LIMIT = 4000
"""Of all orbits of a request together: an answer of 150 KB."""

Place = Annotated[int, Meta(ge=0, le=65_535)]


class ProbePoints(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of these pixels of a render that runs or is finished? → `ProbeReply`

    points: x, y from the upper left corner. orbit: how many places of each of
    their orbits are wanted, 0: none; at most 4,000 of all together.
    """

    operation_id: OperationId
    points: Annotated[list[tuple[Place, Place]], Meta(min_length=1, max_length=POINTS_LIMIT)]
    orbit: Annotated[int, Meta(ge=0, le=ORBIT_LIMIT)] = 0


Share = Annotated[float, Meta(ge=0, le=1)]


class SetFocus(Struct, frozen=True, kw_only=True):
    """`set_focus`: what is left of a render is computed from there outwards; of one that has ended nothing is. → `ok`

    x, y: parts of the picture's width and height, from its upper left corner.
    """

    operation_id: OperationId
    x: Share
    y: Share


class ProbedPoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of the point at the centre of a pixel; what is left out is not known.

    x, y: the pixel. re, im: the point. n: applications of the formula up to the first |z| beyond the bailout radius, or
    up to the first step shorter than the tolerance; -1: none within max_iter. mu: the smooth count, where there is one.
    interior: whether its orbit was seen to go to a cycle. period: of that cycle. distance: estimated distance to the
    set, in units of the plane. orbit: real and imaginary parts in turn, from z₀ on, up to the escape.
    """

    x: int
    y: int
    re: float
    im: float
    n: int | None = None
    mu: float | None = None
    interior: bool | None = None
    period: int | None = None
    distance: float | None = None
    orbit: tuple[float, ...] = ()


class ProbeReply(Struct, frozen=True):
    """In the order of the request's points."""

    operation_id: str
    points: list[ProbedPoint]
