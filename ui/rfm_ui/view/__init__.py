"""Qt: the only place that imports it."""
