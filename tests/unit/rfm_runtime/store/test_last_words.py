"""Outcomes that are left on disk: whole records are read, whatever happened to the end of the file."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.internal import Announce, LastWord, OperationMeasure, Outcome, Principal, Source
from rfm_runtime.store import last_words
from rfm_runtime.store.last_words import Keeper, file_of, files, read

SOURCE = Source("reporter-7-ab", "host", "boot", 7, 12.5, 1)


def word(operation_id: str) -> LastWord:
    measure = OperationMeasure(1, 2, 3, 4.0)
    announce = Announce(
        principal=Principal("local", ("admin",)), operation_id=operation_id, kind="test", name="é", measure=measure
    )
    outcome = Outcome(operation_id=operation_id, generation=1, state="completed", final=measure)
    return LastWord(announce=announce, outcome=outcome, kept_at_ms=5)


def left(path: Path) -> list[str]:
    return [one.outcome.operation_id for one in read(path).words]


@pytest.mark.scenario("J33")
def test_what_is_kept_is_read_in_order_and_once(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, SOURCE)
    assert files(tmp_path) == []
    keeper.keep([word("a"), word("b")])
    keeper.keep([word("b"), word("c")])
    (path,) = files(tmp_path)
    assert path == file_of(tmp_path, SOURCE.name)
    assert path.stat().st_mode & 0o077 == 0
    found = read(path)
    assert (found.source, found.damaged) == (SOURCE, False)
    assert found.words == [word("a"), word("b"), word("c")]


@pytest.mark.scenario("J33")
def test_the_file_goes_with_the_last_that_is_settled_and_comes_again(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, SOURCE)
    keeper.settled("never kept")
    keeper.keep([word("a"), word("b")])
    keeper.settled("a")
    assert len(files(tmp_path)) == 1
    keeper.settled("b")
    assert files(tmp_path) == []
    assert keeper.kept == set()
    keeper.keep([word("a")])
    assert left(files(tmp_path)[0]) == ["a"]


@pytest.mark.scenario("J33")
def test_a_file_that_was_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    Keeper(tmp_path, SOURCE).keep([word("a"), word("b")])
    (path,) = files(tmp_path)
    content = path.read_bytes()
    seen = set()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        try:
            found = read(path)
        except BadRequestError:
            seen.add(None)
            continue
        assert [one.outcome.operation_id for one in found.words] == ["a", "b"][: len(found.words)]
        assert len(found.words) < 2
        seen.add(len(found.words))
    assert seen == {None, 0, 1}


@pytest.mark.scenario("J33")
def test_a_record_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    Keeper(tmp_path, SOURCE).keep([word("a"), word("b")])
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = read(path)
    assert found.damaged
    assert [one.outcome.operation_id for one in found.words] == ["a"]


@pytest.mark.parametrize("content", [b"", b"rfmlast\x02" + bytes(50), b"\x00" * 100, last_words.MAGIC])
def test_what_is_no_file_of_this_release_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"x{last_words.SUFFIX}"
    path.write_bytes(content)
    with pytest.raises(BadRequestError):
        read(path)


@pytest.mark.scenario("J33", "F7")
def test_without_room_no_half_record_is_left(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, SOURCE)
    keeper.keep([word("a")])
    (path,) = files(tmp_path)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            keeper.keep([word("b")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert keeper.kept == {"a"}
    keeper.keep([word("c")])
    assert (left(path), read(path).damaged) == (["a", "c"], False)


def test_more_than_the_limit_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "LIMIT_BYTES", 400)
    keeper = Keeper(tmp_path, SOURCE)
    keeper.keep([word("a")])
    with pytest.raises(OSError, match="more are not kept"):
        keeper.keep([word(str(number)) for number in range(10)])
    assert left(files(tmp_path)[0]) == ["a"]


def test_without_a_folder_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Keeper(tmp_path / "none", SOURCE).keep([word("a")])
    assert files(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "ä", "x\0"])
def test_a_name_that_is_no_name_of_a_file(tmp_path: Path, name: str) -> None:
    assert file_of(tmp_path, name) is None
