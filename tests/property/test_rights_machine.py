"""Watchers with narrow rights, through everything that `test_sessions_machine` does to them.

Each is told every event of what it may see, once and in order, and nothing of anything else; also when its token is
renewed with other rights on the way.
"""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import rule

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import AuthRefresh, Live
from rfm_runtime.testing.operations import KIND
from tests.property.test_sessions_machine import IDS, OWNERS, SUBSCRIPTIONS, Known, Sessions, Viewer, watchers

ANNS = {oid for oid in IDS if OWNERS[oid] == "ann"}

RIGHTS = {
    "all": (Principal("ann", ("viewer",)), set(IDS)),
    "own": (Principal("ann", ("reporter",)), ANNS),
    "kind": (Principal("ann", ("viewer",), (KIND,)), set(IDS)),
    "own of a kind": (Principal("ann", ("reporter",), (KIND, "other")), ANNS),
    "another kind": (Principal("ann", ("admin",), ("other",)), set()),
}


class Narrow(Viewer):
    """A watcher whose token is that of `machine.rights`, which may change. awaits_list: it has, without a list yet."""

    awaits_list = False

    @property
    def token(self) -> str:
        return self.machine.rights[self.name]

    @property
    def sees(self) -> set[str]:
        return self._wanted & RIGHTS[self.token][1]

    @sees.setter
    def sees(self, wanted: set[str]) -> None:
        self._wanted = wanted

    def take(self, message):
        super().take(message)
        if isinstance(message, Live):
            self.awaits_list = False

    def cut(self):
        super().cut()
        if self.awaits_list:
            # Whose position it is saw something else: see the known limits in docs/design.md.
            self.known = Known()
            self.awaits_list = False


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
        """On the way if it is connected and has read everything; else from its next connection on."""
        viewer = self.viewers[number]
        connection = viewer.connection
        if connection is None or connection.frozen or connection.unsent_bytes:
            viewer.drop()
            self.rights[viewer.name] = name
            # Its position is that of somebody who saw something else: what came before it would be missing.
            viewer.known = Known()
            return
        viewer.awaits_list = viewer.awaits_list or self.rights[viewer.name] != name
        self.rights[viewer.name] = name
        # What it knew and may not see any more is no business of the checks of what it is told.
        for oid in list(viewer.known.operations):
            if oid not in viewer.sees:
                del viewer.known.operations[oid]
        connection.say(AuthRefresh(name))
        self.look()


TestRights = Rights.TestCase
TestRights.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRights = pytest.mark.scenario("G2", "G3", "J2", "J50")(TestRights)
