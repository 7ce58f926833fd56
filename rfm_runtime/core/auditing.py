"""What is written down of who came in, was refused, and did what to whom: the entries of the audit log. Values in,
values out; who writes them is `observe.audit`.

An entry has names of users, addresses, operations and requests, and why somebody revoked a token, and nothing else that
a token, a message or a parameter contains. What repeats is counted: the first of its kind is written at once, then one
line with the number of the others at the end of a window. Whoever floods the runtime gets a bounded number of lines,
each user of his own, and does not push out what others did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from rfm_runtime.config.loopback import is_loopback
from rfm_runtime.config.settings import Settings
from rfm_runtime.core.networks import network_of
from rfm_runtime.core.sessions.askers import Askers
from rfm_runtime.core.sessions.shares import client_messages_per_s, user_commands_per_s, user_messages_per_s
from rfm_runtime.core.timing import TokenBucket

__all__ = [
    "EVENTS",
    "HTTP",
    "KEYS_LIMIT",
    "LINES_BURST",
    "LINES_PER_S",
    "WINDOW_S",
    "AuditEvent",
    "Auditor",
    "Entry",
    "weakened",
]

AuditEvent = Literal[
    "runtime_started",
    "runtime_stopped",
    "signed_in",
    "sign_in_refused",
    "token_renewed",
    "session_ended",
    "denied",
    "limited",
    "acted_on_anothers",
    "administered",
]

EVENTS: dict[AuditEvent, str] = {
    "runtime_started": "the runtime began; `weakened` says which defaults are",
    "runtime_stopped": "it ended in order",
    "signed_in": "a token was shown and taken",
    "sign_in_refused": "somebody did not get in; `reason` is the class",
    "token_renewed": "a fresh token took the place of the one before, on the way",
    "session_ended": "a session ended because its token did not count any more",
    "denied": "a request was refused for want of the right, or of a sight of the operation",
    "limited": "a limit or a quota was hit; `reason` says which",
    "acted_on_anothers": "somebody cancelled, paused, resumed or ranked an operation of another user",
    "administered": "who may do what was changed",
}

UNCOUNTED: frozenset[AuditEvent] = frozenset(
    {"runtime_started", "runtime_stopped", "acted_on_anothers", "administered", "session_ended"}
)
"""Each of these has a line of its own: who causes them has the right to, and a limit of commands."""

ADMIN = "admin"

HTTP = "http"
"""The client of a plain request, as against one over WebSocket, which calls itself what it likes."""

WINDOW_S = 10.0
"""What repeats within it is one line."""

KEYS_LIMIT = 4096
"""Kinds of entries that are counted at the same time, 4 MiB; what does not find room is counted by its event alone."""

LINES_PER_S = 20.0
LINES_BURST = 200.0
"""Of what those who are not let in can cause, all together: they have as many addresses as they like."""

USER_LINES_PER_S = 5.0
USER_LINES_BURST = 50.0
"""Of what one user can cause, or one address that is not let in. What is above that is counted by user and event."""

NAMED_LIMIT = 256
"""Users of whom such a count is kept at the same time, of each event some."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line. at_ms: ms since 1970, of the first that it counts. count: how many it stands for, since `at_ms`.

    owner: of the operation, or whose tokens were revoked, or for whom a sign-in link is; token_id: of the one that was
    revoked, which is no secret; issued_before_ms: until when a user's revoked tokens were issued, ms since 1970, None:
    until they were revoked; granted: the roles that a link gives. reason: its class; of a revocation, what whoever
    revoked has given.
    """

    at_ms: int
    event: AuditEvent
    user: str = ""
    roles: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    address: str = ""
    session: str = ""
    client: str = ""
    request: str = ""
    operation_id: str = ""
    owner: str = ""
    token_id: str = ""
    issued_before_ms: int | None = None
    granted: tuple[str, ...] = ()
    reason: str = ""
    weakened: tuple[str, ...] = ()
    count: int = 1


class _Counted:
    """entry: the first that is not written yet, if there is one. since_s: of the window."""

    __slots__ = ("count", "entry", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.entry: Entry | None = None
        self.count = 0


class Auditor:
    """What is to be written. Owned by whoever notes; `take` gives the lines, in their order."""

    def __init__(self, now_s: float) -> None:
        self._lines: list[Entry] = []
        self._counted: dict[Entry, _Counted] = {}
        self._strangers = TokenBucket.full(LINES_PER_S, LINES_BURST, now_s)
        self._each = Askers(USER_LINES_PER_S, USER_LINES_BURST)
        self._named = 0

    def note(self, entry: Entry, now_s: float) -> None:
        """It has happened."""
        if entry.event in UNCOUNTED:
            self._lines.append(entry)
            return
        # Sessions and times differ where everything else is the same; what a client calls itself is its own choice.
        client = entry.client if entry.client == HTTP else ""
        key = msgspec.structs.replace(entry, at_ms=0, session="", client=client, count=1)
        counted = self._counted.get(key)
        if counted is None:
            if len(self._counted) < KEYS_LIMIT and self._has_line(entry, now_s):
                self._counted[key] = _Counted(now_s)
                self._lines.append(entry)
                return
            counted, entry = self._of_many(entry, now_s)
        if counted.entry is None:
            counted.entry = entry
        counted.count += entry.count

    def _has_line(self, entry: Entry, now_s: float) -> bool:
        """Whether something new may have a line of its own, by who has caused it."""
        if entry.event == "signed_in" and ADMIN in entry.roles:
            # Whoever may do everything is never one of many.
            return True
        if not _is_of_user(entry):
            if self._each.wait_s(f"/{network_of(entry.address)}", now_s) > 0.0:
                return False
            self._strangers, wait_s = self._strangers.take(now_s)
            if wait_s > 0.0:
                return False
        # No user is called so: a name has no / in it.
        who = entry.user if _is_of_user(entry) else f"/{network_of(entry.address)}"
        return self._each.ask(who, 1.0, now_s) == 0.0

    def _of_many(self, entry: Entry, now_s: float) -> tuple[_Counted, Entry]:
        """Where too many kinds at once are counted: by event and user, or by the event alone; and as what."""
        user = entry.user if _is_of_user(entry) else ""
        entry = Entry(at_ms=entry.at_ms, event=entry.event, user=user, reason="many")
        key = msgspec.structs.replace(entry, at_ms=0)
        if user and key not in self._counted:
            if self._named < NAMED_LIMIT:
                self._named += 1
            else:
                entry = msgspec.structs.replace(entry, user="")
                key = msgspec.structs.replace(key, user="")
        return self._counted.setdefault(key, _Counted(now_s)), entry

    def take(self, now_s: float, *, all_of_it: bool = False) -> list[Entry]:
        """The lines since the last time, with those whose window has ended. all_of_it: the process ends."""
        for key, counted in list(self._counted.items()):
            if not all_of_it and now_s - counted.since_s < WINDOW_S:
                continue
            if counted.entry is not None:
                self._lines.append(msgspec.structs.replace(counted.entry, count=counted.count))
                counted.entry, counted.count, counted.since_s = None, 0, now_s
            if all_of_it or counted.since_s != now_s:
                # It did not happen again.
                del self._counted[key]
                self._named -= _is_named(key)
        lines, self._lines = self._lines, []
        return lines

    @property
    def has_lines(self) -> bool:
        """Whether something is to be written at once."""
        return bool(self._lines)

    def sanity_check(self) -> None:
        """Raise AssertionError if it grows, or forgets what it has counted."""
        # Some more of those without room.
        if len(self._counted) > KEYS_LIMIT + NAMED_LIMIT + len(EVENTS):
            raise AssertionError(f"{len(self._counted)} kinds of entries are counted")
        if self._named != sum(map(_is_named, self._counted)) or self._named > NAMED_LIMIT:
            raise AssertionError(f"{self._named} users are counted by name")
        for counted in self._counted.values():
            if (counted.entry is None) != (counted.count == 0):
                raise AssertionError("a count of nothing")


def _is_of_user(entry: Entry) -> bool:
    """Whether its user was let in, and so answers for it; whoever shows a token that counts no more was not."""
    return bool(entry.user) and entry.event != "sign_in_refused"


def _is_named(key: Entry) -> bool:
    return key.reason == "many" and bool(key.user)


OPENED = ("allow_insecure", "allowed_origins", "allowed_hosts")
"""Settings that let others in who are kept out by default."""

LIMITS = (
    "operations_per_user",
    "progress_per_s",
    "hello_timeout_s",
    "write_stall_s",
    "inbound_limit_bytes",
    "connections_per_user",
    "connections_per_address",
    "handshakes_open",
    "handshakes_per_s",
    "commands_per_s",
    "commands_burst",
    "inbound_per_s",
    "refused_sign_ins_per_s",
)
"""Settings that protect by being small."""

SHARES: dict[str, Callable[[Settings], float]] = {
    "user_commands_per_s": user_commands_per_s,
    "user_inbound_per_s": user_messages_per_s,
    "client_inbound_per_s": client_messages_per_s,
}
"""The same, and by default as large as follows from those."""


def weakened(settings: Settings) -> tuple[str, ...]:
    """Names of the settings that protect less than they do by default, for who looks later how it was."""
    default = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    found = [] if is_loopback(settings.host) else ["host"]
    found += [name for name in OPENED if getattr(settings, name) != default[name]]
    found += [name for name in LIMITS if getattr(settings, name) > default[name]]
    plain = msgspec.structs.replace(settings, **{name: default[name] for name in (*LIMITS, *SHARES)})
    found += [name for name, share in SHARES.items() if getattr(settings, name) > share(plain)]
    return tuple(found)
