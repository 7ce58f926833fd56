"""The error tree. Every error says what happened, what was kept, and what to do.

    RfmError
    ├── RequestError                 change the request
    │   ├── BadRequestError          bad_request        a parameter is missing, malformed or out of range
    │   ├── UnsupportedError         unsupported        nobody here can do that
    │   ├── UnknownOperationError    unknown_operation  no such operation, or not yours to see
    │   ├── ConflictError            conflict           the same key or id with another content
    │   └── TooLargeError            too_large          over a stated size limit
    ├── AccessError                  get the right token
    │   ├── UnauthorizedError        unauthorized
    │   ├── TokenExpiredError        token_expired
    │   └── ForbiddenError           forbidden
    ├── TryLaterError                wait and repeat; a request key makes that safe
    │   ├── RateLimitedError         rate_limited
    │   ├── QuotaExceededError       quota_exceeded
    │   ├── DrainingError            draining
    │   └── UnavailableError         unavailable
    ├── InternalError                internal           a fault of ours; the log has the rest
    ├── OutcomeError                 the operation itself ended without a result
    │   ├── OperationFailedError     operation_failed
    │   └── OperationCanceled        operation_canceled
    └── SetupError                   put the machine or the command right
        ├── ConfigError              config             a setting that cannot be used
        ├── MissingExtraError        missing_extra      an optional part is not installed
        ├── NoRuntimeError           no_runtime         nothing is running there
        ├── AlreadyRunningError      already_running
        ├── PortTakenError           port_taken
        ├── InsecureBindError        insecure_bind      plain text off loopback
        ├── OutputExistsError        output_exists
        ├── StartError               start_failed       a process did not come up
        └── JournalError             journal            the journal cannot be opened or is damaged

The wire carries `ErrorInfo` (see `rfm_runtime.protocol`); `from_code` turns its code back into a class.
"""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "AccessError",
    "AlreadyRunningError",
    "BadRequestError",
    "ConfigError",
    "ConflictError",
    "DrainingError",
    "ForbiddenError",
    "InsecureBindError",
    "InternalError",
    "JournalError",
    "MissingExtraError",
    "NoRuntimeError",
    "OperationCanceled",
    "OperationFailedError",
    "OutcomeError",
    "OutputExistsError",
    "PortTakenError",
    "QuotaExceededError",
    "RateLimitedError",
    "RequestError",
    "RfmError",
    "SetupError",
    "Severity",
    "StartError",
    "TokenExpiredError",
    "TooLargeError",
    "TryLaterError",
    "UnauthorizedError",
    "UnavailableError",
    "UnknownOperationError",
    "UnsupportedError",
    "from_code",
]

Severity = Literal["info", "warning", "error", "critical"]


class RfmError(Exception):
    """Base of all errors this package raises on purpose.

    message: one line, what happened. hint: one line, what to do. kept: what survived, if that is in doubt.
    """

    code: ClassVar[str] = "internal"
    severity: ClassVar[Severity] = "error"
    temporary: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        kept: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint
        self.kept = kept
        self.retry_after_s = retry_after_s


class RequestError(RfmError):
    """The request has to be changed before it can succeed."""

    code = "bad_request"
    exit_code = 2


class BadRequestError(RequestError):
    """A parameter is missing, malformed or out of range."""


class UnsupportedError(RequestError):
    """Nobody here can do that."""

    code = "unsupported"


class UnknownOperationError(RequestError):
    """No such operation, or not one the caller may see."""

    code = "unknown_operation"
    exit_code = 4
    default_hint = "list operations with `rfm-runtime ps --all`"


class ConflictError(RequestError):
    """The same request key or operation id was used before with another content."""

    code = "conflict"


class TooLargeError(RequestError):
    """Over a stated size limit."""

    code = "too_large"


class AccessError(RfmError):
    """The caller needs another token or more rights."""

    code = "unauthorized"
    exit_code = 5


class UnauthorizedError(AccessError):
    """No token, or one that is not valid here."""


class TokenExpiredError(AccessError):
    """The token was valid once."""

    code = "token_expired"


class ForbiddenError(AccessError):
    """A valid token without the right to do this."""

    code = "forbidden"


class TryLaterError(RfmError):
    """Nothing was changed; the same request may succeed later."""

    code = "unavailable"
    severity = "warning"
    temporary = True
    exit_code = 6


class RateLimitedError(TryLaterError):
    """Too many requests; `retry_after_s` says when to go on."""

    code = "rate_limited"


class QuotaExceededError(TryLaterError):
    """A quota of this user is used up."""

    code = "quota_exceeded"


class DrainingError(TryLaterError):
    """The runtime is shutting down and takes nothing new."""

    code = "draining"


class UnavailableError(TryLaterError):
    """A part of the runtime cannot be reached, or the journal cannot be written."""

    code = "unavailable"


class InternalError(RfmError):
    """A fault of the runtime; its log says more."""

    code = "internal"
    severity = "critical"
    default_hint = "see `rfm-runtime logs`"


class OutcomeError(RfmError):
    """The operation ended without a result."""

    code = "operation_failed"
    exit_code = 7


class OperationFailedError(OutcomeError):
    """The operation failed; `cause_code` is the code its owner gave."""

    def __init__(self, message: str, *, cause_code: str = "failed", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.cause_code = cause_code


class OperationCanceled(OutcomeError):
    """The operation was cancelled."""

    code = "operation_canceled"
    severity = "info"
    exit_code = 130


class SetupError(RfmError):
    """The machine, the settings or the command line have to be put right."""

    code = "setup"
    exit_code = 2


class ConfigError(SetupError):
    """A setting that cannot be used; the message names its origin."""

    code = "config"


class MissingExtraError(SetupError):
    """An optional part of the package is not installed."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra [{extra}], which is not installed",
            hint=f"pip install 'rfm-runtime[{extra}]'",
        )


class NoRuntimeError(SetupError):
    """Nothing is running where the caller looked."""

    code = "no_runtime"
    exit_code = 3
    default_hint = "start one with `rfm-runtime start`"


class AlreadyRunningError(SetupError):
    """A runtime owns these folders already."""

    code = "already_running"
    exit_code = 3


class PortTakenError(SetupError):
    """Another process listens on the port; the message names it where the system tells."""

    code = "port_taken"
    exit_code = 3


class InsecureBindError(SetupError):
    """Plain text off loopback."""

    code = "insecure_bind"


class OutputExistsError(SetupError):
    """The output file exists and was kept."""

    code = "output_exists"
    default_hint = "pass --force to replace it, or choose another name with -o"


class StartError(SetupError):
    """A process of the runtime did not come up."""

    code = "start_failed"
    exit_code = 1
    default_hint = "see `rfm-runtime logs`"


class JournalError(SetupError):
    """The journal cannot be opened, or is damaged; nothing was deleted."""

    code = "journal"
    exit_code = 1


_BY_CODE: dict[str, type[RfmError]] = {
    cls.code: cls
    for cls in (
        BadRequestError,
        UnsupportedError,
        UnknownOperationError,
        ConflictError,
        TooLargeError,
        UnauthorizedError,
        TokenExpiredError,
        ForbiddenError,
        RateLimitedError,
        QuotaExceededError,
        DrainingError,
        UnavailableError,
        InternalError,
    )
}


def from_code(code: str, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> RfmError:
    """The error a peer's `ErrorInfo` stands for; an unknown code is an `InternalError`."""
    return _BY_CODE.get(code, InternalError)(message, hint=hint, retry_after_s=retry_after_s)
