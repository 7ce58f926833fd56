"""The formulas that can be rendered: what they are called, what they take, how far out they never return from.

How they are computed is in `rfm_kernels.formulas`, under the same names. Others come from installed packages: an entry
point of the group `rfm_runtime.formulas` whose object has the attributes of `FormulaInfo`, and `step` with what
`rfm_kernels.formulas.Formula` says of it.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["FORMULAS", "FormulaInfo"]


class FormulaInfo(Struct, frozen=True, kw_only=True):
    """A formula for people to choose from.

    takes: parameters of a request that mean something to it, and to no formula that does not have them here. julia:
    whether it has Julia sets, with c fixed and the pixel as z₀. converges: it ends where a step is shorter than the
    tolerance, not where |z| is larger than the bailout radius. in_plane: the pixel is always z₀.
    """

    name: str
    description: str
    takes: tuple[str, ...] = ()
    julia: bool = True
    converges: bool = False
    in_plane: bool = False


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
        description="z − R·f(z)/f′(z) for a polynomial f: which root a point falls to, and how soon",
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

FORMULAS: dict[str, FormulaInfo] = {formula.name: formula for formula in _ALL}
"""By name, in the order to show them."""
