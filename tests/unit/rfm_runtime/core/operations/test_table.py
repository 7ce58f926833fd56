"""The state table: complete, without a way out of an outcome, and the documentation says the same."""

from __future__ import annotations

from typing import get_args

import pytest

from rfm_runtime.core.operations.table import TABLE, Trigger, step, table_markdown
from rfm_runtime.protocol.operation import TERMINAL_EVENTS, TERMINAL_STATES, OperationState

STATES = get_args(OperationState)
TRIGGERS = get_args(Trigger)


def test_nothing_leads_out_of_an_outcome():
    assert not [state for state, _ in TABLE if state in TERMINAL_STATES]


def test_an_outcome_always_has_its_event_and_no_other_step_has_one():
    for after in TABLE.values():
        assert (after.state in TERMINAL_STATES) == (after.event in TERMINAL_EVENTS)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_trigger_means_something_somewhere(trigger):
    assert any(known == trigger for _, known in TABLE)


@pytest.mark.parametrize("state", sorted(set(STATES) - TERMINAL_STATES))
def test_every_state_but_an_outcome_can_be_cancelled_or_is_being_cancelled(state):
    assert state == "cancelling" or step(state, "cancel") or step(state, "cancel_unclaimed")


@pytest.mark.parametrize("state", ["queued", "running", "paused", "cancelling"])
@pytest.mark.parametrize("trigger", ["complete", "fail", "stopped", "lost", "released"])
def test_whatever_can_be_claimed_can_end_or_be_lost(state, trigger):
    assert step(state, trigger) is not None


def test_what_is_lost_while_cancelling_is_canceled():
    assert step("cancelling", "lost").state == "canceled"


def test_a_completion_that_was_faster_than_the_cancel_stands():
    assert step("cancelling", "complete").state == "completed"


def test_the_documentation_has_a_line_for_every_step():
    lines = table_markdown().splitlines()
    assert len(lines) == 2 + len(TABLE)
    assert "| running | lost | queued | operation_requeued |" in lines
