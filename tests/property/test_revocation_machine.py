"""Watchers who are shut out, through everything that `test_sessions_machine` does to them.

A token is revoked, or all of a user's; the key of a token goes; a client certificate is revoked. Whoever comes or
is in by one of these is closed once the gateway knows it, told nothing behind that, and does not come in by it again.
Nobody else is closed for it, and whoever shows something fresh goes on where he was.
"""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import rule

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.door import Refused
from rfm_runtime.core.sessions.hub import FEED_LOST_S
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import DoRevoke, Principal
from rfm_runtime.protocol.messages import Goodbye, Welcome
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.testing.operations import ADMIN
from rfm_runtime.testing.sessions import Gate
from tests.property.test_sessions_machine import Broker, Sessions, Viewer, gates, watchers

USERS = {"all": "bob", "active": "bob", "mine": "ann", "some": "ann", "bobs": "bob"}
CERTIFIED = {"some", "active"}
"""Who comes by a client certificate instead of a token."""


class Revoking(Broker):
    """The broker, whose feed says which tokens are valid no more."""

    def send(self, events, progress, revocations=None):
        super().send(events, progress)
        version = self.hub.revocations.committed.version
        self.frames[-1] = msgspec.structs.replace(self.frames[-1], revoked=version, revocations=revocations)

    def _revoked(self, revocations):
        super()._revoked(revocations)
        self.send((), (), revocations)


class Door(Gate):
    """A gateway, and the files that it has read. gone: keys, and certificates, that do not count by them."""

    def __init__(self, answer, machine, **settings):
        self.machine = machine
        self.gone = set(machine.gone)
        super().__init__(answer, **settings)
        # As the shell begins: it has not heard of the broker.
        self.core.informed = False

    def authenticate(self, token):
        grant = self.machine.issued.get(token)
        return grant if grant is not None and grant.key not in self.gone else None

    def vouched(self, grant):
        return None if grant.key in self.gone else grant

    def look(self):
        """Whether there are others, as `Keys` says; the machine reads them when it says so."""
        return self.gone != self.machine.gone

    def read_files(self):
        if not self.look():
            return
        self.gone = set(self.machine.gone)
        self.carry_out(self.core.keys_changed(self, self.now_ms))
        for viewer in self.machine.viewers:
            mine = viewer.connection is not None and viewer.connection.gate is self
            if mine and viewer.name in CERTIFIED and viewer.connection.closed is None:
                refusal = "revoked" if viewer.used in self.gone else None
                grant = None if refusal else self.machine.issued[viewer.used]
                self.carry_out(self.core.certified(viewer.connection.number, grant, refusal, self.now_ms))


class Outcast(Viewer):
    """A watcher with a token, or a certificate, that may count no more. used: the one of this connection."""

    credential = ""
    used = ""

    def connect(self, gate):
        """With something fresh, if what there is counts no more."""
        if self.connection is None:
            if not self.credential or self.machine.is_out(self.credential):
                self.credential = self.machine.issue(self.name)
            self.come(gate)

    def come(self, gate):
        """With what there is, whether it counts or not."""
        name = self.credential
        grant = self.machine.issued[name] if self.name in CERTIFIED else None
        if grant is not None and name in gate.gone:
            # TLS lets no such handshake be made.
            return
        found = gate.try_connect(self.encoding, grant=grant)
        if isinstance(found, Refused):
            assert found.code == CloseCode.RESYNC
            assert gate.now_s - gate.core.last_frame_s > FEED_LOST_S
            return
        self.connection = found
        self.used = name
        found.hello("" if grant is not None else name, resume=self.known.resume)
        self.subscribe()

    def read(self):
        connection = self.connection
        if connection is not None:
            told, closed = connection.told, connection.closed
            ends = [number for number, message in enumerate(told) if isinstance(message, Goodbye)]
            assert all(number == len(told) - 1 for number in ends), "told something behind the end"
            if closed in (CloseCode.REVOKED, CloseCode.INVALID_TOKEN):
                assert self.machine.is_out(self.used), "shut out for nothing"
        super().read()


class Outcasts(Sessions):
    viewer = Outcast

    def __init__(self):
        super().__init__()
        self.issued: dict[str, Grant] = {}
        self.key = 0
        self.gone: set[str] = set()
        # What the broker was asked to revoke: a token's id, or a user's name and the moment.
        self.revoked: set[str] = set()
        self.before_ms: dict[str, int] = {}
        self.viewers: list[Outcast] = []

    new_broker = Revoking

    def new_gate(self, number):
        self.queues[number].clear()
        self.late[number].clear()
        return Door(
            lambda message: self.answer(number, message), self, **self.limits, refused_sign_ins_per_s=10_000.0
        ).boot()

    def issue(self, of):
        """A token, or a certificate, that nobody had before; its name."""
        name = f"{of}-{len(self.issued)}"
        principal = Principal(USERS[of], ("operator",))
        if of in CERTIFIED:
            self.issued[name] = Grant(principal, by_certificate=True)
        else:
            self.issued[name] = Grant(principal, token_id=name, issued_at_ms=self.broker.wall_ms, key=f"key-{self.key}")
        return name

    def is_out(self, name):
        """Whether it does not count by all that was asked, whoever knows it yet."""
        grant = self.issued[name]
        if grant.by_certificate:
            return name in self.gone
        old = grant.issued_at_ms < self.before_ms.get(grant.principal.user, 0)
        return name in self.revoked or old or grant.key in self.gone

    def is_known(self, gate, name, version):
        """Whether a gateway that has heard of that version knows that it is out."""
        grant = self.issued[name]
        if grant.by_certificate:
            return name in gate.gone
        entries = self.broker.hub.revocations.committed.entries
        told = [entry for entry in entries if entry.version <= version]
        revoked = any(
            entry.token_id == name
            or (entry.user == grant.principal.user and grant.issued_at_ms < entry.issued_before_ms)
            for entry in told
        )
        return revoked or grant.key in gate.gone

    # --- who is shut out ------------------------------------------------------------------------

    def ask_to_revoke(self, **wanted):
        self.broker.ask(b"admin", DoRevoke(ADMIN, Revoke(**wanted)))
        self.broker.write()
        self.look()

    @rule(number=watchers)
    def revoke_a_token(self, number):
        viewer = self.viewers[number]
        if viewer.name not in CERTIFIED:
            self.revoked.add(viewer.credential)
            self.ask_to_revoke(token_id=viewer.credential)

    @rule(user=st.sampled_from(["ann", "bob"]))
    def revoke_a_user(self, user):
        # Tokens of the same millisecond are fresh ones.
        self.broker.wall_ms += 1
        self.before_ms[user] = self.broker.wall_ms
        self.ask_to_revoke(user=user)

    @rule(number=gates, soon=st.booleans())
    def a_key_goes_and_another_comes(self, number, soon):
        self.gone = self.gone | {f"key-{self.key}"}
        self.key += 1
        if soon:
            self.read_files(number)

    @rule(number=watchers, gate=gates, soon=st.booleans())
    def revoke_a_certificate(self, number, gate, soon):
        viewer = self.viewers[number]
        if viewer.name in CERTIFIED:
            self.gone = self.gone | {viewer.credential}
            if soon:
                self.read_files(gate)

    @rule(number=gates)
    def read_files(self, number):
        self.gates[number].read_files()
        self.look()

    @rule(number=watchers, gate=gates)
    def come_with_what_may_not_count(self, number, gate):
        viewer = self.viewers[number]
        viewer.drop()
        door = self.gates[gate]
        known = self.is_known(door, viewer.credential, door.core.revoked.version)
        viewer.come(door)
        connection = viewer.connection
        if connection is not None and known:
            assert connection.closed in (CloseCode.REVOKED, CloseCode.INVALID_TOKEN, CloseCode.RESYNC)
            assert not connection.all(Welcome)
        self.look()

    @rule(elapsed_s=st.sampled_from([0.05, 0.3, 1.0, 2.5]))
    def tick(self, elapsed_s):
        """Nobody is in any more, once it has ticked, who is out as far as the gateway knew before."""
        versions = [gate.core.revoked.version for gate in self.gates]
        super().tick(elapsed_s)
        for viewer in self.viewers:
            connection = viewer.connection
            if connection is not None and connection.closed is None:
                number = self.gates.index(connection.gate)
                assert not self.is_known(connection.gate, viewer.used, versions[number]), "in, although it is out"

    def teardown(self):
        if not hasattr(self, "gates"):
            return
        for number in (0, 1):
            self.read_files(number)
        super().teardown()
        for viewer in self.viewers:
            assert not self.is_out(viewer.used), "in, although it is out"


TestOutcasts = Outcasts.TestCase
TestOutcasts.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestOutcasts = pytest.mark.scenario("G2", "G5", "J2", "J78")(TestOutcasts)
