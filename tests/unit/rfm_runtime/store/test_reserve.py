"""The reserve on a real small file system: given away when it is full, taken again when there is room and more."""

from __future__ import annotations

import itertools
import time

import pytest

from rfm_runtime.core.operations.record import Batch
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.store.reserve import Reserve
from rfm_runtime.testing.disk import CANNOT_MOUNT, can_mount, small_disk

KB = 1024

pytestmark = pytest.mark.scenario("F7")


@pytest.fixture
def disk(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip(CANNOT_MOUNT)
    with small_disk(tmp_path / "disk", 1024 * KB) as mounted:
        yield mounted


def test_what_is_given_away_can_be_written_and_is_taken_again_with_half_as_much_beside_it(disk):
    reserve = Reserve(disk.path / "reserve", 256 * KB)
    assert reserve.take()
    disk.fill()
    assert disk.free_bytes == 0
    assert reserve.release()
    assert disk.free_bytes == 256 * KB
    assert not reserve.release()
    assert reserve.promised
    assert not reserve.take()
    assert disk.free_bytes == 256 * KB
    disk.resize((1024 + 100) * KB)
    assert not reserve.take()
    disk.resize((1024 + 128) * KB)
    assert reserve.take()
    assert disk.free_bytes == 128 * KB


def test_a_disk_that_never_had_room_for_it_promises_nothing(disk):
    disk.fill(leave_bytes=300 * KB)
    reserve = Reserve(disk.path / "reserve", 256 * KB)
    assert not reserve.take()
    assert not reserve.promised
    assert not reserve.release()
    assert disk.free_bytes >= 300 * KB


def test_one_that_is_to_be_larger_than_there_is_room_for_stays_as_it_is_and_is_given_away_when_needed(disk):
    assert Reserve(disk.path / "reserve", 256 * KB).take()
    larger = Reserve(disk.path / "reserve", 900 * KB)
    assert not larger.take()
    # Nothing is full: what is new is taken.
    assert not larger.promised
    assert disk.free_bytes == 768 * KB
    disk.fill()
    assert larger.release()
    assert disk.free_bytes == 256 * KB
    assert larger.promised


def test_without_one_nothing_is_reserved(disk):
    reserve = Reserve(disk.path / "reserve", 0)
    assert reserve.take()
    assert not reserve.promised
    assert not reserve.release()
    assert not (disk.path / "reserve").exists()


def test_room_is_noticed_while_outcomes_come_without_a_pause(disk):
    journal = SqliteJournal(disk.path / "journal.db", reserve=(disk.path / "reserve", 256 * KB))
    journal.close()
    (disk.path / "reserve").write_bytes(b"")
    disk.fill(leave_bytes=100 * KB)
    said = []
    journal = SqliteJournal(disk.path / "journal.db", reserve=(disk.path / "reserve", 256 * KB))
    journal.start(lambda *_: None, said.append)
    deadline_s = time.monotonic() + 20.0
    try:
        for number in itertools.count(1):
            # More often than the room is looked for.
            journal.append(Batch(number, (), (), ()))
            time.sleep(0.05)
            if number == 5:
                disk.free()
            if any(one.reason is None for one in said):
                break
            assert time.monotonic() < deadline_s, said
    finally:
        journal.close()
    assert said[0].outcomes
