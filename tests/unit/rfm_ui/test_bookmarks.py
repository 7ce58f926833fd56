"""Places that somebody keeps: files of a folder, which nothing writes over, and whose names stay inside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError, SetupError
from rfm_ui.model.bookmarks import Bookmarks, file_name


@given(st.text(max_size=300))
def test_a_name_stays_in_the_folder_whatever_it_is(name: str) -> None:
    try:
        kept = file_name(name)
    except BadRequestError:
        return
    path = Path("/folder") / f"{kept}.png"
    assert path.parent == Path("/folder")
    assert not kept.startswith(".")
    assert len(os.fsencode(path.name)) <= 4 * 80 + 4
    assert file_name(kept) == kept


def test_what_is_kept_is_there_the_newest_first(tmp_path: Path) -> None:
    bookmarks = Bookmarks(tmp_path / "new" / "bookmarks")
    assert bookmarks.all() == []
    first, second = bookmarks.add("a place", b"one"), bookmarks.add("a place", b"two")
    os.utime(first.path, ns=(1, 1))
    assert [one.name for one in bookmarks.all()] == ["a place 2", "a place"]
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"one", b"two")
    # Dropped in.
    (bookmarks.folder / "theirs.png").write_bytes(b"three")
    (bookmarks.folder / "no picture.txt").write_bytes(b"four")
    assert {one.name for one in bookmarks.all()} == {"a place", "a place 2", "theirs"}


def test_names_can_be_changed_and_nothing_is_written_over(tmp_path: Path) -> None:
    bookmarks = Bookmarks(tmp_path)
    one, other = bookmarks.add("one", b"1"), bookmarks.add("other", b"2")
    assert bookmarks.rename(one, "one") == one
    moved = bookmarks.rename(one, "other")
    assert moved.name == "other 2"
    assert (moved.path.read_bytes(), other.path.read_bytes()) == (b"1", b"2")
    with pytest.raises(BadRequestError):
        bookmarks.rename(other, " / ")
    bookmarks.remove(other)
    bookmarks.remove(other)
    assert [left.name for left in bookmarks.all()] == ["other 2"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError) as told:
        Bookmarks(tmp_path / "file" / "bookmarks").add("a", b"1")
    assert "cannot make" in told.value.message
    assert told.value.hint
