"""What a gateway notes for the audit log: who came and went, what was refused, what was done to another's operation.

Owned by `GatewayCore`; a request is named by its type, and nothing else of it is kept but the operation that it names.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from rfm_runtime.core.auditing import HTTP, AuditEvent, Auditor, Entry
from rfm_runtime.core.permissions import NEEDS
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.session import Session
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.operation import ErrorInfo, Operation

__all__ = ["ENDED", "REFUSED", "Notes", "named"]

REFUSED: dict[int, str] = {
    CloseCode.INVALID_TOKEN: "wrong token",
    CloseCode.AUTH_TIMEOUT: "no hello in time",
    CloseCode.REVOKED: "revoked token",
    CloseCode.TOKEN_EXPIRED: "expired token",
    CloseCode.VERSION: "another version",
}
"""Classes of refused sign-ins. What it was that was shown is nowhere."""

LIMITS: dict[int, str] = {CloseCode.RATE_LIMITED: "handshakes", CloseCode.CONNECTION_LIMIT: "connections"}

ENDED = {CloseCode.TOKEN_EXPIRED: "expired token", CloseCode.REVOKED: "revoked token"}
"""Why a session ends that was let in."""

LIMITED = frozenset({"rate_limited", "quota_exceeded", "too_large"})

REQUESTED: dict[type[Struct], str] = {
    internal.DoRevoke: "revoke",
    internal.DoSignInLink: "sign_in_link",
    internal.DoSubmit: "submit",
    internal.DoCancel: "cancel_operation",
    internal.DoPause: "pause",
    internal.DoPriority: "set_priority",
    internal.DoList: "list_operations",
    internal.DoGet: "get_operation",
    internal.DoExplain: "explain",
    internal.DoKinds: "kinds",
    internal.DoHistory: "history",
    internal.DoTimeline: "timeline",
    internal.DoPeriodReport: "period_report",
    internal.DoOperationReport: "operation_report",
    internal.DoPerformance: "performance",
    internal.DoGetRules: "get_rules",
    internal.DoSetRules: "set_rules",
}
"""What a watcher has said for each message to the broker; of two the first."""


def named(request: Struct | None) -> str:
    """The operation that a request is about, "" if it is about none, or several."""
    inner = getattr(request, "request", request)
    found = getattr(inner, "operation_id", "")
    return found if isinstance(found, str) else ""


class Notes:
    """Lines wait here until the shell takes them, after each turn."""

    def __init__(self, now_s: float) -> None:
        self._auditor = Auditor(now_s)
        self._now_s = now_s
        self._now_ms = 0

    def clock(self, now_s: float, now_ms: int) -> None:
        """What is noted from now on happens now; told at each tick, which is how exact times are."""
        self._now_s, self._now_ms = now_s, now_ms

    @property
    def has_lines(self) -> bool:
        """Whether something is to be written at once."""
        return self._auditor.has_lines

    def take(self, *, all_of_it: bool = False) -> list[Entry]:
        """What is to be written. all_of_it: the gateway ends."""
        return self._auditor.take(self._now_s, all_of_it=all_of_it)

    def sanity_check(self) -> None:
        """Raise AssertionError if it grows."""
        self._auditor.sanity_check()

    def signed_in(self, session: Session) -> None:
        """A token was taken."""
        self._note("signed_in", session, roles=True)

    def renewed(self, session: Session) -> None:
        """Another one took its place."""
        self._note("token_renewed", session, roles=True)

    def refused(self, address: str, code: int, *, user: str = "") -> None:
        """Somebody does not get in: refused, or limited, by the code with which the connection is closed."""
        if code in LIMITS:
            entry = Entry(at_ms=self._now_ms, event="limited", address=address, user=user, reason=LIMITS[code])
        elif code in REFUSED:
            entry = Entry(at_ms=self._now_ms, event="sign_in_refused", address=address, user=user, reason=REFUSED[code])
        else:
            return
        self._auditor.note(entry, self._now_s)

    def ended(self, session: Session, code: int) -> None:
        """A session is closed: noted if its token is why."""
        if session.principal is None or not session.max_hz:
            user = "" if session.principal is None else session.principal.user
            self.refused(session.address, code, user=user)
        elif code in ENDED:
            self._note("session_ended", session, reason=ENDED[CloseCode(code)])

    def limited(self, session: Session, reason: str) -> None:
        """It is slowed down."""
        self._note("limited", session, reason=reason)

    def failed(
        self,
        session: Session,
        request: str,
        operation_id: str,
        code: str,
        operations: Mapping[str, Operation],
    ) -> None:
        """A request was answered with this error: noted if it was for want of a right, or of room."""
        if code == "forbidden":
            self._note("denied", session, request=request, operation_id=operation_id)
        elif code == "unknown_operation" and operation_id in operations:
            # There is one, and that is not to be known: whoever goes through names is seen to do so.
            self._note("denied", session, request=request, operation_id=operation_id, reason="not to be seen")
        elif code in LIMITED:
            self._note("limited", session, request=request, reason=code)

    def answered(self, session: Session, asked: Struct, answer: Struct, operations: Mapping[str, Operation]) -> None:
        """The broker's answer to a request."""
        request, operation_id = REQUESTED.get(type(asked), ""), named(asked)
        if isinstance(asked, internal.DoPause) and not asked.paused:
            request = "resume"
        if isinstance(answer, ErrorInfo):
            self.failed(session, request, operation_id, answer.code, operations)
            return
        operation = operations.get(operation_id)
        need = NEEDS.get(request)
        if need is not None and need.right == "administer":
            self._note(
                "administered",
                session,
                request=request,
                owner=asked.request.user if isinstance(asked, internal.DoRevoke | internal.DoSignInLink) else "",
                token_id=asked.request.token_id if isinstance(asked, internal.DoRevoke) else "",
                issued_before_ms=asked.request.issued_before if isinstance(asked, internal.DoRevoke) else None,
                reason=asked.request.reason if isinstance(asked, internal.DoRevoke) else "",
                granted=tuple(asked.request.roles) if isinstance(asked, internal.DoSignInLink) else (),
            )
        elif need is not None and need.right == "change" and operation is not None:
            # As it was asked: its token may have been renewed since.
            principal = getattr(asked, "principal", None)
            if isinstance(principal, Principal) and principal.user != operation.owner:
                self._note(
                    "acted_on_anothers", session, request=request, operation_id=operation_id, owner=operation.owner
                )

    def reported(self, session: Session, asked: Struct, code: str) -> None:
        """The broker's error for what a program said of its operation."""
        if code == "forbidden" or code in LIMITED:
            request = "operation_started" if isinstance(asked, internal.Announce) else "report"
            self.failed(session, request, named(asked), code, {})

    def refused_request(
        self, address: str, grant: Grant | None, reason: str, operation_id: str = "", *, request: str = ""
    ) -> None:
        """A plain request over HTTP was refused: without a token that counts, or for want of a right, or of room.

        request: what it asks for, as it is called over WebSocket. Of who is not let in that says nothing.
        """
        event: AuditEvent = "sign_in_refused" if grant is None else "denied"
        if reason in LIMITED:
            event = "limited"
        user = "" if grant is None else grant.principal.user
        entry = Entry(
            at_ms=self._now_ms,
            event=event,
            user=user,
            address=address,
            client=HTTP,
            request=request if event != "sign_in_refused" else "",
            operation_id=operation_id,
            reason=reason,
        )
        self._auditor.note(entry, self._now_s)

    def _note(
        self,
        event: AuditEvent,
        session: Session,
        *,
        roles: bool = False,
        request: str = "",
        operation_id: str = "",
        owner: str = "",
        reason: str = "",
        token_id: str = "",
        issued_before_ms: int | None = None,
        granted: tuple[str, ...] = (),
    ) -> None:
        principal = session.principal
        entry = Entry(
            at_ms=self._now_ms,
            event=event,
            user="" if principal is None else principal.user,
            roles=principal.roles if roles and principal is not None else (),
            kinds=principal.kinds if roles and principal is not None else None,
            address=session.address,
            session=f"s{session.number}",
            client=session.client,
            request=request,
            operation_id=operation_id,
            owner=owner,
            reason=reason,
            token_id=token_id,
            issued_before_ms=issued_before_ms,
            granted=granted,
        )
        self._auditor.note(entry, self._now_s)
