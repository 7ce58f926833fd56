"""What ended programs left is heard whole, whatever they were doing when the broker looked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime.broker import left
from rfm_runtime.broker.left import Left
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.internal import Announce, LastWord, OperationMeasure, Outcome, Principal, Source
from rfm_runtime.store.last_words import Found, Keeper, file_of, files
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


def ids(found: Iterator[Found]) -> list[str]:
    return [word.outcome.operation_id for one in found for word in one.words]


def test_a_living_program_is_left_alone_and_an_ended_one_is_heard_once(tmp_path: Path, program: Program) -> None:
    here = Left(tmp_path)
    assert ids(here.look()) == []
    program.end()
    assert ids(here.look()) == ["first", "last"]
    here.heard(NAME)
    assert ids(here.look()) == []
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
    assert ids(Left(tmp_path).look()) == ["first", "last"]


@pytest.mark.parametrize("size", [0, 4, 30])
def test_a_file_that_was_just_begun_is_read_when_there_is_more_in_it(tmp_path: Path, size: int) -> None:
    own = source(NAME, 1)
    path = file_of(tmp_path, NAME)
    assert path is not None
    Keeper(tmp_path, own).keep([word("first")])
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    here = Left(tmp_path)
    assert list(here.look()) == []
    path.write_bytes(whole)
    found = here.of(own)
    assert found is not None
    assert [one.outcome.operation_id for one in found.words] == ["first"]


def test_what_cannot_be_removed_is_not_heard_again_and_again(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip(CANNOT_MOUNT)
    with small_disk(tmp_path / "disk", 1024 * 1024) as disk:
        program = Program(disk.path)
        program.end()
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        here = Left(disk.path)
        assert ids(here.look()) == ["first", "last"]
        here.heard(NAME)
        here.forget(NAME)
        assert len(files(disk.path)) == 1
        assert ids(here.look()) == []
        assert ids(Left(disk.path).look()) == ["first", "last"]
