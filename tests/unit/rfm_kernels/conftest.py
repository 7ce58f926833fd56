"""Kernels come from the user's cache."""

from __future__ import annotations

from tests.compiled import load_kernels


def pytest_configure() -> None:
    load_kernels()
