"""What a program has left on disk goes when the broker has it, or will not have it because it ended otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.client.reporting.line import Line
from rfm_runtime.client.reporting.session import Session
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.internal import Announce, LastWord, OperationMeasure, Outcome, Principal
from rfm_runtime.store.last_words import Keeper, files


def word(operation_id: str) -> LastWord:
    measure = OperationMeasure(1, 2, 3, 4.0)
    announce = Announce(
        principal=Principal("local", ("admin",)), operation_id=operation_id, kind="test", name="n", measure=measure
    )
    outcome = Outcome(operation_id=operation_id, generation=1, state="completed", final=measure)
    return LastWord(announce=announce, outcome=outcome, kept_at_ms=5)


@pytest.mark.scenario("J33")
def test_what_has_ended_otherwise_does_not_keep_the_file_of_a_program_that_lives_on(tmp_path: Path) -> None:
    line = Line(Session())
    line._keeper = Keeper(tmp_path, source("reporter-line", 1))
    line._keeper.keep([word("a"), word("b")])
    line.settled("b")
    # Refused for another reason, or let go for want of room: a later broker may take it.
    line.given_up("a", "no", ended=False)
    assert len(files(tmp_path)) == 1
    line.given_up("a", "it has ended", ended=True)
    assert files(tmp_path) == []
