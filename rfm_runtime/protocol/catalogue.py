"""Every code that a user, a program or a peer can meet, in one table made of the code itself. Pure.

Errors come from the tree in `rfm_runtime.errors`, why operations end from `causes`, close codes from `codes`.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from rfm_runtime.errors import Recovery, RfmError, Severity
from rfm_runtime.protocol.causes import CAUSES
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode, ErrorCode, reconnects

__all__ = ["Closing", "Entry", "Where", "classes", "closings", "entries"]

Where = Literal["request", "operation", "here"]
"""As the answer to a request; in the `error` of an operation; raised by this package without any peer."""


class Entry(Struct, frozen=True, kw_only=True):
    """One code. error: the class that is raised for it. hint: what people do; recovery: what a program does."""

    code: str
    where: Where
    error: str | None
    meaning: str
    severity: Severity
    temporary: bool
    recovery: Recovery
    hint: str
    exit_code: int | None = None
    http_status: int | None = None
    close_code: int | None = None


class Closing(Struct, frozen=True, kw_only=True):
    """One close code of the WebSocket. error: the code of requests that means the same.

    new_token: it needs another token first.
    """

    code: int
    name: str
    meaning: str
    reconnect: bool
    new_token: bool
    error: str | None


def classes() -> list[type[RfmError]]:
    """The tree's classes that have a code of their own, in its order: those of a group go before it."""
    found: dict[str, type[RfmError]] = {}

    def walk(cls: type[RfmError]) -> None:
        for sub in cls.__subclasses__():
            walk(sub)
        if cls is not RfmError:
            # A group has the code of its most general member, which stands for it.
            found.setdefault(cls.code, cls)

    walk(RfmError)
    return list(found.values())


def entries() -> list[Entry]:
    """All codes: of requests, of what is raised here, of operations."""
    wire = get_args(ErrorCode)
    of_classes = [
        Entry(
            code=cls.code,
            where="request" if cls.code in wire else "here",
            error=cls.__name__,
            meaning=(cls.__doc__ or "").strip().partition("\n")[0],
            severity=cls.severity,
            temporary=cls.temporary,
            recovery=cls.recovery,
            hint=cls.default_hint,
            exit_code=cls.exit_code,
            http_status=cls.http_status if cls.code in wire else None,
            close_code=cls.close_code,
        )
        for cls in classes()
    ]
    of_operations = [
        Entry(
            code=cause.code,
            where="operation",
            error=None,
            meaning=cause.meaning[0].upper() + cause.meaning[1:] + ".",
            severity=cause.severity,
            temporary=False,
            recovery=cause.recovery,
            hint=cause.hint,
        )
        for cause in CAUSES.values()
    ]
    order: tuple[Where, ...] = ("request", "operation", "here")
    return sorted([*of_classes, *of_operations], key=lambda entry: order.index(entry.where))


def closings() -> list[Closing]:
    """All close codes of ours."""
    same = {cls.close_code: cls.code for cls in classes() if cls.close_code is not None}
    return [
        Closing(
            code=int(code),
            name=code.name.lower(),
            meaning=CLOSE_REASONS[code],
            reconnect=reconnects(code),
            new_token=code in (CloseCode.TOKEN_EXPIRED, CloseCode.INVALID_TOKEN),
            error=same.get(int(code)),
        )
        for code in CloseCode
    ]
