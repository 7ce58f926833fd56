"""What a render *is*: request and validation, formulas, presets, palettes, plan. Pure, without numba or numpy."""
