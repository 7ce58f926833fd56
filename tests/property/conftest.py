"""Property tests have the time to say what they have found."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHRINKING_S = 300
"""Hypothesis makes a failing example smaller for so long; killed in it, a test says nothing at all."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(float(config.getini("timeout")) + SHRINKING_S))
