"""Workers are told to whoever may see what the runtime uses; what they work on, to whoever may see that."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.permissions import sight
from rfm_runtime.core.sessions.crews import crews_for
from rfm_runtime.protocol.crew import CrewUsage, GetWorkers, WorkersReply, WorkerUsage
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.resources import Resources
from rfm_runtime.testing.sessions import Gate, Story
from tests.past import operation

pytestmark = pytest.mark.scenario("E14", "J105")

CREWS = (
    CrewUsage(
        engine="engine-0",
        measured_at_ms=5,
        deaths={"SIGKILL": 1},
        workers=tuple(
            WorkerUsage(number=number, pid=number, state="computing", operation_id=name, phase="tile", index=3)
            for number, name in enumerate(("mine", "other", "gone", ""), 1)
        ),
    ),
)
KNOWN = {
    "mine": operation("mine", "running", kind="render"),
    "other": operation("other", "running", kind="secret", owner="bob"),
}


@pytest.mark.parametrize(
    ("who", "named"),
    [
        (Principal("eve", ("viewer",)), ["mine", "other", "", ""]),
        (Principal("eve", ("viewer",), ("render",)), ["mine", "", "", ""]),
        (Principal("bob", ("reporter",)), ["", "other", "", ""]),
        (Principal("eve", ()), ["", "", "", ""]),
    ],
)
def test_nobody_hears_the_name_of_what_he_may_not_see(who: Principal, named: list[str]) -> None:
    (told,) = crews_for(CREWS, sight(who), KNOWN)
    assert [worker.operation_id for worker in told.workers] == named
    assert told == msgspec.structs.replace(
        CREWS[0],
        workers=tuple(
            msgspec.structs.replace(worker, operation_id=name)
            for worker, name in zip(CREWS[0].workers, named, strict=True)
        ),
    )


def test_they_are_told_to_who_asks_and_not_with_the_rest() -> None:
    story = Story()
    gate = Gate(story.answer).boot()
    watcher = gate.connect().hello("eve").subscribe(metrics=True)
    gate.feed(msgspec.structs.replace(story.frame(), resources=Resources(measured_at_ms=1, crews=CREWS)))
    watcher.say(GetWorkers(), request_id=1)
    assert watcher.all(Resources) == [Resources(measured_at_ms=1)]
    (reply,) = watcher.all(WorkersReply)
    assert [worker.number for worker in reply.crews[0].workers] == [1, 2, 3, 4]
    # Nothing of those is known here.
    assert {worker.operation_id for worker in reply.crews[0].workers} == {""}
