"""Presets as parameters; apart, so that a client that renders none does not load the palettes."""

from __future__ import annotations

from typing import Any

import msgspec

from rfm_runtime.render.presets import preset

__all__ = ["preset_params"]


def preset_params(name: str) -> dict[str, Any]:
    """The parameters of a preset that differ from the defaults. Raises BadRequestError."""
    request = preset(name).request
    defaults = {
        field.name: field.default for field in msgspec.structs.fields(request) if field.default is not msgspec.NODEFAULT
    }
    fields = msgspec.structs.asdict(request)
    return {name: value for name, value in fields.items() if name not in defaults or defaults[name] != value}
