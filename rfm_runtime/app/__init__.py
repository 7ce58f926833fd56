"""Composition root: which processes make a runtime, how they start, are watched, and stop."""
