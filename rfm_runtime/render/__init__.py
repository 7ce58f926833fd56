"""What a render *is*: request, validation, formulas, presets, palettes, plan. Pure: no numba, no numpy."""
