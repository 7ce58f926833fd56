"""Widgets that work in anybody's Qt program: see docs/viewer.md."""
