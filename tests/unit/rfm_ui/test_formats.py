"""What is written follows from the name that was typed, and from the filter that was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.formats import FORMATS, format_of


def test_what_is_chosen_gives_a_name_its_end() -> None:
    for wanted in FORMATS:
        assert format_of(Path("a/view"), wanted.filter) == (Path(f"a/view{wanted.suffix}"), wanted)
        assert format_of(Path(f"a/view{wanted.suffix}"), wanted.filter) == (Path(f"a/view{wanted.suffix}"), wanted)


@pytest.mark.parametrize(
    ("name", "content", "bits"),
    [("x.png", "picture", 8), ("x.NPZ", "raw", 8), ("x.exr", "exr", 8), ("x.toml", "parameters", 8),
     ("x.kfr", "parameters", 8), ("x.kfp", "parameters", 8)],
)  # fmt: skip
def test_a_name_decides_where_the_filter_says_otherwise(name: str, content: str, bits: int) -> None:
    path, found = format_of(Path(name), FORMATS[2].filter if content != "raw" else FORMATS[0].filter)
    assert (path, found.content, found.bits) == (Path(name), content, bits)


def test_a_filter_tells_two_kinds_with_one_end_apart() -> None:
    assert format_of(Path("x.png"), FORMATS[1].filter)[1].bits == 16
    assert format_of(Path("x.png"))[1].bits == 8


def test_what_nobody_writes_is_said() -> None:
    with pytest.raises(BadRequestError) as told:
        format_of(Path("x.jpg"))
    assert ".png" in (told.value.hint or "")
