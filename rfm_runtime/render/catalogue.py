"""What can be rendered, for people and programs to ask: formulas, and what each parameter of a request means."""

from __future__ import annotations

from typing import Any

import msgspec

from rfm_runtime.render.formulas import FORMULAS, FormulaInfo
from rfm_runtime.render.request import RenderRequest

__all__ = ["KIND", "formulas", "kinds", "parameter_schema"]

KIND = "render.escape_time"


def formulas() -> tuple[FormulaInfo, ...]:
    """All formulas, in the order to show them."""
    return tuple(FORMULAS.values())


def parameter_schema() -> dict[str, Any]:
    """JSON Schema of a request's parameters, self-contained."""
    return msgspec.json.schema(RenderRequest)


def kinds() -> dict[str, dict[str, Any]]:
    """The kinds of operation that renders are submitted as, with the schema of their parameters."""
    return {KIND: parameter_schema()}
