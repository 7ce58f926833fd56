"""What can be asked of a runtime: each a request and its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.crew import CrewUsage, GetWorkers, WorkersReply
from rfm_runtime.protocol.figures import GetOperationReport, GetPeriodReport, OperationReport, PeriodReport
from rfm_runtime.protocol.history import GetPerformance, History, HistoryReply, PerformanceReply
from rfm_runtime.protocol.messages import (
    CancelOperation,
    CancelReply,
    ChangePriority,
    Explain,
    Explanation,
    GetOperation,
    Kind,
    Kinds,
    KindsReply,
    ListOperations,
    ListReply,
    Ok,
    OperationReply,
    Pause,
    Resume,
)
from rfm_runtime.protocol.notifying import GetRules, Rules, RulesReply, SetRules
from rfm_runtime.protocol.operation import Operation, OperationFilter, OperationState
from rfm_runtime.protocol.resources import GetMetrics, GetUsage, MetricsReply, Resources, UsageReply
from rfm_runtime.protocol.revocation import Revoke, RevokeReply
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import By, GetTimeline, TimelineReply

__all__ = ["REQUEST_S", "Requests"]

T = TypeVar("T", bound=Struct)

REQUEST_S = 30.0
"""To be answered, the time without a connection included."""

PAGE = 500
"""Operations in one answer."""


class Requests(ABC):
    """Of a client, which knows how to ask."""

    @abstractmethod
    async def request(self, message: Struct, reply: type[T], *, timeout_s: float = REQUEST_S) -> T:
        """The server's answer. Raises the server's error, or UnavailableError after `timeout_s`."""

    async def operations(
        self,
        *,
        states: Sequence[OperationState] | None = None,
        kinds: Sequence[str] | None = None,
        owner: str | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> list[Operation]:
        """Operations, newest first, filtered."""
        wanted = _filter(states, kinds, owner, labels, text)

        def page(cursor: str | None, size: int) -> Awaitable[ListReply]:
            return self.request(ListOperations(filter=wanted, cursor=cursor, limit=size), ListReply)

        return await _all_pages(page, limit)

    async def history(
        self,
        *,
        since_ms: int = 0,
        until_ms: int | None = None,
        states: Sequence[OperationState] | None = None,
        kinds: Sequence[str] | None = None,
        owner: str | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
        limit: int | None = None,
        during: bool = False,
    ) -> list[Operation]:
        """Operations submitted in a period (ms since 1970), newest first, filtered: all that the runtime has kept.

        during: those that were there at some time of it, from their submission to their end, as well.
        """
        wanted = _filter(states, kinds, owner, labels, text)

        def page(cursor: str | None, size: int) -> Awaitable[HistoryReply]:
            request = History(
                since_ms=since_ms, until_ms=until_ms, filter=wanted, cursor=cursor, limit=size, during=during
            )
            return self.request(request, HistoryReply)

        return await _all_pages(page, limit)

    async def timeline(
        self,
        *,
        since_ms: int,
        width_ms: int,
        bins: int,
        by: By = "kind",
        rows: int = 12,
        states: Sequence[OperationState] | None = None,
        kinds: Sequence[str] | None = None,
        owner: str | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> TimelineReply:
        """A period in `bins` parts (512 at most) of `width_ms` each: how much was submitted, begun, ended, and ran.

        In the `rows` (32 at most) busiest kinds, owners or states. Raises TooLargeError for 300,000 operations.
        """
        wanted = _filter(states, kinds, owner, labels, text)
        request = GetTimeline(since_ms=since_ms, width_ms=width_ms, bins=bins, by=by, rows=rows, filter=wanted)
        return await self.request(request, TimelineReply)

    async def period_report(
        self,
        *,
        since_ms: int = 0,
        until_ms: int | None = None,
        offset_ms: int = 0,
        operations: int = 0,
        states: Sequence[OperationState] | None = None,
        kinds: Sequence[str] | None = None,
        owner: str | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> PeriodReport:
        """The figures of a report of what was submitted in a period (ms since 1970), an open one up to now.

        offset_ms: local time less UTC. operations: how many are listed, 500 at most. Raises TooLargeError for 20,000
        operations.
        """
        request = GetPeriodReport(
            since_ms=since_ms,
            until_ms=until_ms,
            offset_ms=offset_ms,
            operations=operations,
            filter=_filter(states, kinds, owner, labels, text),
        )
        return await self.request(request, PeriodReport)

    async def operation_report(self, operation_id: str) -> OperationReport:
        """The figures of a report of one operation. Raises UnknownOperationError."""
        return await self.request(GetOperationReport(operation_id), OperationReport)

    async def performance(self, operation_id: str) -> PerformanceReply:
        """How an operation went over its time, with its parameters and events. Raises UnknownOperationError."""
        return await self.request(GetPerformance(operation_id), PerformanceReply)

    async def parameters(self, operation_id: str) -> dict[str, Any]:
        """The parameters it was submitted with."""
        return (await self.request(GetOperation(operation_id), OperationReply)).params

    async def cancel(
        self, operation_id: str, *, mode: str = "soft", deadline_ms: int | None = None, reason: str | None = None
    ) -> str:
        """Cancel it: "cancelling", or "already_terminal". `hard` kills its worker at once."""
        if mode not in ("soft", "hard"):
            raise BadRequestError(f"mode is {mode!r}", hint='choose "soft" or "hard"')
        chosen: Any = mode
        request = CancelOperation(operation_id=operation_id, mode=chosen, deadline_ms=deadline_ms, reason=reason)
        return (await self.request(request, CancelReply)).state

    async def pause(self, operation_id: str) -> None:
        """Have it stop where it is and keep what it has."""
        await self.request(Pause(operation_id), Ok)

    async def resume(self, operation_id: str) -> None:
        """Have it go on."""
        await self.request(Resume(operation_id), Ok)

    async def set_priority(self, operation_id: str, priority: int) -> None:
        """A higher priority runs first (−100 to 100)."""
        await self.request(ChangePriority(operation_id, priority), Ok)

    async def explain(self, operation_id: str) -> list[str]:
        """Why is it in this state? One sentence a line."""
        return (await self.request(Explain(operation_id), Explanation)).lines

    async def resources(self) -> Resources | None:
        """What its processes use, whether they are healthy, and what would help; None in its first seconds."""
        return (await self.request(GetMetrics(), MetricsReply)).resources

    async def usage(self, span_s: int = 600) -> UsageReply:
        """What its processes have used in the last seconds (10 to 86,400), as far as the gateway has heard of it."""
        return await self.request(GetUsage(span_s=span_s), UsageReply)

    async def workers(self) -> tuple[CrewUsage, ...]:
        """What each worker of each engine does, and what those that died have died of."""
        return (await self.request(GetWorkers(), WorkersReply)).crews

    async def kinds(self) -> list[Kind]:
        """What can be submitted, with the schemas of the parameters."""
        return (await self.request(Kinds(), KindsReply)).kinds

    async def rules(self) -> RulesReply:
        """Of what this token's user wants to be told, with the version that a change has to be made from."""
        return await self.request(GetRules(), RulesReply)

    async def set_rules(self, rules: Rules | None, version: int) -> RulesReply:
        """Have the user's rules kept; None: those that everybody has at first. version: of what they are made from.

        Raises ConflictError if others were set meanwhile, BadRequestError, TooLargeError.
        """
        return await self.request(SetRules(version=version, rules=rules), RulesReply)

    async def sign_in_link(self, link: SignInLink) -> None:
        """Let whoever says the code in `hello` be that user, once. Raises ForbiddenError: for administrators."""
        await self.request(link, Ok)

    async def revoke(
        self,
        *,
        token_id: str = "",
        user: str = "",
        issued_before_ms: int | None = None,
        expires_at_ms: int | None = None,
        reason: str = "",
    ) -> int:
        """Refuse a token by its id (`jti`), or all of a user's that were issued before a moment (ms since 1970).

        issued_before_ms: None: now. expires_at_ms: of the token, after which nothing of this is kept. Sessions of such
        tokens end. The version of the set that has it. Raises ForbiddenError: for administrators.
        """
        request = Revoke(
            token_id=token_id, user=user, issued_before=issued_before_ms, expires_at=expires_at_ms, reason=reason
        )
        return (await self.request(request, RevokeReply)).version


async def _all_pages(
    page: Callable[[str | None, int], Awaitable[ListReply | HistoryReply]], limit: int | None
) -> list[Operation]:
    """The first `limit` operations, or all. page: asks for what follows a cursor, so many at most."""
    found: list[Operation] = []
    cursor = None
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        reply = await page(cursor, size)
        found += reply.operations
        cursor = reply.cursor
        if cursor is None or (limit is not None and len(found) >= limit):
            return found


def _filter(
    states: Sequence[OperationState] | None,
    kinds: Sequence[str] | None,
    owner: str | None,
    labels: Mapping[str, str] | None,
    text: str | None,
) -> OperationFilter:
    return OperationFilter(
        states=list(states) if states is not None else None,
        kinds=list(kinds) if kinds is not None else None,
        owner=owner,
        labels=dict(labels) if labels is not None else None,
        text=text,
    )
