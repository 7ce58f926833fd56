"""The formulas that can be rendered, and what each parameter of a request means."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.render.request import FORMULAS, RenderRequest

__all__ = ["KIND", "Formula", "formulas", "kinds", "parameter_schema"]

KIND = "render.escape_time"

DESCRIPTIONS = {
    "mandelbrot": "z² + c from z = 0; with julia_re and julia_im the Julia set of that c",
}


class Formula(Struct, frozen=True, kw_only=True):
    """A formula for people to choose from."""

    name: str
    description: str
    julia: bool


def formulas() -> tuple[Formula, ...]:
    """All formulas, in the order to show them."""
    return tuple(Formula(name=name, description=DESCRIPTIONS[name], julia=True) for name in FORMULAS)


def parameter_schema() -> dict[str, Any]:
    """JSON Schema of a request's parameters, self-contained."""
    return msgspec.json.schema(RenderRequest)


def kinds() -> dict[str, dict[str, Any]]:
    """The kinds of operation that renders are submitted as, with the schema of their parameters."""
    return {KIND: parameter_schema()}
