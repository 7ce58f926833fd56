"""What ended programs left is heard whole, whatever they were doing when the broker looked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime.broker import left
from rfm_runtime.broker.left import Left, Reading
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.internal import Announce, LastWord, OperationMeasure, Outcome, Principal, Source
from rfm_runtime.store.last_words import Keeper, beside, file_of, files
from rfm_runtime.testing.disk import CANNOT_MOUNT, can_mount, small_disk

pytestmark = pytest.mark.scenario("J33")

NAME = "reporter-left"


def word(operation_id: str) -> LastWord:
    measure = OperationMeasure(1, 2, 3, 4.0)
    announce = Announce(
        principal=Principal("local", ("admin",)), operation_id=operation_id, kind="test", name="n", measure=measure
    )
    outcome = Outcome(operation_id=operation_id, generation=1, state="completed", final=measure)
    return LastWord(announce=announce, outcome=outcome, kept_at_ms=5)


class Program:
    """Another process, which keeps an outcome, then another one, and ends."""

    def __init__(self, folder: Path) -> None:
        kept, self._go_on = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                keeper = Keeper(folder, source(NAME, 1))
                keeper.keep([word("first")])
                os.write(kept[1], b".")
                os.read(self._go_on[0], 1)
                keeper.keep([word("last")])
            finally:
                os._exit(0)
        os.read(kept[0], 1)
        for descriptor in kept:
            os.close(descriptor)

    def end(self) -> None:
        """Let it keep its last outcome, and wait for its end."""
        os.write(self._go_on[1], b".")
        os.waitpid(self.pid, 0)
        for descriptor in self._go_on:
            os.close(descriptor)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def look(here: Left) -> list[str]:
    """Look into the folder, and hear all that is there."""
    for _ in here.look():
        pass
    return [operation_id for _, ids in slices(here) for operation_id in ids]


def slices(here: Left, limit: int = 50) -> Iterator[tuple[Reading, list[str]]]:
    while (found := here.next(limit)) is not None:
        reading, words = found
        yield reading, [one.outcome.operation_id for one in words]


def test_a_living_program_is_left_alone_and_an_ended_one_is_heard_once(tmp_path: Path, program: Program) -> None:
    here = Left(tmp_path)
    assert look(here) == []
    program.end()
    assert look(here) == ["first", "last"]
    here.heard(NAME)
    assert look(here) == []
    here.forget(NAME)
    assert files(tmp_path) == []


def test_what_is_kept_while_the_broker_looks_is_heard(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last outcome and its end come after the broker has begun to look at its file."""
    has_ended = left._has_ended

    def ends_meanwhile(one: Source) -> bool:
        program.end()
        return has_ended(one)

    monkeypatch.setattr(left, "_has_ended", ends_meanwhile)
    assert look(Left(tmp_path)) == ["first", "last"]


@pytest.mark.parametrize("size", [0, 4, 30])
def test_a_file_that_was_just_begun_is_read_when_there_is_more_in_it(tmp_path: Path, size: int) -> None:
    own = source(NAME, 1)
    path = file_of(tmp_path, NAME)
    assert path is not None
    Keeper(tmp_path, own).keep([word("first")])
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    here = Left(tmp_path)
    assert look(here) == []
    path.write_bytes(whole)
    assert here.died(own)
    assert [ids for _, ids in slices(here)] == [["first"]]


def test_what_cannot_be_removed_is_not_heard_again_and_again(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip(CANNOT_MOUNT)
    with small_disk(tmp_path / "disk", 1024 * 1024) as disk:
        program = Program(disk.path)
        program.end()
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        here = Left(disk.path)
        assert look(here) == ["first", "last"]
        here.heard(NAME)
        here.forget(NAME)
        assert len(files(disk.path)) == 1
        assert look(here) == []
        assert look(Left(disk.path)) == ["first", "last"]


def leave(folder: Path, name: str, number: int) -> Source:
    """What a program of that name left, which is this one's."""
    own = source(name, 1)
    Keeper(folder, own).keep([word(f"{name}-{place}") for place in range(number)])
    return own


def test_of_thousands_some_are_heard_at_a_time_and_programs_take_turns(tmp_path: Path) -> None:
    many, few = leave(tmp_path, "many", 120), leave(tmp_path, "few", 3)
    here = Left(tmp_path)
    assert here.died(many)
    assert here.died(few)
    heard = [(reading.source.name, len(ids), reading.over) for reading, ids in slices(here)]
    assert heard == [("many", 50, False), ("few", 3, True), ("many", 50, False), ("many", 20, True)]


def test_who_is_told_dead_while_it_is_heard_is_dead_when_all_of_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its other outcomes would come too late."""
    monkeypatch.setattr(left, "_has_ended", lambda _: True)
    own = leave(tmp_path, NAME, 70)
    here = Left(tmp_path)
    for _ in here.look():
        pass
    first = here.next(50)
    assert first is not None
    assert not first[0].died
    assert here.died(own)
    # A look meanwhile does not begin anew.
    for _ in here.look():
        pass
    assert [(reading.died, reading.over, reading.whole, len(ids)) for reading, ids in slices(here)] == [
        (True, True, True, 20)
    ]


def test_what_goes_bad_while_it_is_heard_stays_and_is_not_whole(tmp_path: Path) -> None:
    own = leave(tmp_path, NAME, 60)
    here = Left(tmp_path)
    assert here.died(own)
    assert here.next(50) is not None
    path = file_of(tmp_path, NAME)
    assert path is not None
    path.unlink()
    assert [(reading.whole, reading.over, ids) for reading, ids in slices(here)] == [(False, True, [])]


def test_what_a_program_left_that_was_killed_while_it_wrote_its_file_anew_goes_with_it(tmp_path: Path) -> None:
    leave(tmp_path, NAME, 1)
    path = file_of(tmp_path, NAME)
    assert path is not None
    beside(path).write_bytes(b"half")
    here = Left(tmp_path)
    here.forget(NAME)
    assert list(tmp_path.iterdir()) == []
