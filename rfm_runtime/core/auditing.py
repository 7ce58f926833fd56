"""What is written down of who came in, was refused, and did what to whom: the entries of the audit log. Values in,
values out; who writes them is `observe.audit`.

An entry has names of users, addresses, operations and requests, and why somebody revoked a token, and nothing else that
a token, a message or a parameter contains. What repeats is counted: the first of its kind is written at once, then one
line with the number of the others at the end of a window. Whoever floods the runtime gets a bounded number of lines,
and does not push out what others did.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from rfm_runtime.config.settings import Settings
from rfm_runtime.core.timing import TokenBucket

__all__ = [
    "EVENTS",
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

WINDOW_S = 10.0
"""What repeats within it is one line."""

KEYS_LIMIT = 512
"""Kinds of entries that are counted at the same time; what does not find room is counted by its event alone."""

LINES_PER_S = 20.0
LINES_BURST = 200.0
"""Of what somebody who is not let in can cause."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line. at_ms: ms since 1970, of the first that it counts. count: how many it stands for, since `at_ms`.

    owner: of the operation, or whose tokens were revoked, or for whom a sign-in link is; token_id: of the one that was
    revoked, which is no secret; granted: the roles that a link gives. reason: its class; of a revocation, what whoever
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
        self._budget = TokenBucket.full(LINES_PER_S, LINES_BURST, now_s)

    def note(self, entry: Entry, now_s: float) -> None:
        """It has happened."""
        if entry.event in UNCOUNTED:
            self._lines.append(entry)
            return
        # Sessions and times differ where everything else is the same.
        key = msgspec.structs.replace(entry, at_ms=0, session="", count=1)
        counted = self._counted.get(key)
        if counted is None:
            self._budget, wait_s = self._budget.take(now_s)
            if wait_s == 0.0 and len(self._counted) < KEYS_LIMIT:
                self._counted[key] = _Counted(now_s)
                self._lines.append(entry)
                return
            # Too many kinds at once: of those the event alone is counted.
            entry = Entry(at_ms=entry.at_ms, event=entry.event, reason="many")
            key = msgspec.structs.replace(entry, at_ms=0)
            counted = self._counted.setdefault(key, _Counted(now_s))
        if counted.entry is None:
            counted.entry = entry
        counted.count += entry.count

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
        lines, self._lines = self._lines, []
        return lines

    @property
    def has_lines(self) -> bool:
        """Whether something is to be written at once."""
        return bool(self._lines)

    def sanity_check(self) -> None:
        """Raise AssertionError if it grows, or forgets what it has counted."""
        # One more for each event, of those without room.
        if len(self._counted) > KEYS_LIMIT + len(EVENTS):
            raise AssertionError(f"{len(self._counted)} kinds of entries are counted")
        for counted in self._counted.values():
            if (counted.entry is None) != (counted.count == 0):
                raise AssertionError("a count of nothing")


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

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


def weakened(settings: Settings) -> tuple[str, ...]:
    """Names of the settings that protect less than they do by default, for who looks later how it was."""
    default = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    found = [] if settings.host in LOOPBACK else ["host"]
    found += [name for name in OPENED if getattr(settings, name) != default[name]]
    found += [name for name in LIMITS if getattr(settings, name) > default[name]]
    return tuple(found)
