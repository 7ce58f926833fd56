"""Watchers with narrow rights, through everything that `test_sessions_machine` does to them.

Each is told every event of what it may see, once and in order, and nothing of anything else; also when its token is
renewed with other rights on the way.
"""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import rule

from rfm_runtime.core.permissions import sight
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.positions import epoch_for, log_of
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import AuthRefresh, Live, OperationList, Welcome
from rfm_runtime.testing.operations import KIND
from tests.property.test_sessions_machine import IDS, OWNERS, SUBSCRIPTIONS, Sessions, Viewer, watchers

ANNS = {oid for oid in IDS if OWNERS[oid] == "ann"}

RIGHTS = {
    "all": (Principal("ann", ("viewer",)), set(IDS)),
    "own": (Principal("ann", ("reporter",)), ANNS),
    "kind": (Principal("ann", ("viewer",), (KIND,)), set(IDS)),
    "own of a kind": (Principal("ann", ("reporter",), (KIND, "other")), ANNS),
    "another kind": (Principal("ann", ("admin",), ("other",)), set()),
}


class Narrow(Viewer):
    """A watcher whose token is that of `machine.rights`, which may change."""

    @property
    def token(self) -> str:
        return self.machine.rights[self.name]

    @property
    def sees(self) -> set[str]:
        return self._wanted & RIGHTS[self.token][1]

    @sees.setter
    def sees(self, wanted: set[str]) -> None:
        self._wanted = wanted

    def log_of(self, epoch: str) -> str:
        return log_of(epoch)

    def take(self, message):
        if isinstance(message, Welcome | Live):
            assert message.epoch == epoch_for(log_of(message.epoch), sight(RIGHTS[self.token][0]))
        if isinstance(message, OperationList) and message.first:
            # The list takes the place of what it knew: what it may not see any more is gone with it.
            for oid in self.known.operations.keys() - self.sees:
                del self.known.operations[oid]
        super().take(message)


class Rights(Sessions):
    viewer = Narrow

    def __init__(self):
        super().__init__()
        self.rights = dict(zip(SUBSCRIPTIONS, ["own", "kind", "all", "own of a kind", "own"], strict=True))

    def new_gate(self, number):
        gate = super().new_gate(number)
        gate.grants |= {name: Grant(principal) for name, (principal, _) in RIGHTS.items()}
        return gate

    @rule(number=watchers, name=st.sampled_from(sorted(RIGHTS)))
    def other_rights(self, number, name):
        """On the way if it is connected and has read everything; else from its next connection on.

        Whatever it knows, it goes on with: what came before its position and could not be seen must not be missing.
        """
        viewer = self.viewers[number]
        connection = viewer.connection
        if connection is None or connection.frozen or connection.unsent_bytes:
            viewer.drop()
            self.rights[viewer.name] = name
            return
        self.rights[viewer.name] = name
        connection.say(AuthRefresh(name))
        self.look()


TestRights = Rights.TestCase
TestRights.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRights = pytest.mark.scenario("G2", "G3", "J2", "J50")(TestRights)


# --- what it has found --------------------------------------------------------------------------


@pytest.fixture
def machine():
    machine = Rights()
    machine.boot(keep=3, history=1000, encodings=["json"] * 5)
    yield machine
    machine.teardown()


@pytest.mark.scenario("J90")
def test_rights_widen_while_it_is_away(machine):
    machine.drop(0)
    machine.other_rights(0, "all")
    machine.come(0, 0)


@pytest.mark.scenario("J90")
def test_rights_widen_on_the_way_and_it_drops(machine):
    machine.other_rights(0, "all")
    machine.drop_and_resume(0, 0)


@pytest.mark.scenario("J90")
def test_rights_widen_while_it_waits_for_a_gateway_that_has_just_come_up(machine):
    machine.drop(0)
    machine.answer_slowly(1)
    machine.kill_gateway(1, True)
    machine.come(0, 1)
    machine.other_rights(0, "all")
    machine.answer_at_last(1, True)


@pytest.mark.scenario("J90")
def test_rights_widen_and_narrow_again_while_it_is_away(machine):
    machine.drop_and_resume(2, 0)
    machine.drop(2)
    machine.other_rights(2, "own")
    machine.submit("op-5")
    machine.come(2, 1)
    machine.drop(2)
    machine.other_rights(2, "all")
    machine.come(2, 0)


@pytest.mark.scenario("J90")
def test_rights_change_of_one_who_has_not_seen_anything_yet(machine):
    machine.drop(4)
    machine.other_rights(4, "all")
    machine.come(4, 0)


@pytest.mark.scenario("J90", "J91")
def test_rights_change_and_the_next_gateways_lag(machine):
    machine.end("op-0", "completed")
    machine.deliver(0, 9)
    machine.drop(0)
    machine.other_rights(0, "all")
    machine.come(0, 1)
    machine.drop_and_resume(0, 1)
    machine.deliver_all()


@pytest.mark.scenario("J90")
def test_rights_change_and_the_next_gateway_has_older_progress(machine):
    """What was measured is forgotten with the rights, and no position says how new it was."""
    machine.report(oids={"op-0"}, more=5, times=1)
    machine.deliver_all()
    machine.tick(0.05)
    machine.report(oids={"op-0"}, more=3, times=1)
    machine.deliver(0, 9)
    machine.tick(0.05)
    machine.drop(0)
    machine.other_rights(0, "all")
    machine.come(0, 1)
