"""What the shell offers at the Tab key: presets, formulas, palettes, ids. Whatever goes wrong, it is silent."""

from __future__ import annotations

from rfm_runtime.errors import RfmError

__all__ = ["formulas", "operations", "palettes", "presets"]


def presets(incomplete: str) -> list[tuple[str, str]]:
    """Names of presets, with their titles."""
    from rfm_runtime.render.presets import PRESETS

    return [(name, preset.title) for name, preset in PRESETS.items() if name.startswith(incomplete)]


def formulas(incomplete: str) -> list[tuple[str, str]]:
    """Names of formulas, with what they are."""
    from rfm_runtime.render.formulas import FORMULAS

    return [(name, formula.description) for name, formula in FORMULAS.items() if name.startswith(incomplete)]


def palettes(incomplete: str) -> list[str]:
    """Names of palettes."""
    from rfm_runtime.render.palettes import PALETTES

    return [name for name in PALETTES if name.startswith(incomplete)]


def operations(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the local runtime's operations, with name and state."""
    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.core.text import printable

    try:
        with Client(name="cli") as connected:
            found = connected.operations(limit=50)
    except (RfmError, OSError):
        return []
    return [(o.operation_id, f"{printable(o.name)} {o.state}") for o in found if o.operation_id.startswith(incomplete)]
