"""Who may do and see what: one table, and the checks that follow from it. Values in, values out.

`NEEDS` says of each request and of each published type which right it needs, `ROLES` which roles have that right, and
over whose operations. The gateway asks at each request and before each word it sends, the broker once more with the
operation in its hands; both by these functions, so that they cannot disagree. docs/permissions.md is made from it.

An operation that somebody may not see does not exist for him: he is answered as if nobody had submitted it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

import msgspec
from msgspec import Struct

from rfm_runtime.errors import ForbiddenError, UnknownOperationError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.operation import Operation, OperationFilter

__all__ = [
    "KINDS_LIMIT",
    "NEEDS",
    "PUBLISHED",
    "ROLES",
    "Need",
    "Reach",
    "Right",
    "Sight",
    "narrowed",
    "reach",
    "require",
    "require_granted",
    "require_kind",
    "require_parent",
    "sees",
    "shown",
    "sight",
    "unknown",
]

Right = Literal["see", "observe", "submit", "report", "change", "administer"]
"""see: operations. observe: what the runtime's processes use. submit: new work for engines. report: the work of a
program of one's own. change: cancel, pause, resume, priority, children. administer: who may do what."""

Reach = Literal["own", "all"]

KINDS_LIMIT = 64
"""Kinds in one grant."""

ROLES: dict[str, dict[Right, Reach]] = {
    "viewer": {"see": "all", "observe": "all"},
    "operator": {"see": "all", "observe": "all", "submit": "own", "report": "own", "change": "own"},
    "admin": {
        "see": "all",
        "observe": "all",
        "submit": "own",
        "report": "own",
        "change": "all",
        "administer": "all",
    },
    "reporter": {"see": "own", "report": "own"},
}
"""Of each role its rights, and over whose operations. Several roles add up."""


class Need(Struct, frozen=True):
    """right: None: any token, of whatever role. about: what of the message is looked at as well.

    operation: the one that is named has to be seen, and to be in the right's reach.
    seen: it has to be seen. kind: the kind that is named has to be granted, and a parent is one's own, or in the reach
    of `change`.
    list: the answer, or what is published, has nothing that may not be seen.
    program: it has to be in the hands of the program that speaks.
    everything: it cannot be said of some kinds, so that whoever is narrowed to some may not.
    grant: what is given to somebody lies within what the giver has.
    """

    right: Right | None
    about: Literal["nothing", "operation", "seen", "kind", "list", "program", "everything", "grant"] = "nothing"


NEEDS: dict[str, Need] = {
    "hello": Need(None),
    "subscribe": Need("see", "list"),
    "unsubscribe": Need(None),
    "submit": Need("submit", "kind"),
    "submit_many": Need("submit", "kind"),
    "cancel_operation": Need("change", "operation"),
    "pause": Need("change", "operation"),
    "resume": Need("change", "operation"),
    "set_priority": Need("change", "operation"),
    "set_focus": Need("change", "operation"),
    "list_operations": Need("see", "list"),
    "get_operation": Need("see", "operation"),
    "explain": Need("see", "operation"),
    "fetch_artifact": Need("see", "operation"),
    "fetch_tiles": Need("see", "operation"),
    "probe_points": Need("see", "operation"),
    # A picture takes the machine's time and room, as a render does.
    "recolour": Need("submit", "seen"),
    "kinds": Need("see", "list"),
    "get_metrics": Need("observe"),
    "get_usage": Need("observe"),
    "get_workers": Need("observe"),
    # One's own, whoever one is: nobody names a user.
    "get_rules": Need("see"),
    "set_rules": Need("see"),
    "history": Need("see", "list"),
    "timeline": Need("see", "list"),
    "period_report": Need("see", "list"),
    "operation_report": Need("see", "operation"),
    "performance": Need("see", "operation"),
    "auth_refresh": Need(None),
    "revoke": Need("administer", "everything"),
    "sign_in_link": Need("administer", "grant"),
    "ping": Need(None),
    "heartbeat": Need(None),
    "report": Need("report", "program"),
    "operation_started": Need("report", "kind"),
    # What was begun with the right to begin it is told to its end: a narrower token loses no outcome.
    "progress_update": Need("report", "program"),
    "operation_paused": Need("report", "program"),
    "operation_resumed": Need("report", "program"),
    "operation_completed": Need("report", "program"),
    "operation_failed": Need("report", "program"),
    "operation_canceled": Need("report", "program"),
}
"""By type of the envelope, client to server. A type that is not here is nobody's to ask."""

SAID_OF_RIGHTS: dict[Right, str] = {
    "see": "see {}",
    "observe": "see what the runtime uses",
    "submit": "submit {}",
    "report": "report {}",
    "change": "change {}",
    "administer": "administer the runtime",
}
"""What who has no right may not do, for people; {} are the operations. See `SAID`."""

SAID: dict[str, str] = {
    "cancel_operation": "cancel {}",
    "pause": "pause {}",
    "resume": "resume {}",
    "set_priority": "change the priority of {}",
    "recolour": "recolour {}",
    "revoke": "revoke tokens",
    "get_rules": "have rules of notifications",
    "set_rules": "have rules of notifications",
    "sign_in_link": "make sign-in links",
}
"""Of requests of which more is to be said than by their right."""

PUBLISHED: dict[str, Need] = {
    "operation_list": Need("see", "list"),
    "progress_update": Need("see", "list"),
    "operation_accepted": Need("see", "list"),
    "operation_queued": Need("see", "list"),
    "operation_started": Need("see", "list"),
    "operation_paused": Need("see", "list"),
    "operation_resumed": Need("see", "list"),
    "operation_requeued": Need("see", "list"),
    "operation_priority": Need("see", "list"),
    "operation_cancelling": Need("see", "list"),
    "operation_completed": Need("see", "list"),
    "operation_failed": Need("see", "list"),
    "operation_canceled": Need("see", "list"),
    "metrics": Need("observe"),
    "rules_changed": Need("see"),
    "asked": Need("report", "program"),
    "report_again": Need("report", "program"),
    "live": Need(None),
    "throttled": Need(None),
    "heartbeat": Need(None),
    "goodbye": Need(None),
    "token_expiring": Need(None),
}
"""By type of the envelope, server to client, unasked."""


def reach(who: Principal, right: Right) -> Reach | None:
    """Over whose operations somebody has a right; None: he has it not. A role that is none gives none."""
    found: Reach | None = None
    for role in who.roles:
        given = ROLES.get(role, {}).get(right)
        if given == "all":
            return "all"
        found = found or given
    return found


class Sight(Struct, frozen=True):
    """What somebody sees. everything: all there is. user, kinds: whose operations alone, and which; or None."""

    everything: bool
    user: str | None
    kinds: frozenset[str] | None

    def has(self, operation: Operation) -> bool:
        """Whether the operation is seen."""
        return self.everything or (
            (self.user is None or operation.owner == self.user) and (self.kinds is None or operation.kind in self.kinds)
        )


def sight(who: Principal) -> Sight | None:
    """What somebody sees; None: no operation at all."""
    far = reach(who, "see")
    if far is None:
        return None
    kinds = None if who.kinds is None else frozenset(who.kinds)
    return Sight(far == "all" and kinds is None, None if far == "all" else who.user, kinds)


def sees(who: Principal, operation: Operation) -> bool:
    """Whether somebody may see the operation."""
    seen = sight(who)
    return seen is not None and seen.has(operation)


def shown(seen: Sight | None, operation: Operation, find: Callable[[str], Operation | None]) -> Operation:
    """An operation as it is told to somebody who sees it: of a parent that he does not see he hears nothing.

    find: the operation of an id, None if there is none, or none any more.
    """
    if operation.parent_id is None or (seen is not None and seen.everything):
        return operation
    parent = find(operation.parent_id)
    if seen is not None and parent is not None and seen.has(parent):
        return operation
    return msgspec.structs.replace(operation, parent_id=None)


def require(who: Principal, request: str, operation_id: str | None = None, operation: Operation | None = None) -> None:
    """Raise ForbiddenError or UnknownOperationError unless somebody may make this request.

    request: its type. operation_id: the operation that it names; operation: that one, None if there is none. Without
    `operation_id` only the right is looked at, which all need who may make this request of anything.
    """
    need = NEEDS[request]
    far = None if need.right is None else reach(who, need.right)
    if need.right is not None and far is None:
        raise _forbidden(who, request)
    if need.about == "everything" and who.kinds is not None:
        raise ForbiddenError(
            f"{who.user} may not {need.right} with a token for some kinds of operations alone ({request})",
            hint="ask for one without `kinds`; `rfm-runtime permissions` says who may do what",
        )
    if operation_id is None or need.about not in ("operation", "seen"):
        return
    if operation is None or not sees(who, operation):
        raise unknown(operation_id)
    if need.about == "operation" and far == "own" and operation.owner != who.user:
        raise _forbidden(who, request, f"an operation of {operation.owner}")


def require_kind(who: Principal, request: str, kind: str) -> None:
    """Raise ForbiddenError unless somebody may make this request for operations of a kind, which need not exist."""
    require(who, request)
    if who.kinds is not None and kind not in who.kinds:
        raise ForbiddenError(
            f"{who.user} may not {_said(request, f'operations of kind {kind[:64]}')}",
            hint=f"ask for a token that grants the kind; this one grants {', '.join(who.kinds) or 'none'}",
        )


def require_granted(who: Principal, request: str, kinds: Collection[str] | None) -> None:
    """Raise ForbiddenError unless somebody may give away what is about these kinds; None: all of them.

    Of roles nothing is asked: who may give some away has all of them.
    """
    require(who, request)
    if who.kinds is None:
        return
    if kinds is None or not set(kinds) <= set(who.kinds):
        raise ForbiddenError(
            f"{who.user} may not give away more kinds of operations than the token has ({request})",
            hint=f"name some of them: {', '.join(who.kinds) or 'it has none'}",
        )


def require_parent(who: Principal, parent_id: str, parent: Operation | None) -> None:
    """Raise ForbiddenError or UnknownOperationError unless somebody may put operations below this one.

    They are cancelled with it: below another's puts them whoever may cancel it. One's own takes no right but to see it,
    so that a program which only reports may report its steps.
    """
    if not (parent is not None and parent.owner == who.user and sees(who, parent)):
        require(who, "cancel_operation", parent_id, parent)


def narrowed(who: Principal, wanted: OperationFilter) -> OperationFilter | None:
    """A filter that leaves nothing that somebody may not see; None: nothing is left. He has the right to see some."""
    seen = sight(who)
    if seen is None:
        return None
    if seen.everything:
        return wanted
    if seen.user is not None:
        if wanted.owner not in (None, seen.user):
            return None
        wanted = msgspec.structs.replace(wanted, owner=seen.user)
    if seen.kinds is not None:
        kinds = seen.kinds if wanted.kinds is None else seen.kinds & set(wanted.kinds)
        if not kinds:
            return None
        wanted = msgspec.structs.replace(wanted, kinds=sorted(kinds))
    return wanted


def unknown(operation_id: str) -> UnknownOperationError:
    """The answer for an operation that there is not, or that the asker may not see: in the same words."""
    return UnknownOperationError(f"no operation {operation_id}")


def _forbidden(who: Principal, request: str, whose: str = "") -> ForbiddenError:
    roles = ", ".join(sorted(who.roles)) or "no role"
    able = [role for role, rights in ROLES.items() if _helps(rights, request, everywhere=bool(whose))]
    return ForbiddenError(
        f"{who.user} ({roles}) may not {_said(request, whose or 'operations')}",
        hint=f"ask for a token with the role {' or '.join(able)}; `rfm-runtime permissions` says who may do what",
    )


def _said(request: str, operations: str) -> str:
    """What a request does, for people. operations: to which."""
    return (SAID.get(request) or SAID_OF_RIGHTS[NEEDS[request].right or "see"]).format(operations)


def _helps(rights: dict[Right, Reach], request: str, *, everywhere: bool) -> bool:
    """Whether a role with these rights may make the request, and of everybody's operations if that is asked."""
    right = NEEDS[request].right
    return right is not None and rights.get(right) in (("all",) if everywhere else ("own", "all"))
