"""Who may come in, how many, and how fast they may speak. One a gateway, owned by its core."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from rfm_runtime.config.settings import Settings
from rfm_runtime.core.networks import network_of
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.askers import Askers
from rfm_runtime.core.sessions.inbound import Inbound
from rfm_runtime.core.sessions.line import FairLine
from rfm_runtime.core.sessions.session import Session
from rfm_runtime.core.sessions.shares import client_messages_per_s, user_messages_per_s
from rfm_runtime.core.timing import TokenBucket, WaitingLine
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.wire import Encoding

__all__ = ["Door", "Refused"]

LINE_S = 30.0
"""The longest that anybody is told to stay away: a flood must not send the others home for an hour."""


STRANGERS_LINE_S = 2.0
"""The same for those who have shown no token. One of them who knocks all the time, waiting for nobody, keeps this line
at its end: then luck decides who comes in, and an honest one needs some tries."""

REFUSED_BURST_S = 20.0
"""So many seconds' worth of refused sign-ins at once: a program that starts with an old token tries some times."""


class Refused(Struct, frozen=True):
    """No session for this connection: close it with the code. reason: if there is more to say than the code does."""

    code: int
    retry_after_ms: int | None
    reason: str = ""


class Door:
    """counts: of the core, for metrics. Who has shown no token yet counts for its address, others for their user.

    by_address: of each `network_of` an address, which is what all limits here mean by it.
    """

    def __init__(self, settings: Settings, counts: Counter[str], now_s: float) -> None:
        self._settings = settings
        self._counts = counts
        self._numbers = 0
        self.by_address: Counter[str] = Counter()
        self.by_user: Counter[str] = Counter()
        # Two lines: whoever has no token must not keep out those who have.
        handshakes = TokenBucket.full(settings.handshakes_per_s, settings.handshakes_per_s, now_s)
        self._known = FairLine(settings.handshakes_per_s, LINE_S, now_s)
        self._strangers = WaitingLine(handshakes, STRANGERS_LINE_S)
        self._inbound = Inbound(settings.inbound_per_s, user_messages_per_s(settings), now_s)
        refused = settings.refused_sign_ins_per_s
        self._refused = Askers(refused, max(1.0, refused * REFUSED_BURST_S))

    def enter(self, address: str, encoding: Encoding, grant: Grant | None, now_s: float) -> Session | Refused:
        """A handshake was made; `grant` if it carried a valid token already."""
        settings = self._settings
        refused = self.stranger(address, now_s) if grant is None else self.too_many(grant)
        if refused is not None:
            return refused
        self._numbers += 1
        bucket = TokenBucket.full(settings.commands_per_s, settings.commands_burst, now_s)
        rate = client_messages_per_s(settings)
        session = Session(self._numbers, address, encoding, bucket, TokenBucket.full(rate, rate, now_s), now_s)
        if grant is None:
            self.by_address[session.network] += 1
        else:
            session.grant = grant
            self.by_user[grant.principal.user] += 1
        return session

    def knock(self, user: str, now_s: float) -> float:
        """Somebody with a valid token of this user asks for a handshake: seconds after which to ask again, 0.0 for now.

        Asked before the upgrade: a refusal there costs a fifth of a session that is opened and closed again.
        """
        wait_s = self._known.knock(user, now_s)
        if wait_s > 0.0:
            self._counts["refused_handshakes"] += 1
        return wait_s

    def stranger(self, address: str, now_s: float) -> Refused | None:
        """Whoever has not shown a token yet must not keep out those who have."""
        network = network_of(address)
        wait_s = self._refused.wait_s(network, now_s)
        if wait_s > 0.0:
            # Before it stands in the line of all strangers: an address that only guesses keeps nobody else out.
            self._counts["refused_guessing"] += 1
            return Refused(CloseCode.RATE_LIMITED, round(wait_s * 1000) + 100)
        self._strangers, wait_s = self._strangers.knock(now_s)
        if wait_s > 0.0:
            self._counts["refused_handshakes"] += 1
            return Refused(CloseCode.RATE_LIMITED, round(wait_s * 1000) + 100)
        if self.by_address[network] >= self._settings.connections_per_address:
            self._counts["refused_address"] += 1
            return Refused(CloseCode.RATE_LIMITED, round(self._settings.hello_timeout_s * 1000))
        return None

    def failed(self, address: str, now_s: float) -> float:
        """A token was shown that is none: seconds after which that address may try again, if it has tried too often."""
        network = network_of(address)
        wait_s = self._refused.wait_s(network, now_s)
        if wait_s == 0.0:
            self._refused.charge(network, 1.0, now_s)
        else:
            self._counts["refused_guessing"] += 1
        return wait_s

    def too_many(self, grant: Grant) -> Refused | None:
        """Whether its user has all the connections that one may have."""
        if self.by_user[grant.principal.user] < self._settings.connections_per_user:
            return None
        self._counts["refused_user"] += 1
        return Refused(CloseCode.CONNECTION_LIMIT, None)

    def admit(self, session: Session, grant: Grant) -> None:
        """It said hello: it counts for its user from now on, and not for its address."""
        session.grant = grant
        self.by_user[grant.principal.user] += 1
        self.by_address[session.network] -= 1

    def exchange(self, session: Session, grant: Grant) -> None:
        """It came in by its certificate, and shows a token, which may be another user's: it counts for that one."""
        if session.principal is not None:
            self.by_user[session.principal.user] -= 1
        session.grant = grant
        self.by_user[grant.principal.user] += 1

    def leave(self, session: Session) -> None:
        """Its connection is gone."""
        if session.principal is None:
            self.by_address[session.network] -= 1
        else:
            self.by_user[session.principal.user] -= 1
        self.by_address += Counter()
        self.by_user += Counter()

    def wait_s(self, session: Session, now_s: float) -> float:
        """How long the next message of this session waits before it is taken; 0.0: take it.

        A flood is slowed down, not refused: it fills its own socket, and what others say is not behind it.
        """
        inbound, wait_s = session.inbound.take(now_s)
        if wait_s > 0.0:
            self._counts["slowed_client"] += 1
            return wait_s
        wait_s, by_all = self._inbound.take(_speaker(session), now_s, alone=len(self.by_user) <= 1)
        if wait_s > 0.0:
            self._counts["slowed_global" if by_all else "slowed_user"] += 1
            return wait_s
        session.inbound = inbound
        return 0.0

    def spoke(self, session: Session, envelopes: int, now_s: float) -> None:
        """A message had so many envelopes that count: those beyond the first are owed for, none is paid back."""
        if envelopes == 1:
            return
        session.inbound = session.inbound.charge(envelopes - 1, now_s)
        self._inbound.charge(_speaker(session), envelopes - 1, now_s, alone=len(self.by_user) <= 1)


def _speaker(session: Session) -> str:
    """Its user, or its address: no user is called so, a name has no / in it."""
    return f"/{session.network}" if session.principal is None else session.principal.user
