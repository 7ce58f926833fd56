"""Presets as parameters; apart, so that a client that renders none does not load the palettes."""

from __future__ import annotations

from typing import Any

from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.presets import preset

__all__ = ["preset_params"]


def preset_params(name: str) -> dict[str, Any]:
    """The parameters of a preset that differ from the defaults. Raises BadRequestError."""
    return non_defaults(preset(name).request)
