"""The formulas that can be rendered: what they are called, what they take, how far out they never return from.

How they are computed is in `rfm_kernels.formulas`, under the same names. Others come from installed packages: entry
points of the group `rfm_runtime.formulas`, each an `rfm_kernels.formulas.Formula` under its name, without parameters or
with two, the complex number p. See docs/formulas.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from msgspec import Struct

from rfm_runtime.errors import BadRequestError

__all__ = ["FORMULAS", "FormulaInfo", "is_built_in", "unusable"]


class FormulaInfo(Struct, frozen=True, kw_only=True):
    """A formula for people to choose from.

    takes: parameters of a request that mean something to it, and to no formula that does not have them here. julia:
    whether it has Julia sets, with c fixed and the pixel as z₀. converges: it ends where a step is shorter than the
    tolerance, not where |z| is larger than the bailout radius. in_plane: the pixel is always z₀. degree: of the growth
    of |z|, where it does not follow from the request.
    """

    name: str
    description: str
    takes: tuple[str, ...] = ()
    julia: bool = True
    converges: bool = False
    in_plane: bool = False
    degree: float = 2.0


GROUP = "rfm_runtime.formulas"
"""Of `rfm_kernels.formulas`."""

DEGREE_LIMIT = 64
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

_ALL = (
    FormulaInfo(name="mandelbrot", description="z² + c"),
    FormulaInfo(name="multibrot", description="zᵈ + c for a power d of 2 to 16", takes=("power",)),
    FormulaInfo(name="burning_ship", description="(|x| + i|y|)² + c: x² − y² + a, 2|xy| + b"),
    FormulaInfo(name="perpendicular_ship", description="x² − y² + a, 2x|y| + b"),
    FormulaInfo(name="celtic", description="|x² − y²| + a, 2xy + b"),
    FormulaInfo(name="buffalo", description="|x² − y²| + a, 2|xy| + b"),
    FormulaInfo(name="tricorn", description="the conjugate of z², + c: x² − y² + a, −2xy + b"),
    FormulaInfo(name="phoenix", description="z² + c + p·z₋₁, with the point before", takes=("p",)),
    FormulaInfo(
        name="newton",
        description="z − R·f(z)/f′(z) for a polynomial f: how soon a point falls to one of its roots",
        takes=("coefficients", "roots", "relaxation", "tolerance"),
        julia=False,
        converges=True,
        in_plane=True,
    ),
    FormulaInfo(
        name="nova",
        description="z − R·f(z)/f′(z) + c for a polynomial f, from z = 1",
        takes=("coefficients", "roots", "relaxation", "tolerance"),
        converges=True,
    ),
)


class _Formulas(Mapping[str, FormulaInfo]):
    """The built-in ones, then those of installed packages, which are looked for only where none of ours is meant."""

    def __init__(self, own: Iterable[FormulaInfo]) -> None:
        self._own = {formula.name: formula for formula in own}

    def __getitem__(self, name: str) -> FormulaInfo:
        return self._own.get(name) or _of_package(name)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in _packaged()

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        for name in _packaged():
            # What cannot be loaded is told to who asks for it by name.
            if name not in self._own and isinstance(_looked_at(name), FormulaInfo):
                yield name

    def __len__(self) -> int:
        return len(tuple(iter(self)))


@cache
def _packaged() -> tuple[str, ...]:
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


class _Fault:
    """Keeps what somebody else's module raises, whatever that is, from whoever has asked for a formula."""

    error: BaseException | None = None

    def __enter__(self) -> _Fault:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self.error = error
        return isinstance(error, Exception | SystemExit)


@cache
def _looked_at(name: str) -> FormulaInfo | BadRequestError:
    """A package's formula, or why it cannot be used. Its module runs once, whatever comes of it."""
    hint = "tell whoever maintains the package that has it; see docs/formulas.md"
    with _Fault() as fault:
        # A Formula, whose kernels are not there where a render is only submitted.
        found: Any = next(iter(entry_points(group=GROUP, name=name))).load()
        described = (found.step.__doc__ or "of an installed package").strip().splitlines()[0]
        parameters, words, converges = int(found.parameters), int(found.words), bool(found.converges)
        degree, start = float(found.degree), tuple(map(float, found.start))
    if fault.error is not None:
        reason = f"{type(fault.error).__name__}: {fault.error}"
        return BadRequestError(f"the formula {name} cannot be loaded: {reason[:200]}", hint=hint)
    wrong = (
        (not NAME.fullmatch(name), "a name that cannot be used"),
        (parameters not in (0, 2), f"{parameters} parameters, it can have none or the two of p"),
        (words not in ((4,) if converges else (2, 4)), f"{words} words, it can have 2, or 4 with a memory"),
        (len(start) not in (2, words), f"{len(start)} words to start with, it has {words}"),
        (not 1.0 < degree <= DEGREE_LIMIT, f"the degree {degree:g}, it has to be above 1 and at most {DEGREE_LIMIT}"),
    )
    for is_wrong, what in wrong:
        if is_wrong:
            return BadRequestError(f"the formula {name[:40]} has {what}", hint=hint)
    takes = (*(("p",) if parameters else ()), *(("tolerance",) if converges else ()))
    return FormulaInfo(name=name, description=described, takes=takes, converges=converges, degree=degree)


def _of_package(name: str) -> FormulaInfo:
    """Raises KeyError, and BadRequestError for one that cannot be used."""
    if name not in _packaged():
        raise KeyError(name)
    found = _looked_at(name)
    if isinstance(found, BadRequestError):
        raise BadRequestError(found.message, hint=found.hint)
    return found


FORMULAS: Mapping[str, FormulaInfo] = _Formulas(_ALL)
"""By name, in the order to show them."""


def is_built_in(name: str) -> bool:
    """Whether it is one of ours, which is what it was as long as the sources are."""
    return any(formula.name == name for formula in _ALL)


def unusable() -> tuple[str, ...]:
    """Why formulas of installed packages cannot be used, a sentence each."""
    found = []
    for name in _packaged():
        if is_built_in(name):
            found.append(f"a package has a formula {name}, which is not used: there is one of ours")
        elif isinstance(looked := _looked_at(name), BadRequestError):
            found.append(looked.message)
    return tuple(found)
