"""What the machines of sessions and of rights have found: watchers that come from a log to a gateway that has another.

A gateway that has not heard yet that the broker was restored from a backup is in a log that is gone. Whoever was told
of the new one must not be told of that again: what runs would be shown as completed, and bars would run back.
"""

from __future__ import annotations

import pytest

from tests.property.test_rights_machine import Rights
from tests.property.test_sessions_machine import Sessions

pytestmark = pytest.mark.scenario("D7", "D15", "J91")


@pytest.fixture(params=[Sessions, Rights])
def machine(request):
    machine = request.param()
    machine.boot(keep=3, history=12, encodings=["json"] * 5)
    yield machine
    machine.teardown()


def test_an_outcome_is_told_once_although_a_gateway_lags_behind_a_restore(machine):
    machine.report(more=1, oids={"op-0"}, times=1)
    machine.answer_slowly(0)
    machine.end("op-0", "completed")
    machine.disaster("restore")
    machine.deliver(0, 1)
    for ahead in (1, 1, 0):
        machine.resume_on_one_that_lags(0, ahead, "op-0", 0.5)


def test_progress_does_not_run_back_although_a_gateway_lags_behind_a_restore(machine):
    machine.report(more=1, oids={"op-0"}, times=2)
    machine.deliver(0, 2)
    machine.tick(0.05)
    machine.answer_slowly(1)
    machine.disaster("restore")
    machine.tick(0.05)
    machine.deliver(0, 9)
    machine.tick(0.05)
    machine.come(0, 0)
    machine.drop_and_resume(0, 1)
    machine.deliver(1, 1)
    machine.tick(0.3)
