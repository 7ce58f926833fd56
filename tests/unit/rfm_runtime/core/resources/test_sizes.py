"""Sizes: a unit that shows the difference, and the same one for part and whole."""

from __future__ import annotations

import pytest

from rfm_runtime.core.resources.sizes import part, size

GIB = 1024**3
MIB = 1024**2


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 MiB"), (230 * MIB, "230 MiB"), (GIB, "1.0 GiB"), (1.75 * GIB, "1.8 GiB")]
)
def test_a_size_is_in_gib_from_one_on(size_bytes: float, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("some", "whole", "text"), [(1.8 * GIB, 2 * GIB, "1.8 of 2.0 GiB"), (230 * MIB, 256 * MIB, "230 of 256 MiB")]
)
def test_a_part_is_in_the_unit_of_the_whole(some: float, whole: int, text: str) -> None:
    assert part(some, whole) == text
