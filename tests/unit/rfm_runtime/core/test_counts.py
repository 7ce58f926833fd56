"""One is one, and all else is several."""

from __future__ import annotations

import pytest

from rfm_runtime.core.counts import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 attempts"), (1, "1 attempt"), (2, "2 attempts"), (12_345, "12,345 attempts")]
)
def test_a_number_of_things(number: int, text: str) -> None:
    assert counted(number, "attempt") == text


def test_some_have_a_plural_of_their_own() -> None:
    assert [counted(number, "file or folder", "files and folders") for number in (1, 2)] == [
        "1 file or folder",
        "2 files and folders",
    ]
