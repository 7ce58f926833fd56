"""What `status` says is the matter: the reason of /readyz is among it, once."""

from __future__ import annotations

import pytest

from rfm_runtime.cli.status import told
from rfm_runtime.observe.troubles import Trouble

pytestmark = pytest.mark.scenario("F7")

FULL = "nothing new is taken, what runs goes on: the journal cannot be written: the disk was full; make room"
LOOP = Trouble(process="engine-0", ends=4, cause="exit code 1", down=True, next_ms=None)
ENDED = Trouble(process="broker", ends=3, cause="exit code 1", down=False)


def test_a_full_disk_is_a_trouble() -> None:
    (one,) = told((), ready=False, why=f"not ready: {FULL}")
    assert (one.process, one.ends, one.cause, one.down) == ("runtime", 0, FULL, True)
    assert told((ENDED,), ready=False, why=f"not ready: {FULL}; {ENDED.said(0)}")[1] == ENDED


def test_what_is_ready_has_no_more_than_its_processes() -> None:
    assert told((), ready=True, why="ready") == []
    assert told((ENDED,), ready=True, why=f"ready; {ENDED.said(0)}") == [ENDED]


def test_a_process_that_does_not_come_up_is_said_once() -> None:
    assert told((LOOP,), ready=False, why=f"not ready: {LOOP.said(0)}") == [LOOP]
