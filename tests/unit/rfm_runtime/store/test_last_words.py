"""Outcomes that are left on disk: whole records are read, whatever happened to the end of the file."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.internal import Announce, LastWord, OperationMeasure, Outcome, Principal, Source
from rfm_runtime.store import last_words
from rfm_runtime.store.last_words import Keeper, file_of, files, first, read, slice_of

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
def test_what_is_settled_leaves_the_file_though_one_of_it_never_is(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, SOURCE)
    keeper.keep([word("never")])
    (path,) = files(tmp_path)
    alone = path.stat().st_size
    for number in range(20):
        ids = [f"{number}-{place}" for place in range(1000)]
        keeper.keep([word(oid) for oid in ids])
        for oid in ids:
            keeper.settled(oid)
    assert keeper.waiting.keys() == {"never"}
    # Of 20,000 that were there once.
    assert path.stat().st_size < alone + 1000 * 250 + last_words.WASTE_BYTES
    assert left(path)[0] == "never"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o077 == 0
    keeper.keep([word("last")])
    assert (left(path)[0], left(path)[-1]) == ("never", "last")
    keeper.settled("never")
    keeper.settled("last")
    assert files(tmp_path) == []


@given(
    steps=st.lists(st.tuples(st.sampled_from(["keep", "settle"]), st.sampled_from("abcdef")), max_size=40),
    waste=st.integers(1, 1000),
)
def test_whatever_is_kept_and_settled_all_that_waits_is_in_the_file(
    steps: list[tuple[str, str]], waste: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("last")
    waiting: set[str] = set()
    keeper = Keeper(folder, SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_words, "WASTE_BYTES", waste)
        for what, operation_id in steps:
            if what == "keep":
                keeper.keep([word(operation_id)])
                waiting |= {operation_id} - (keeper.kept - keeper.waiting.keys())
            else:
                keeper.settled(operation_id)
                waiting.discard(operation_id)
            assert keeper.waiting.keys() == waiting
            there = [one for path in files(folder) for one in left(path)]
            assert waiting <= set(there)
            assert len(there) == len(set(there))
            if not waiting:
                assert there == []


@pytest.mark.scenario("J33", "F7")
def test_a_file_that_cannot_be_written_anew_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "WASTE_BYTES", 1)
    keeper = Keeper(tmp_path, SOURCE)
    keeper.keep([word("a"), word("b")])
    (path,) = files(tmp_path)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            keeper.settled("a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert left(path) == ["a", "b"]
    assert list(tmp_path.iterdir()) == [path]
    keeper.keep([word("c")])
    assert left(path) == ["a", "b", "c"]


def test_settled_outcomes_are_no_reason_to_keep_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(tmp_path, SOURCE)
    keeper.keep([word("a"), word("b"), word("c")])
    monkeypatch.setattr(last_words, "LIMIT_BYTES", files(tmp_path)[0].stat().st_size)
    keeper.settled("b")
    keeper.keep([word("d")])
    assert left(files(tmp_path)[0]) == ["a", "c", "d"]


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_it_is_read_in_slices_of_any_size(tmp_path: Path, limit: int) -> None:
    Keeper(tmp_path, SOURCE).keep([word(oid) for oid in "abcde"])
    (path,) = files(tmp_path)
    source, at = first(path)
    assert source == SOURCE
    found: list[str] = []
    while True:
        part = slice_of(path, at, limit)
        assert len(part.words) <= limit
        found += [one.outcome.operation_id for one in part.words]
        if part.after is None:
            break
        at = part.after
    assert found == list("abcde")


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
