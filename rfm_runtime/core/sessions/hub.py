"""The gateway's core: all sessions and the replica, and functions of (event, time) that return commands.

Pure; the gateway's shell is its only caller, from one thread. It decides who may connect, what a message means, what
goes to the broker and what is sent to whom; the shell owns sockets and carries out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from rfm_runtime.config.settings import Settings
from rfm_runtime.core.permissions import require, unknown
from rfm_runtime.core.resources.past import Past
from rfm_runtime.core.sessions.access import OWN_USER, Authenticate, Grant, Keys
from rfm_runtime.core.sessions.askers import Askers
from rfm_runtime.core.sessions.broker_clock import AGREE_MS, BrokerClock
from rfm_runtime.core.sessions.costs import cost_of, snapshot_cost
from rfm_runtime.core.sessions.crews import crews_for
from rfm_runtime.core.sessions.door import Door, Refused
from rfm_runtime.core.sessions.doorstep import Doorstep
from rfm_runtime.core.sessions.expiry import Expiries
from rfm_runtime.core.sessions.fetches import Fetches
from rfm_runtime.core.sessions.forwarding import forwarded
from rfm_runtime.core.sessions.notes import Notes, named
from rfm_runtime.core.sessions.positions import epoch_for, log_of
from rfm_runtime.core.sessions.replica import Ask, Replica
from rfm_runtime.core.sessions.reporting import REPORTS, Reporting
from rfm_runtime.core.sessions.revoked import ById, Revoked
from rfm_runtime.core.sessions.session import Payload, Session
from rfm_runtime.core.sessions.shares import user_commands_per_s, user_crowd
from rfm_runtime.core.text import printable, shortened
from rfm_runtime.errors import (
    BadRequestError,
    ConflictError,
    RateLimitedError,
    RfmError,
    TokenExpiredError,
    TooLargeError,
    UnavailableError,
)
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode, reconnects
from rfm_runtime.protocol.crew import CrewUsage, GetWorkers, WorkersReply
from rfm_runtime.protocol.internal import ControlFrame, FeedFrame, OperationMeasure, OwnerHello, Principal, Source
from rfm_runtime.protocol.limits import PIXELS_LIMIT
from rfm_runtime.protocol.messages import (
    REQUESTS,
    ArtifactChunk,
    AuthRefresh,
    FetchArtifact,
    FetchTiles,
    Goodbye,
    Heartbeat,
    Hello,
    Limits,
    Ok,
    Ping,
    Pong,
    Recolour,
    ServerInfo,
    Subscribe,
    Subscribed,
    TilePixels,
    TokenExpiring,
    Unsubscribe,
    Welcome,
)
from rfm_runtime.protocol.notifying import RulesChanged
from rfm_runtime.protocol.operation import ErrorInfo, error_info
from rfm_runtime.protocol.probing import PLACES_LIMIT, ProbePoints, SetFocus
from rfm_runtime.protocol.reports import (
    Alive,
    Report,
    ReportCanceled,
    ReportCompleted,
    ReportFailed,
    ReportProgress,
    ReportStarted,
)
from rfm_runtime.protocol.resources import GetMetrics, GetUsage, MetricsReply, ResourceReport, Resources, Usage
from rfm_runtime.protocol.revocation import Revocations
from rfm_runtime.protocol.wire import Encoding, Envelope, decode_batch, decode_request, encode

__all__ = [
    "Beat",
    "Close",
    "Exchange",
    "Fetch",
    "Forward",
    "GatewayCore",
    "Identity",
    "PassOn",
    "Push",
    "Refused",
    "goodbye",
]

RESUME_WAIT_S = 2.0
"""How long a position ahead of this gateway's own waits for the feed before everything is sent anew."""

RESUME_LIMIT_S = 10.0
"""So long it waits while the broker says nothing; then the watcher is closed with 4010 and may try another gateway."""

ASK_AHEAD_S = 1.0
"""How often the broker is asked while a watcher waits for events, or has a log, that this gateway does not know."""

LOG_LIMIT_S = 5.0
"""So long a welcome waits for the broker to say which log it has; a client gives a connection up after 10 s."""

DRAINING_S = 1.0
"""Who comes to a gateway that is shutting down is sent away for so long: its successor needs that to start."""

COME_BACK_MS = 500
"""When the first of those who are told goodbye comes back."""

FEED_SILENT_S = 2.0
"""The broker sends a frame at least every 250 ms: after this the feed is broken, whatever ZeroMQ thinks of it."""

FEED_LOST_S = 10.0
"""Without a word for so long a gateway does not know who may still come in: it lets nobody in, and does nothing for
those who are."""

REVOCATIONS_AGAIN_S = 1.0
"""Until the broker is asked again for the tokens that are valid no more."""

FETCHES_LIMIT = 8
"""Chunks of 256 KiB asked for or waiting for one watcher: 2 MiB is all it can make this process hold."""

USER_FETCHES_LIMIT = 8
"""Tiles and pictures asked of engines by one user's connections together. An engine colours two at once, and 32 wait: a
user who has many connections must not have all of these places."""

LOOK_AGAIN_S = 0.5
"""A socket that something was written to is looked at again after this, although nothing follows: has it drained?"""

REQUESTS_OF_A_COMMAND = 4.0
"""Plain requests for one: who looks at a page has it all asked for at once, and each pays for a connection besides."""

CAPS = ["msgpack", "artifacts", "tiles", "reporting"]

REVOKED = "the token was revoked"
KEY_GONE = "the token was revoked: the key that it was signed with is not taken any more"

NAME_SHOWN = 64
"""Characters of a certificate's name that are said."""

NOBODY = Principal("", ())
OWN = Principal(OWN_USER, ("admin",))

REQUEST_TYPES = {request: name for name, request in REQUESTS.items()}

NEEDS_NO_FEED = (Subscribe, Unsubscribe, Ping, Alive, ReportProgress, AuthRefresh)
"""Nothing is done or told for whoever says this: a subscription waits, and of a measure nobody hears. A token that was
revoked meanwhile is found when the feed is back, before anything else."""

PASSED_LIMIT = 256
"""Words of one program that wait for the broker's answer; our own client has 64 under way."""


class Identity(Struct, frozen=True):
    """Of this gateway, for `welcome`. name: no other gateway's, and no earlier one's."""

    version: str
    started_at_ms: int
    name: str


Fetched = FetchArtifact | FetchTiles | ProbePoints | SetFocus | Recolour
"""Requests that the engine answers which has the frame: a file may be large, the broker has better to do."""

Painted = FetchTiles | ProbePoints | Recolour
"""Those of them that take one of the few places in which an engine colours pixels."""


class Forward(Struct, frozen=True):
    """Ask the broker and give the answer to `replied`."""

    session: int
    request_id: int | None
    message: Struct


class Fetch(Struct, frozen=True):
    """Get it from the engine at `location` and give it to `fetched`."""

    session: int
    request_id: int | None
    location: str
    request: Fetched


class PassOn(Struct, frozen=True):
    """Ask the broker as the program that reports in this session, and give the answer to `passed_on`."""

    session: int
    request_id: int | None
    message: Struct


class Push(Struct, frozen=True):
    """Push a measure to the broker."""

    handle: int
    measure: OperationMeasure


class Exchange(Struct, frozen=True):
    """Ask the broker whose code this is the digest of, and give a token of his to `exchanged`."""

    session: int
    digest: str


class Beat(Struct, frozen=True):
    """Tell the broker that the program that reports in this session lives."""

    session: int
    source: Source
    operations: int


class Close(Struct, frozen=True):
    """Flush what waits, then close with this code."""

    session: int
    code: int


def goodbye(code: int, retry_after_ms: int | None = None, reason: str = "") -> Goodbye:
    """What is said before a close with this code. reason: if there is more to say than the code does."""
    reason = reason or CLOSE_REASONS.get(code, "")
    return Goodbye(code=code, reconnect=reconnects(code), reason=reason, retry_after_ms=retry_after_ms)


Command = Forward | Fetch | PassOn | Push | Exchange | Beat | Close | Ask


class GatewayCore:
    """State of one gateway.

    filled: the ring has the older events that the broker has; before that nobody can resume from them.
    informed: it is known which tokens are valid no more; before that nothing is done for anybody.
    journal: why the broker takes nothing new, as its last frame said.
    """

    def __init__(self, settings: Settings, identity: Identity, authenticate: Authenticate, now_s: float) -> None:
        self.settings = settings
        self.identity = identity
        self.replica = Replica(settings.history_events)
        self.sessions: dict[int, Session] = {}
        self.draining = False
        self.last_frame_s = now_s
        self.durable = True
        self.filled = True
        self.informed = True
        self.counts: Counter[str] = Counter()
        self.superseded = 0
        self.resources: Resources | None = None
        self._crews: tuple[CrewUsage, ...] = ()
        self._past = Past()
        self._asked_ahead_s = now_s - ASK_AHEAD_S
        self.journal: str | None = None
        self.revoked = Revoked()
        self._recheck = False
        self._revocations_asked_s = now_s - REVOCATIONS_AGAIN_S
        self._broker_clock = BrokerClock()
        self._by_id = ById(REVOCATIONS_AGAIN_S)
        self._expiries = Expiries()
        self._authenticate = authenticate
        self.notes = Notes(now_s)
        self._door = Door(settings, self.counts, now_s)
        self._fetches = Fetches()
        self.doorstep = Doorstep(settings.handshakes_open, settings.connections_per_address)
        each = settings.user_commands_per_s
        burst = 2.0 * each if each else user_crowd(settings) * settings.commands_burst
        self._users = Askers(user_commands_per_s(settings), max(1.0, burst))
        self._askers = Askers(
            REQUESTS_OF_A_COMMAND * settings.commands_per_s, REQUESTS_OF_A_COMMAND * settings.commands_burst
        )

    # --- the feed ---------------------------------------------------------------------------

    def feed(self, frame: FeedFrame, now_s: float) -> list[Ask]:
        """A frame of the feed; afterwards `pending` says whom to flush."""
        self.last_frame_s = now_s
        if frame.ts_ms:
            self._broker_clock.heard(frame.ts_ms, now_s)
        self.journal = frame.journal
        asks = self.replica.frame(frame)
        if frame.revocations is not None:
            self._adopt(frame.revocations, frame.epoch)
        elif frame.revoked != self.revoked.version and frame.epoch == self.replica.epoch:
            asks += self._ask_for_revocations(now_s)
        if frame.resources is not None:
            # Of workers everybody is told what he asks for, as far as he may see.
            self.resources = msgspec.structs.replace(frame.resources, crews=())
            self._crews = frame.resources.crews
            self._past.take(frame.resources)
            for session in self.sessions.values():
                session.wants_metrics()
        for user, version in frame.rules:
            self._rules_changed(user, version, frame.ts_ms)
        self._spread()
        return asks

    def _rules_changed(self, user: str, version: int, now_ms: int) -> None:
        """Whoever looks on as this user has rules that are no longer so."""
        for session in self.sessions.values():
            principal = session.principal
            looks = session.subscription is not None and session.sight is not None and session.closing is None
            if looks and principal is not None and principal.user == user:
                self._reply(session, RulesChanged(version), None, now_ms)

    def _adopt(self, revocations: Revocations, epoch: str) -> None:
        """Other tokens are valid no more; whoever has shown one is closed before he is heard again."""
        found = Revoked(revocations, epoch)
        if not found.follows(self.revoked):
            return
        found.ahead_ms = self.revoked.ahead_ms
        self.revoked = found
        self.informed = True
        self._recheck = True

    def _ask_for_revocations(self, now_s: float) -> list[Ask]:
        """The frame that had them was lost."""
        if now_s - self._revocations_asked_s < REVOCATIONS_AGAIN_S:
            return []
        self._revocations_asked_s = now_s
        return [Ask(internal.GetRevocations(), self.replica.attempt)]

    def _close_revoked(self, now_ms: int) -> list[Command]:
        if not self._recheck:
            return []
        self._recheck = False
        commands: list[Command] = []
        for session in self.sessions.values():
            grant = session.grant
            if session.closing is not None or grant is None or not self.revoked.covers(grant):
                continue
            commands.append(self._close(session, CloseCode.REVOKED, now_ms, reason=REVOKED))
            if self.revoked.only_by_user(grant):
                # Shown again, or elsewhere, it would seem to be issued later: it is revoked by its id as well.
                commands.append(Ask(internal.DoRevoke(OWN, self._by_id.put(grant)), self.replica.attempt))
        return commands

    def _compare_clocks(self, now_s: float, now_ms: int) -> None:
        """A token of an issuer whose clock is ahead, like this host's, seems to be issued after it was revoked."""
        ahead_ms = self._broker_clock.ahead_ms(now_s, now_ms)
        if abs(ahead_ms - self.revoked.ahead_ms) > AGREE_MS:
            self.revoked.ahead_ms = ahead_ms
            self._recheck = True

    def keys_changed(self, keys: Keys, now_ms: int) -> list[Command]:
        """Tokens are checked with other keys from now on: whoever's key is gone is closed, or ends with it."""
        commands: list[Command] = []
        for session in self.sessions.values():
            if session.closing is not None or session.grant is None:
                continue
            grant = keys.vouched(session.grant)
            if grant is None:
                self.counts["revoked_keys"] += 1
                commands.append(self._close(session, CloseCode.REVOKED, now_ms, reason=KEY_GONE))
            elif grant != session.grant:
                session.grant = grant
                self._expiries.put(session)
        return commands

    def usage(self, report: ResourceReport) -> Usage:
        """What this gateway says of itself."""
        sessions = self.sessions.values()
        return Usage(report=report, sessions=len(sessions), slow_sessions=sum(s.pace.step > 0 for s in sessions))

    def answered(self, answer: Struct, attempt: int) -> list[Ask]:
        """The broker's answer to an `Ask`."""
        asks: list[Ask] = []
        match answer:
            case Revocations():
                self._adopt(answer, self.replica.epoch)
            case internal.SnapshotPage():
                if answer.revocations is not None:
                    self._adopt(answer.revocations, answer.epoch)
                asks = self.replica.page(answer, attempt)
            case internal.Events():
                asks = self.replica.events(answer, attempt)
            case internal.ProgressStateReply():
                self.replica.progress_state(answer, attempt)
        self._spread()
        return asks

    def _spread(self) -> None:
        """Mark new progress in every session that sees it."""
        changed, self.replica.changed = self.replica.changed, set()
        ended, self.replica.ended = self.replica.ended, set()
        if changed or ended:
            for session in self.sessions.values():
                session.mark(changed, ended, self.replica)

    @property
    def is_ready(self) -> bool:
        """Contiguous with the broker, and not shutting down."""
        return self.replica.is_live and not self.draining

    def ask_again(self, now_s: float) -> list[Ask]:
        """What to ask because there was no answer, or because the feed says nothing."""
        return self.replica.again(silent=self._silent_s(now_s) > FEED_SILENT_S)

    def _silent_s(self, now_s: float) -> float:
        return now_s - self.last_frame_s

    def why_not_ready(self, now_s: float) -> str | None:
        """For /readyz; None if ready."""
        if self.draining:
            return "shutting down"
        if not self.replica.is_live:
            return f"catching up with the broker ({self.replica.phase})"
        silent_s = self._silent_s(now_s)
        if silent_s > FEED_SILENT_S:
            return f"no word from the broker for {silent_s:.1f} s"
        if self.journal is not None:
            return f"nothing new is taken, what runs goes on: {self.journal}"
        return None

    # --- connections ------------------------------------------------------------------------

    def identify(self, token: str) -> Grant | None:
        """What a token grants that was not revoked, as far as is known here. Raises as `Authenticate` does."""
        grant = self._authenticate(token)
        return None if grant is None or self.revoked.covers(grant) else grant

    def require_feed(self, now_s: float) -> None:
        """Raise UnavailableError if it is not known here who may come in: not yet, or no longer."""
        if not self.informed:
            raise UnavailableError("this gateway has not heard of the broker yet", retry_after_s=0.5)
        if self._is_cut_off(now_s):
            raise UnavailableError(
                f"this gateway has not heard of the broker for {self._silent_s(now_s):.0f} s",
                kept="what was accepted is on disk, and what runs goes on",
                hint="repeat it when `rfm-runtime status` says ready; `rfm-runtime logs broker` says why it is not",
                retry_after_s=1.0,
            )

    def _is_cut_off(self, now_s: float) -> bool:
        return self._silent_s(now_s) > FEED_LOST_S

    def knock(self, grant: Grant, now_s: float) -> float:
        """Somebody with a valid token asks for a handshake: seconds after which to ask again, 0.0 for now."""
        if self.draining:
            return DRAINING_S
        if self.revoked.covers(grant):
            # Like a token that is none: it stands in no line of its user's, and `connected` refuses it.
            return 0.0
        wait_s = self._door.knock(grant.principal.user, now_s)
        if wait_s > 0.0:
            self.notes.refused("", CloseCode.RATE_LIMITED, user=grant.principal.user)
        return wait_s

    def connected(
        self,
        address: str,
        encoding: Encoding,
        grant: Grant | None,
        now_s: float,
        *,
        certificate: str = "",
        certificate_ends_ms: int | None = None,
    ) -> Session | Refused:
        """A WebSocket handshake was made; `grant` if it carried a valid token already.

        certificate: the name in that of the client, whether it grants something or not.
        certificate_ends_ms: of a client certificate that was shown, ms since 1970: whoever it is, stays no longer.
        """
        if self.draining:
            return Refused(CloseCode.DRAINING, round(DRAINING_S * 1000))
        if self._is_cut_off(now_s):
            self.counts["refused_cut_off"] += 1
            return Refused(CloseCode.RESYNC, round(FEED_SILENT_S * 1000))
        if grant is not None and self.revoked.covers(grant):
            self.counts["refused_revoked"] += 1
            return self._refuse(address, CloseCode.REVOKED, now_s, user=grant.principal.user, reason=REVOKED)
        session = self._door.enter(address, encoding, grant, now_s)
        if isinstance(session, Session):
            session.certificate = certificate
            self.sessions[session.number] = session
            session.certificate_ends_ms = certificate_ends_ms
            self._expiries.put(session)
        else:
            self.notes.refused(address, session.code, user="" if grant is None else grant.principal.user)
        return session

    def asked(self, name: str, cost: float, now_s: float) -> float:
        """A plain request of that user or address: seconds after which to come again, 0.0: answer it."""
        wait_s = self._askers.ask(name, cost, now_s)
        if wait_s > 0.0:
            self.counts["limited_http"] += 1
        return wait_s

    def cannot_say(self, later: UnavailableError) -> Refused:
        """A handshake was made with a token of which nobody can say yet whose it is."""
        self.counts["refused_unsure"] += 1
        return Refused(CloseCode.RESYNC, _retry_after_ms(later))

    def wrong_token(self, address: str, now_s: float, code: CloseCode = CloseCode.INVALID_TOKEN) -> Refused:
        """A handshake was made with a token that is none. code: TOKEN_EXPIRED for one that was."""
        self.counts["refused_token"] += 1
        return self._refuse(address, code, now_s)

    def _refuse(self, address: str, code: CloseCode, now_s: float, *, user: str = "", reason: str = "") -> Refused:
        """Whoever shows a token that does not count stands where strangers do, and counts as one who guesses."""
        refused = self._door.stranger(address, now_s)
        if refused is None:
            self._door.failed(address, now_s)
            refused = Refused(code, None, reason)
        self.notes.refused(address, refused.code, user=user)
        return refused

    def wrong_bearer(self, address: str, now_s: float) -> float:
        """A plain request showed a token that is none: seconds after which to come again, if it does so too often."""
        self.counts["refused_token"] += 1
        return self._door.failed(address, now_s)

    def disconnected(self, number: int) -> None:
        """The connection is gone."""
        session = self.sessions.pop(number, None)
        if session is None:
            return
        self.superseded += session.superseded
        self._door.leave(session)

    def certified(self, number: int, grant: Grant | None, refusal: str | None, now_ms: int) -> list[Command]:
        """What the server's files now say of the certificate of a session's connection; others have none.

        grant: what it grants by itself. refusal: why a connection with it has to end, whoever it is.
        """
        session = self.sessions.get(number)
        if session is None or session.closing is not None:
            return []
        was = session.grant if session.grant is not None and session.grant.by_certificate else None
        if refusal is not None or (was is not None and grant is None):
            self.counts["revoked_certificates"] += 1
            why = refusal or "the certificate is nobody's any more (tls_users)"
            return [self._close(session, CloseCode.REVOKED, now_ms, reason=why)]
        if was is None or grant is None or grant == was:
            return []
        if grant.principal.user != was.principal.user:
            # Somebody else from now on: what it was shown, and what it reports, is not that one's.
            return [self._close(session, CloseCode.RESYNC, now_ms)]
        self._renew(session, grant, now_ms)
        return []

    # --- what watchers say ------------------------------------------------------------------

    def wait_s(self, number: int, now_s: float) -> float:
        """How long the next message of this session waits before it is taken; 0.0: take it."""
        session = self.sessions.get(number)
        if session is None:
            return 0.0
        wait_s = self._door.wait_s(session, now_s)
        if wait_s > 0.0:
            self.notes.limited(session, "messages")
        return wait_s

    def received(self, number: int, message: bytes | str, now_s: float, now_ms: int) -> list[Command]:
        """A WebSocket message. Errors of a request are answered; what is not the protocol closes."""
        self.notes.clock(now_s, now_ms)
        session = self.sessions.get(number)
        if session is None:
            return []
        closed = self._close_revoked(now_ms)
        if session.closing is not None:
            return closed
        encoding: Encoding = "json" if isinstance(message, str) else "msgpack"
        try:
            envelopes = decode_batch(message, encoding)
        except TooLargeError as error:
            self._error(session, error, None, now_ms)
            return closed
        except BadRequestError as error:
            self._error(session, error, None, now_ms)
            return [*closed, self._close(session, CloseCode.PROTOCOL, now_ms)]
        self._door.spoke(session, sum(envelope.type != "heartbeat" for envelope in envelopes), now_s)
        commands = closed
        for envelope in envelopes:
            if session.closing is None:
                commands += self._envelope(session, envelope, encoding, now_s, now_ms)
        return commands

    def _envelope(
        self, session: Session, envelope: Envelope, encoding: Encoding, now_s: float, now_ms: int
    ) -> list[Command]:
        # Only known types: a name that a client made up must not become a counter.
        self.counts[f"received_{envelope.type}" if envelope.type in REQUESTS else "received_unknown"] += 1
        request: Struct | None = None
        try:
            request = decode_request(envelope, encoding)
            if isinstance(request, Hello):
                return self._hello(session, envelope, request, now_s, now_ms)
            if session.principal is None or not session.max_hz:
                raise BadRequestError("the first message has to be `hello`", hint="see docs/protocol.md, Connecting")
            if session.reporting is not None:
                session.reporting.heard()
            self._limit(session, request, now_s)
            require(session.principal, envelope.type)
            if not isinstance(request, NEEDS_NO_FEED):
                self.require_feed(now_s)
            return self._request(session, envelope.id, request, now_s, now_ms)
        except RfmError as error:
            self._error(session, error, envelope.id, now_ms)
            if session.principal is not None and request is not None:
                self.notes.failed(session, envelope.type, named(request), error.code, self.replica.operations)
            if isinstance(error, UnavailableError) and not session.max_hz:
                self.counts["refused_unsure"] += 1
                return [self._close(session, CloseCode.RESYNC, now_ms, retry_after_ms=_retry_after_ms(error))]
            # The code of a link is used up when it is exchanged: a word too early does not lose it.
            if (session.principal is None or not session.max_hz) and session.signing_in is None:
                return [self._close(session, CloseCode.PROTOCOL, now_ms)]
            return []

    def _limit(self, session: Session, request: Struct, now_s: float) -> None:
        """Commands by rate; chunks and tiles by how many are under way, so that they are as fast as their reader."""
        if isinstance(request, Fetched):
            if session.fetching + len(session.bulk) >= FETCHES_LIMIT:
                self.counts["limited_fetch"] += 1
                raise RateLimitedError(f"more than {FETCHES_LIMIT} chunks or tiles at once", retry_after_s=0.05)
            user = (session.principal or NOBODY).user
            if isinstance(request, Painted) and self._fetches.of(user) >= USER_FETCHES_LIMIT:
                self.counts["limited_fetch_user"] += 1
                raise RateLimitedError(
                    f"more than {USER_FETCHES_LIMIT} tiles or pictures at once by all connections of {user}",
                    hint="ask for the next when one has come",
                    retry_after_s=0.1,
                )
            if not isinstance(request, SetFocus | Recolour):
                return
        if self._is_free(session, request):
            return
        cost = cost_of(request)
        bucket, wait_s = session.bucket.take(now_s, cost)
        if wait_s > 0.0:
            self.counts["limited_client"] += 1
            raise RateLimitedError(
                f"more than {self.settings.commands_per_s:g} commands a second", retry_after_s=wait_s
            )
        user = (session.principal or NOBODY).user
        wait_s = self._users.ask(user, cost, now_s)
        if wait_s > 0.0:
            self.counts["limited_user"] += 1
            raise RateLimitedError(
                f"more commands a second than {user} may send by all connections together",
                hint="use fewer connections, or ask less often",
                retry_after_s=wait_s,
            )
        session.bucket = bucket

    def _is_free(self, session: Session, request: Struct) -> bool:
        """What does not count as a command: measures, and outcomes of a session's own, none of which a limit loses."""
        if isinstance(request, Alive | ReportProgress):
            return True
        if session.reporting is None or not isinstance(request, ReportCompleted | ReportFailed | ReportCanceled):
            return False
        return session.reporting.has(request.operation_id)

    def _hello(self, session: Session, envelope: Envelope, hello: Hello, now_s: float, now_ms: int) -> list[Command]:
        if session.max_hz or session.signing_in is not None:
            raise BadRequestError("`hello` was said already")
        if self._is_cut_off(now_s):
            return [self._close(session, CloseCode.RESYNC, now_ms, retry_after_ms=round(FEED_SILENT_S * 1000))]
        if hello.code is not None:
            return self._exchange(session, envelope, hello, now_s)
        # A browser has no header for a token. One that is shown decides, whoever the certificate is.
        if session.principal is None or (hello.token and session.is_certified):
            refused = self._admit(session, hello.token or "", now_s, now_ms)
            if refused is not None:
                return [refused]
        session.resume = hello.resume
        session.max_hz = min(hello.max_hz or self.settings.max_hz, self.settings.max_hz)
        session.client = hello.client.name
        session.hello_id = envelope.id
        session.welcome_due = True
        self.notes.signed_in(session)
        session.greeting_since_s = now_s
        session.names_log = self.replica.attempt + 1
        return self._greet(session, now_s, now_ms)

    def _admit(self, session: Session, token: str, now_s: float, now_ms: int) -> Close | None:
        """Let a session in by the token in its `hello`; or the end of it."""
        try:
            grant = self._authenticate(token)
        except TokenExpiredError:
            return self._refuse_token(session, now_s, now_ms, CloseCode.TOKEN_EXPIRED)
        if grant is None:
            return self._refuse_token(session, now_s, now_ms, reason="" if token else _no_token(session.certificate))
        if self.revoked.covers(grant):
            return self._refuse_token(session, now_s, now_ms, CloseCode.REVOKED, REVOKED)
        was = session.principal
        if was is None or was.user != grant.principal.user:
            refused = self._door.too_many(grant)
            if refused is not None:
                return self._close(session, refused.code, now_ms)
        if was is None:
            self._door.admit(session, grant)
        else:
            self._door.exchange(session, grant)
        self._expiries.put(session)
        return None

    def _exchange(self, session: Session, envelope: Envelope, hello: Hello, now_s: float) -> list[Command]:
        """It has the code of a sign-in link, which the broker gives a name for, once."""
        # A code decides as a token does, whoever the certificate is.
        if (session.principal is not None and not session.is_certified) or hello.token or not hello.code:
            raise BadRequestError("a code is said instead of a token, and once", hint="leave one of them out")
        self.require_feed(now_s)
        session.signing_in = (envelope, hello)
        return [Exchange(session.number, hashlib.sha256(hello.code.encode()).hexdigest())]

    def exchanged(self, number: int, token: str | RfmError, now_s: float, now_ms: int) -> list[Command]:
        """The answer to an `Exchange`: a token of whoever it is, or why there is none."""
        session = self.sessions.get(number)
        if session is None or session.closing is not None or session.signing_in is None:
            return []
        if isinstance(token, UnavailableError):
            return [self._close(session, CloseCode.RESYNC, now_ms, retry_after_ms=_retry_after_ms(token))]
        if isinstance(token, RfmError):
            return [self._refuse_token(session, now_s, now_ms)]
        envelope, hello = session.signing_in
        session.signing_in = None
        session.issued = token
        shown = msgspec.structs.replace(hello, code=None, token=token)
        return self._hello(session, envelope, shown, now_s, now_ms)

    def _refuse_token(
        self,
        session: Session,
        now_s: float,
        now_ms: int,
        code: CloseCode = CloseCode.INVALID_TOKEN,
        reason: str = "",
    ) -> Close:
        """A token that does not count; an address that shows too many of them is told when to come again."""
        self.counts["refused_revoked" if code == CloseCode.REVOKED else "refused_token"] += 1
        wait_s = self._door.failed(session.address, now_s)
        if wait_s > 0.0:
            return self._close(session, CloseCode.RATE_LIMITED, now_ms, retry_after_ms=round(wait_s * 1000) + 100)
        return self._close(session, code, now_ms, reason=reason)

    def _greet(self, session: Session, now_s: float, now_ms: int) -> list[Command]:
        """Answer `hello` once the log's name is known: a watcher that hears of another log forgets what it has."""
        if not session.welcome_due or not self.replica.epoch:
            return []
        if self._may_lag(session):
            return self._ask_for_log(session, now_s, now_ms)
        session.welcome_due = False
        self._reply(session, self._welcome(session), session.hello_id, now_ms)
        return []

    def _may_lag(self, session: Session) -> bool:
        """Whether it comes from a log that may follow this gateway's: until the broker says again which one it has."""
        resume = session.resume
        if resume is None or log_of(resume.epoch) == self.replica.epoch:
            return False
        return self.replica.confirmed < session.names_log

    def _ask_for_log(self, session: Session, now_s: float, now_ms: int) -> list[Command]:
        if now_s - session.greeting_since_s >= LOG_LIMIT_S:
            return [self._close(session, CloseCode.RESYNC, now_ms, retry_after_ms=COME_BACK_MS)]
        # One that catches up asks anyway.
        if not self.replica.is_live or now_s - self._asked_ahead_s < ASK_AHEAD_S:
            return []
        self._asked_ahead_s = now_s
        return list(self.replica.again(silent=True))

    def _welcome(self, session: Session) -> Welcome:
        principal, resume = session.principal or NOBODY, session.resume
        session.epoch = self.replica.epoch
        known = resume.seq if resume is not None and log_of(resume.epoch) == session.epoch else 0
        return Welcome(
            session=f"s{session.number}",
            epoch=epoch_for(self.replica.epoch, session.sight),
            # Whose rights have changed forgets what he knows, but a list must not be older than that.
            seq=max(self.replica.position, known),
            durable=self.durable,
            caps=CAPS,
            heartbeat_s=self.settings.heartbeat_s,
            limits=Limits(
                inbound_bytes=self.settings.inbound_limit_bytes,
                batch=64,
                commands_per_s=self.settings.commands_per_s,
                commands_burst=self.settings.commands_burst,
                max_hz=self.settings.max_hz,
            ),
            roles=list(principal.roles),
            user=principal.user,
            server=ServerInfo(self.identity.version, self.identity.started_at_ms),
            token_expires_at=session.ends_ms,
            token=session.issued,
        )

    def _request(
        self, session: Session, request_id: int | None, request: Struct, now_s: float, now_ms: int
    ) -> list[Command]:
        who = session.principal or NOBODY
        match request:
            case Subscribe():
                if request.metrics:
                    require(who, "get_metrics")
                return self._subscribe(session, request_id, request, now_s, now_ms)
            case Unsubscribe():
                self._replace_waiting(session, now_ms)
                session.unsubscribe()
                self._reply(session, Ok(), request_id, now_ms)
                return []
            case Ping():
                self._reply(session, Pong(), request_id, now_ms)
                return []
            case AuthRefresh():
                sight = session.sight
                self._renew(session, self._fresh(session, request.token, who, now_s), now_ms)
                if session.subscription is not None and session.sight != sight:
                    # A list of what he may see now follows.
                    self._owe(session, snapshot_cost(len(self.replica.operations)), now_s)
                self._reply(session, Ok(), request_id, now_ms)
                return []
            case FetchArtifact() | FetchTiles() | ProbePoints() | SetFocus() | Recolour():
                return [self._fetch(session, request_id, request)]
            case GetMetrics() | GetUsage() | GetWorkers():
                self._reply(session, self._observed(session, request, now_ms), request_id, now_ms)
                return []
            case Alive():
                return []
            case _ if isinstance(request, REPORTS):
                return self._report(session, request_id, request, now_ms)
            case _:
                return [Forward(session.number, request_id, forwarded(session.grant or Grant(who), request))]

    def _observed(self, session: Session, request: GetMetrics | GetUsage | GetWorkers, now_ms: int) -> Struct:
        """What processes use, as far as the broker has told."""
        match request:
            case GetUsage():
                return self._past.within(request.span_s * 1000, now_ms)
            case GetWorkers():
                return WorkersReply(crews=crews_for(self._crews, session.sight, self.replica.operations))
        return MetricsReply(self.resources)

    def _fresh(self, session: Session, token: str, who: Principal, now_s: float) -> Grant:
        """What another token of the same user grants. Raises TokenExpiredError, BadRequestError."""
        try:
            grant = self.identify(token)
        except TokenExpiredError:
            self._door.failed(session.address, now_s)
            self.notes.refused(session.address, CloseCode.TOKEN_EXPIRED, user=who.user)
            raise
        if grant is None:
            self._door.failed(session.address, now_s)
        if grant is None or grant.principal.user != who.user:
            self.notes.refused(session.address, CloseCode.INVALID_TOKEN, user=who.user)
            raise BadRequestError("the token is not a fresh one of the same user")
        return grant

    def _fetch(self, session: Session, request_id: int | None, request: Fetched) -> Fetch:
        operation = self.replica.operations.get(request.operation_id)
        require(session.principal or NOBODY, REQUEST_TYPES[type(request)], request.operation_id, operation)
        if operation is None:
            raise unknown(request.operation_id)
        if isinstance(request, FetchTiles):
            pixels = -(-request.width // request.step) * -(-request.height // request.step)
            if pixels > PIXELS_LIMIT:
                raise BadRequestError(
                    f"{pixels} pixels at once, {PIXELS_LIMIT} are the limit", hint="ask for less, or for a larger step"
                )
        if isinstance(request, ProbePoints) and len(request.points) * request.orbit > PLACES_LIMIT:
            raise BadRequestError(
                f"{len(request.points)} orbits of {request.orbit} places at once, {PLACES_LIMIT} places are the limit",
                hint="ask for shorter orbits, or of fewer points",
            )
        if isinstance(request, FetchTiles | ProbePoints | SetFocus):
            if operation.grid is None or operation.location is None:
                raise BadRequestError(f"{request.operation_id} is {operation.state} and has no pixels")
        elif not operation.artifacts or operation.location is None:
            raise BadRequestError(f"{request.operation_id} is {operation.state} and has no artefacts")
        session.fetching += 1
        if isinstance(request, Painted):
            self._fetches.begin(session.number, (session.principal or NOBODY).user)
        return Fetch(session.number, request_id, operation.location, request)

    def _renew(self, session: Session, grant: Grant, now_ms: int) -> None:
        """Another token of the same user: what it allows no more ends at once."""
        before_ms, session.grant = session.ends_ms, grant
        # One that lasts no longer is no reason to say so again.
        session.warned = session.warned and not _is_later(session.ends_ms, before_ms)
        self._expiries.put(session)
        self.notes.renewed(session)
        if session.reporting is not None:
            session.reporting.principal = grant.principal
        if session.sight is None:
            self._replace_waiting(session, now_ms)
            session.unsubscribe()

    # --- programs that report ---------------------------------------------------------------

    def _report(self, session: Session, request_id: int | None, request: Struct, now_ms: int) -> list[Command]:
        if session.reporting is None:
            # ~ is in no name that a program can choose, and the gateway's is its own.
            name = f"~{self.identity.name}-s{session.number}"
            session.reporting = Reporting(session.principal or NOBODY, name)
            session.reporting.heard()
        reporting = session.reporting
        is_free = isinstance(request, ReportProgress)
        if isinstance(request, ReportCompleted | ReportFailed | ReportCanceled):
            # Said once it is never refused; again it waits like everything else.
            is_free = reporting.goes_on(request.operation_id)
        if session.passed_on >= PASSED_LIMIT and not is_free:
            self.counts["limited_reports"] += 1
            raise RateLimitedError(f"more than {PASSED_LIMIT} reports wait for an answer", retry_after_s=0.1)
        match request:
            case Report():
                hello = reporting.introduced(request, now_ms)
                if hello is not None:
                    return [self._pass_on(session, request_id, hello)]
                self._reply(session, Ok(), request_id, now_ms)
                return []
            case ReportProgress():
                pushed = reporting.progress(request, now_ms)
                if request_id is not None:
                    self._reply(session, Ok(), request_id, now_ms)
                return [] if pushed is None else [Push(*pushed)]
        commands: list[Command] = []
        if isinstance(request, ReportStarted) and (hello := reporting.implied()) is not None:
            commands.append(self._pass_on(session, None, hello))
        return [*commands, self._pass_on(session, request_id, reporting.said(request, now_ms))]

    def _pass_on(self, session: Session, request_id: int | None, message: Struct) -> PassOn:
        session.passed_on += 1
        return PassOn(session.number, request_id, message)

    def passed_on(self, asked: PassOn, answer: Struct | RfmError, now_ms: int) -> list[Command]:
        """The answer to a `PassOn`."""
        session = self.sessions.get(asked.session)
        if session is None or session.reporting is None:
            return []
        session.passed_on -= 1
        if isinstance(answer, RfmError):
            session.reporting.refused(asked.message, answer)
            # Its own hello is no business of a program that has not said any.
            if asked.request_id is not None or not isinstance(asked.message, OwnerHello):
                self._error(session, answer, asked.request_id, now_ms)
                self.notes.reported(session, asked.message, answer.code)
            return []
        reply = session.reporting.answered(asked.message, answer)
        if asked.request_id is not None:
            self._reply(session, reply, asked.request_id, now_ms)
        missed = session.reporting.missed(asked.message)
        return [] if missed is None else [Push(*missed)]

    def pushed(self, number: int, message: Struct, now_ms: int) -> list[Command]:
        """A one-way message of the broker to the program that reports in this session."""
        session = self.sessions.get(number)
        if session is None or session.reporting is None:
            return []
        meant = session.reporting.pushed(message)
        return [] if meant is None else self._steer(session, [meant], now_ms)

    def control(self, frame: ControlFrame, now_ms: int) -> list[Command]:
        """The cancel set, or a new broker's word."""
        commands: list[Command] = []
        for session in self.sessions.values():
            if session.reporting is not None and session.closing is None:
                commands += self._steer(session, session.reporting.control(frame), now_ms)
        return commands

    def _steer(self, session: Session, meant: Iterable[Struct], now_ms: int) -> list[Command]:
        commands: list[Command] = []
        for message in meant:
            if isinstance(message, OwnerHello):
                commands.append(self._pass_on(session, None, message))
            else:
                self._reply(session, message, None, now_ms)
        return commands

    # --- subscriptions ----------------------------------------------------------------------

    def _subscribe(
        self, session: Session, request_id: int | None, request: Subscribe, now_s: float, now_ms: int
    ) -> list[Command]:
        self._replace_waiting(session, now_ms)
        session.subscribe(request)
        if request.max_hz is not None:
            session.max_hz = min(request.max_hz, self.settings.max_hz)
        session.waiting_since_s = now_s
        session.asked_ahead = None
        session.mode = "waiting"
        session.wants_metrics()
        session.control_id = request_id
        return self._place(session, now_s, now_ms)

    def _replace_waiting(self, session: Session, now_ms: int) -> None:
        """A `subscribe` that still waits is answered before another request takes its place."""
        if session.mode == "waiting":
            replaced = ConflictError("another request took the place of this `subscribe` before it was begun")
            self._error(session, replaced, session.control_id, now_ms)

    def _place(self, session: Session, now_s: float, now_ms: int) -> list[Command]:
        """Replay, snapshot, or wait: for this gateway to be contiguous, or to reach the watcher's position."""
        commands = self._greet(session, now_s, now_ms)
        if session.welcome_due or session.mode != "waiting":
            return commands
        replica, resume = self.replica, session.resume
        if not replica.is_live or session.is_lost(replica) or (resume is not None and not self.filled):
            return []
        if self._is_cut_off(now_s):
            waited_s = now_s - (session.waiting_since_s or now_s)
            if waited_s < RESUME_LIMIT_S:
                return []
            return [self._close(session, CloseCode.RESYNC, now_ms, retry_after_ms=COME_BACK_MS)]
        is_ahead = resume is not None and log_of(resume.epoch) == replica.epoch and resume.seq > replica.position
        # A snapshot of this gateway would be older than what the watcher knows already, whatever it may see now.
        if is_ahead and (session.asked_ahead is None or replica.confirmed < session.asked_ahead):
            return self._wait_ahead(session, now_s, now_ms)
        recovered = resume is not None and not is_ahead and session.can_replay(replica, resume)
        session.resume = None
        session.waiting_since_s = None
        self._reply(session, Subscribed(recovered), session.control_id, now_ms)
        self.counts["resumed" if recovered else "snapshots"] += 1
        if recovered and resume is not None:
            session.begin_replay(replica, resume.seq)
        else:
            self._owe(session, snapshot_cost(session.begin_snapshot(replica)), now_s)
        return []

    def _owe(self, session: Session, cost: float, now_s: float) -> None:
        """What it asked for turned out to cost so much more: it and its user wait for that with what they ask next."""
        session.bucket = session.bucket.spend(cost, now_s)
        self._users.charge((session.principal or NOBODY).user, cost, now_s)

    def _wait_ahead(self, session: Session, now_s: float, now_ms: int) -> list[Command]:
        """It knows more than this gateway: the feed will bring it, or the broker does, or nobody can now."""
        waited_s = now_s - (session.waiting_since_s or now_s)
        if waited_s < RESUME_WAIT_S:
            return []
        if waited_s >= RESUME_LIMIT_S:
            return [self._close(session, CloseCode.RESYNC, now_ms, retry_after_ms=COME_BACK_MS)]
        if session.asked_ahead is not None and now_s - self._asked_ahead_s < ASK_AHEAD_S:
            return []
        asks: list[Ask] = []
        if now_s - self._asked_ahead_s >= ASK_AHEAD_S:
            self._asked_ahead_s = now_s
            asks = self.replica.again(silent=True)
        session.asked_ahead = session.asked_ahead or self.replica.attempt
        return list(asks)

    # --- sending ----------------------------------------------------------------------------

    def replied(
        self, number: int, request_id: int | None, answer: Struct | ErrorInfo, now_ms: int, asked: Struct | None = None
    ) -> None:
        """The answer to a `Forward`. asked: its message."""
        session = self.sessions.get(number)
        if session is not None:
            self._reply(session, answer, request_id, now_ms)
            if asked is not None:
                self.notes.answered(session, asked, answer, self.replica.operations)

    def fetched(
        self, number: int, request_id: int | None, answer: Struct, now_ms: int, asked: Fetched | None = None
    ) -> None:
        """The answer to a `Fetch`. asked: its request."""
        if isinstance(asked, Painted):
            self._fetches.end(number)
        session = self.sessions.get(number)
        if session is None:
            return
        session.fetching -= 1
        if isinstance(answer, ArtifactChunk | TilePixels):
            data = encode(answer, "msgpack", ts=now_ms, reply_to=request_id)
            session.bulk.append(Payload(data, True))
            return
        self._reply(session, answer, request_id, now_ms)

    def _reply(self, session: Session, answer: Struct, request_id: int | None, now_ms: int) -> None:
        data = encode(answer, session.encoding, ts=now_ms, reply_to=request_id)
        session.say(Payload(data, session.encoding != "json"))

    def _error(self, session: Session, error: RfmError, request_id: int | None, now_ms: int) -> None:
        self.counts[f"error_{error.code}"] += 1
        self._reply(session, error_info(error), request_id, now_ms)

    def _close(
        self, session: Session, code: int, now_ms: int, retry_after_ms: int | None = None, reason: str = ""
    ) -> Close:
        session.closing = code
        self.notes.ended(session, code)
        self._reply(session, goodbye(code, retry_after_ms, reason), None, now_ms)
        self.counts[f"closed_{code}"] += 1
        return Close(session.number, code)

    def pending(self) -> list[int]:
        """Sessions for which a flush would do something."""
        return [number for number, session in self.sessions.items() if session.has_something(self.replica)]

    def pull(self, number: int, unsent_bytes: int, now_s: float, now_ms: int) -> list[Payload]:
        """What to write to this session now. unsent_bytes: in its socket's buffer."""
        session = self.sessions[number]
        limit = self.settings.write_limit_bytes
        # Compared with all that was handed over: a buffer that is refilled as fast as it drains has not stalled.
        if unsent_bytes == 0 or unsent_bytes < session.handed_bytes:
            session.stalled_since_s = None
        elif session.stalled_since_s is None:
            session.stalled_since_s = session.pulled_s
        session.unsent_bytes = unsent_bytes
        session.pulled_s = now_s
        session.look_again = False
        room = 4 * limit - unsent_bytes if unsent_bytes < limit else 0
        payloads = session.pull(self.replica, room, now_s, now_ms, limit)
        if session.metrics_due and self.resources is not None and unsent_bytes < limit:
            session.metrics_due = False
            data = encode(self.resources, session.encoding, ts=now_ms)
            payloads.append(Payload(data, session.encoding != "json"))
        session.handed_bytes = unsent_bytes + sum(len(payload.data) for payload in payloads)
        return payloads

    def tick(self, now_s: float, now_ms: int) -> list[Command]:
        """Deadlines of sessions: hello, waiting places, stalled writes, heartbeats."""
        self.notes.clock(now_s, now_ms)
        self._compare_clocks(now_s, now_ms)
        commands = self._close_revoked(now_ms)
        for revoke in self._by_id.again(self.revoked, now_s, now_ms):
            commands.append(Ask(internal.DoRevoke(OWN, revoke), self.replica.attempt))
        self.replica.forget(self.settings.finished_keep)
        expiring, expired = self._expiries.due(self.sessions, now_ms)
        for session in expiring:
            session.warned = True
            if session.ends_ms is not None:
                self._reply(session, TokenExpiring(session.ends_ms), None, now_ms)
        commands += [self._close(session, CloseCode.TOKEN_EXPIRED, now_ms) for session in expired]
        for session in list(self.sessions.values()):
            if session.closing is not None:
                continue
            reporting = session.reporting
            if reporting is not None and reporting.source is not None and reporting.beats(now_s):
                commands.append(Beat(session.number, reporting.source, reporting.operations))
            session.look_again = session.handed_bytes > 0 and now_s - session.pulled_s >= LOOK_AGAIN_S
            session.rest(now_s, now_ms)
            stalled_s = now_s - session.stalled_since_s if session.stalled_since_s is not None else 0.0
            if not session.max_hz and now_s - session.connected_s > self.settings.hello_timeout_s:
                commands.append(self._close(session, CloseCode.AUTH_TIMEOUT, now_ms))
            elif stalled_s > self.settings.write_stall_s or session.is_flooded:
                commands.append(self._close(session, CloseCode.SLOW_CONSUMER, now_ms))
            elif session.is_lost(self.replica):
                commands.append(self._close(session, CloseCode.RESYNC, now_ms))
            elif session.welcome_due or session.mode == "waiting":
                commands += self._place(session, now_s, now_ms)
            elif now_s - session.last_sent_s >= self.settings.heartbeat_s and not session.unsent_bytes:
                self._reply(session, Heartbeat(), None, now_ms)
        return commands

    def drain(self, now_ms: int) -> list[Command]:
        """Say goodbye to everybody, each with a time of its own to come back: as many a second as are let in."""
        self.draining = True
        told = [session for session in self.sessions.values() if session.closing is None]
        apart_ms = 1000 / self.settings.handshakes_per_s
        return [
            self._close(session, CloseCode.DRAINING, now_ms, retry_after_ms=COME_BACK_MS + round(number * apart_ms))
            for number, session in enumerate(told)
        ]

    @property
    def superseded_progress(self) -> int:
        """Progress that was not sent because something newer took its place."""
        return self.superseded + sum(session.superseded for session in self.sessions.values())

    def unavailable(self, what: str) -> ErrorInfo:
        """The answer while an engine does not answer."""
        return error_info(
            UnavailableError(
                f"{what} does not answer",
                kept="the files are kept",
                hint="try again in a moment; `rfm-runtime status` says whom nobody hears",
                retry_after_s=1.0,
            )
        )

    def broker_away(self, now_s: float) -> ErrorInfo:
        """The answer while the broker does not answer. It may take the request up all the same, once it does."""
        silent_s = self._silent_s(now_s)
        since = f" and has said nothing for {silent_s:.0f} s" if silent_s > FEED_SILENT_S else ""
        error = UnavailableError(
            f"the broker does not answer{since}",
            kept="what was accepted is on disk, and what runs goes on",
            hint="repeat it when `rfm-runtime status` says ready; `rfm-runtime logs broker` says why it is not",
            retry_after_s=1.0,
        )
        error.unsure = True
        return error_info(error)

    # --- for tests and people ---------------------------------------------------------------

    def explain(self, number: int) -> tuple[str, ...]:
        """What a session is doing."""
        session = self.sessions[number]
        behind = self.replica.position - session.cursor
        lines = [f"s{number} ({session.client or 'unnamed'} from {session.address}) is in mode {session.mode}."]
        if session.mode == "events":
            lines.append(f"{behind} events behind, progress at {session.hz:g} Hz.")
        if session.unsent_bytes:
            lines.append(f"{session.unsent_bytes} bytes wait in its socket.")
        return tuple(lines)

    def sanity_check(self) -> None:
        """Raise AssertionError if counts and tables disagree."""
        self.replica.sanity_check()
        self.doorstep.sanity_check()
        self.notes.sanity_check()
        self._fetches.sanity_check()
        by_address = Counter(session.network for session in self.sessions.values() if session.principal is None)
        if by_address != +self._door.by_address:
            raise AssertionError(f"connections by address: {self._door.by_address} against {by_address}")
        for session in self.sessions.values():
            if session.reporting is not None:
                session.reporting.sanity_check()
            current = session.mode == "events" and session.generation == self.replica.generation
            if current and session.cursor > self.replica.position:
                raise AssertionError(f"s{session.number} is ahead of the replica")


def _is_later(ends_ms: int | None, than_ms: int | None) -> bool:
    if ends_ms is None or than_ms is None:
        return ends_ms is None
    return ends_ms > than_ms


def _no_token(certificate: str) -> str:
    """Why nobody is let in who shows no token. certificate: the name in what was shown instead."""
    if not certificate:
        return "no token was shown"
    name = shortened(printable(certificate), NAME_SHOWN)
    return f"no token was shown, and the certificate of {name} is nobody's here (tls_users)"


def _retry_after_ms(error: RfmError) -> int:
    return COME_BACK_MS if error.retry_after_s is None else round(1000 * error.retry_after_s)
