"""Of what each user wants to be told: his rules, kept by the broker for every face that he looks from. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.notifying.rules import DEFAULTS, checked
from rfm_runtime.core.operations.record import Asked, Command, Now, Ruled, Send
from rfm_runtime.core.permissions import require
from rfm_runtime.errors import ConflictError, QuotaExceededError, TooLargeError
from rfm_runtime.protocol.internal import DoGetRules, DoSetRules
from rfm_runtime.protocol.notifying import RULES_LIMIT_BYTES, RulesReply, UserRules

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["USERS_LIMIT", "RulesKept", "on_get_rules", "on_set_rules"]

USERS_LIMIT = 1000
"""Who have rules of their own: 32 MB at most, and a tenth of that as people write them."""

_encoder = msgspec.msgpack.Encoder()


class RulesKept:
    """By user. newest: as decided, from which the next version is counted; committed: on disk, and all that is told."""

    def __init__(self, known: Iterable[UserRules]) -> None:
        self.committed = {entry.user: entry for entry in known}
        self.newest = dict(self.committed)
        self._waiting: deque[tuple[int, UserRules]] = deque()

    def version(self, user: str) -> int:
        """Of what the user has; 0: nothing of his own."""
        entry = self.newest.get(user)
        return 0 if entry is None else entry.version

    def put(self, entry: UserRules, number: int) -> None:
        """The user has these, told once the batch is on disk."""
        _put(self.newest, entry)
        self._waiting.append((number, entry))

    def journalled(self, number: int) -> None:
        """Batches up to this one are on disk."""
        while self._waiting and self._waiting[0][0] <= number:
            _put(self.committed, self._waiting.popleft()[1])

    def told(self, user: str) -> RulesReply:
        """What is answered."""
        entry = self.committed.get(user)
        if entry is None or entry.rules is None:
            return RulesReply(version=0, rules=DEFAULTS)
        return RulesReply(version=entry.version, rules=entry.rules)

    def sanity_check(self) -> None:
        """Raise AssertionError if what is told is not what is kept, once all is written."""
        if not self._waiting and self.committed != self.newest:
            raise AssertionError("rules: what is told is not what is kept")
        if len(self.newest) > USERS_LIMIT:
            raise AssertionError(f"rules of {len(self.newest)} users")


def _put(entries: dict[str, UserRules], entry: UserRules) -> None:
    if entry.rules is None:
        entries.pop(entry.user, None)
    else:
        entries[entry.user] = entry


def on_get_rules(hub: Hub, asked: Asked, message: DoGetRules, _now: Now) -> list[Command]:
    """One's own."""
    require(message.principal, "get_rules")
    return [Send(asked.routing, asked.request_id, hub.rules.told(message.principal.user))]


def on_set_rules(hub: Hub, asked: Asked, message: DoSetRules, now: Now) -> list[Command]:
    """Keep one's own, if they are made from those that are there."""
    require(message.principal, "set_rules")
    user, wanted = message.principal.user, message.request
    rules = None if wanted.rules is None else checked(wanted.rules)
    # By their clock, so that a number is not given again after they were forgotten, or a backup was restored.
    version = max(hub.rules.version(user) + 1, now.wall_ms)
    entry = UserRules(user=user, version=version, rules=rules)
    size_bytes = len(_encoder.encode(entry))
    if size_bytes > RULES_LIMIT_BYTES:
        raise TooLargeError(
            f"the rules have {size_bytes:,} bytes, {RULES_LIMIT_BYTES:,} are the limit",
            hint="shorten names, texts and lists of kinds, or keep fewer rules",
        )
    hub.writable()
    if wanted.version != hub.rules.version(user):
        raise ConflictError(
            "the rules were changed meanwhile, in another window or by another program",
            hint="look at them again, and make the change once more",
        )
    if rules is not None and user not in hub.rules.newest and len(hub.rules.newest) >= USERS_LIMIT:
        raise QuotaExceededError(
            f"{USERS_LIMIT:,} users have rules of their own already",
            hint="those who need none of their own can go back to the first ones: `rfm-runtime rules reset`",
        )
    if rules is None and user not in hub.rules.newest:
        # Nothing of his own is there, and nothing to write; what he had may be on disk still, and is on its way off it.
        none = RulesReply(version=0, rules=DEFAULTS)
        return [hub.log.commit((), (), [Send(asked.routing, asked.request_id, none)])]
    answer = RulesReply(version=0 if rules is None else version, rules=DEFAULTS if rules is None else rules)
    then: list[Command] = [Ruled(user, answer.version), Send(asked.routing, asked.request_id, answer)]
    journal = hub.log.commit((), (), then, rules=(entry,))
    hub.rules.put(entry, journal.batch.number)
    return [journal]


HANDLERS: dict[type[Struct], Any] = {DoGetRules: on_get_rules, DoSetRules: on_set_rules}
