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
        ├── UsageError               usage              a command line that is none
        ├── SystemFaultError         system             the system refused something that nobody expected
        ├── MissingExtraError        missing_extra      an optional part is not installed
        ├── NoRuntimeError           no_runtime         nothing is running there
        ├── AlreadyRunningError      already_running
        ├── PortTakenError           port_taken
        ├── InsecureBindError        insecure_bind      plain text off loopback
        ├── InsecureUrlError         insecure_url       a token would travel in plain text
        ├── CertificateError         certificate        a certificate or key that cannot be used or trusted
        ├── OutputExistsError        output_exists
        ├── StartError               start_failed       a process did not come up
        ├── StillStoppingError       still_stopping     its end takes longer than was to be waited for
        └── JournalError             journal            the journal cannot be opened or is damaged

    Each has a severity, a recovery (what a program can do by itself), a hint (what people do), an exit code, and an
    HTTP status and a close code where there is one: `rfm-runtime errors`, docs/errors.md. Why an operation ended
    badly is in `rfm_runtime.protocol.causes`.

The wire carries `ErrorInfo` (see `rfm_runtime.protocol`); `from_code` turns its code back into a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

__all__ = [
    "RECOVERIES",
    "AccessError",
    "AlreadyRunningError",
    "BadRequestError",
    "CertificateError",
    "ConfigError",
    "ConflictError",
    "DrainingError",
    "ForbiddenError",
    "InsecureBindError",
    "InsecureUrlError",
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
    "Recovery",
    "RequestError",
    "RfmError",
    "SetupError",
    "Severity",
    "StartError",
    "StillStoppingError",
    "SystemFaultError",
    "TokenExpiredError",
    "TooLargeError",
    "TryLaterError",
    "UnauthorizedError",
    "UnavailableError",
    "UnknownOperationError",
    "UnsupportedError",
    "UsageError",
    "fields_of",
    "from_code",
    "of_fields",
]

Severity = Literal["info", "warning", "error", "critical"]

Recovery = Literal["change", "repeat", "token", "repair", "again", "nothing"]

RECOVERIES: dict[Recovery, str] = {
    "change": "change the request: the same one fails again",
    "repeat": "repeat the same request, after `retry_after_s` where it is given; a request key makes that safe",
    "token": "get another token, then `auth_refresh` or reconnect",
    "repair": "nothing, until somebody has put the machine, the settings or the command right",
    "again": "submit it again, as a new operation",
    "nothing": "nothing",
}
"""What a program can do by itself."""


class RfmError(Exception):
    """Base of all errors this package raises on purpose.

    message: one line, what happened. hint: one line, what to do. kept: what survived, if that is in doubt.
    unsure: what was asked for may be done all the same. close_code: with which a connection ends for this reason, see
    `protocol.codes`.
    """

    code: ClassVar[str] = "internal"
    severity: ClassVar[Severity] = "error"
    temporary: ClassVar[bool] = False
    recovery: ClassVar[Recovery] = "nothing"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int | None] = None
    close_code: ClassVar[int | None] = None
    default_hint: ClassVar[str] = "see `rfm-runtime logs`"

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
        self.unsure = False


class RequestError(RfmError):
    """The request has to be changed before it can succeed."""

    code = "bad_request"
    recovery = "change"
    exit_code = 2
    http_status = 400
    default_hint = "correct the request; docs/protocol.md says what each message takes"


class BadRequestError(RequestError):
    """A parameter is missing, malformed or out of range."""

    close_code = 4500
    default_hint = "correct the value that is named"


class UnsupportedError(RequestError):
    """Nobody here can do that."""

    code = "unsupported"
    http_status = 400
    default_hint = "`rfm-runtime doctor` says what there is; another version may have it"


class UnknownOperationError(RequestError):
    """No such operation, or not one the caller may see."""

    code = "unknown_operation"
    exit_code = 4
    http_status = 404
    default_hint = "list operations with `rfm-runtime ps --all`"


class ConflictError(RequestError):
    """The same request key or operation id was used before with another content."""

    code = "conflict"
    http_status = 409
    default_hint = "use a new id or request key for other content"


class TooLargeError(RequestError):
    """Over a stated size limit."""

    code = "too_large"
    http_status = 413
    default_hint = "send less at once, within the limits that the server names in its welcome"


class AccessError(RfmError):
    """The caller needs another token or more rights."""

    code = "unauthorized"
    recovery = "token"
    exit_code = 5
    http_status = 401
    default_hint = "pass the token of this server: RFM_TOKEN or RFM_TOKEN_FILE"


class UnauthorizedError(AccessError):
    """No token, or one that is not valid here."""

    close_code = 4501


class TokenExpiredError(AccessError):
    """The token was valid once."""

    code = "token_expired"
    close_code = 4003
    default_hint = (
        "sign in again, or have another one issued (`rfm-runtime token issue`); pass it by RFM_TOKEN_FILE or RFM_TOKEN"
    )


class ForbiddenError(AccessError):
    """A valid token without the right to do this."""

    code = "forbidden"
    http_status = 403
    default_hint = "ask whoever gives out tokens for the right to do this"


class TryLaterError(RfmError):
    """Nothing was changed; the same request may succeed later."""

    code = "unavailable"
    severity = "warning"
    temporary = True
    recovery = "repeat"
    exit_code = 6
    http_status = 503
    default_hint = "wait a moment and repeat it; `rfm-runtime status` says what is the matter"


class RateLimitedError(TryLaterError):
    """Too many requests; `retry_after_s` says when to go on."""

    code = "rate_limited"
    http_status = 429
    close_code = 4013
    default_hint = "ask less often"


class QuotaExceededError(TryLaterError):
    """A quota of this user is used up."""

    code = "quota_exceeded"
    http_status = 429
    default_hint = "wait until some of these operations have ended, or cancel some"


class DrainingError(TryLaterError):
    """The runtime is shutting down and takes nothing new."""

    code = "draining"
    close_code = 4001
    default_hint = "wait until it is started again"


class UnavailableError(TryLaterError):
    """A part of the runtime cannot be reached, or the journal cannot be written."""


class InternalError(RfmError):
    """A fault of the runtime; its log says more."""

    code = "internal"
    severity = "critical"
    recovery = "nothing"
    http_status = 500
    close_code = 4014
    default_hint = "see `rfm-runtime logs`"


class OutcomeError(RfmError):
    """The operation ended without a result."""

    code = "operation_failed"
    recovery = "again"
    exit_code = 7
    default_hint = "`rfm-runtime show ID` says how it went"


class OperationFailedError(OutcomeError):
    """The operation failed; `cause_code` and `cause_severity` are what its owner gave."""

    def __init__(
        self,
        message: str,
        *,
        cause_code: str = "failed",
        cause_severity: Severity = "error",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.cause_code = cause_code
        self.cause_severity = cause_severity


class OperationCanceled(OutcomeError):
    """The operation was cancelled."""

    code = "operation_canceled"
    severity = "info"
    exit_code = 130
    default_hint = "submit it again if it was not meant"


class SetupError(RfmError):
    """The machine, the settings or the command line have to be put right."""

    code = "setup"
    recovery = "repair"
    exit_code = 2
    default_hint = "`rfm-runtime doctor` looks for what is wrong"


class ConfigError(SetupError):
    """A setting that cannot be used; the message names its origin."""

    code = "config"
    default_hint = "correct the setting where the message says it comes from; `rfm-runtime config show` lists all"


class UsageError(SetupError):
    """A command line that is none: an unknown command or option, a value that is missing."""

    code = "usage"
    default_hint = "see `rfm-runtime --help`"


class SystemFaultError(SetupError):
    """The system refused something that no command expected: a folder that cannot be read, a full disk."""

    code = "system"
    exit_code = 1
    default_hint = "see `rfm-runtime doctor`"


class MissingExtraError(SetupError):
    """An optional part of the package is not installed."""

    code = "missing_extra"
    default_hint = "pip install 'rfm-runtime[all]'"

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
    default_hint = "use it, stop it with `rfm-runtime stop`, or choose other folders"


class PortTakenError(SetupError):
    """Another process listens on the port; the message names it where the system tells."""

    code = "port_taken"
    exit_code = 3
    default_hint = "stop the holder, or choose another port with --port"


class InsecureBindError(SetupError):
    """Plain text off loopback."""

    code = "insecure_bind"
    default_hint = "listen on 127.0.0.1 and come from elsewhere through a tunnel"


class InsecureUrlError(SetupError):
    """A token would travel in plain text to another host; it was not sent."""

    code = "insecure_url"
    default_hint = "use a wss:// address, or a tunnel: ssh -L 8765:127.0.0.1:8765 HOST"


class CertificateError(SetupError):
    """A certificate or key that cannot be used, or a peer's that cannot be trusted; nothing was sent in plain text.

    trouble: which of `client.verifying.Trouble` it is, "" for any other.
    """

    code = "certificate"
    default_hint = "see `rfm-runtime certs show`, or make one with `rfm-runtime certs init`"

    def __init__(self, message: str, *, hint: str | None = None, kept: str | None = None, trouble: str = "") -> None:
        super().__init__(message, hint=hint, kept=kept)
        self.trouble = trouble


class OutputExistsError(SetupError):
    """The output file exists and was kept."""

    code = "output_exists"
    default_hint = "pass --force to replace it, or choose another name"


class StartError(SetupError):
    """A process of the runtime did not come up."""

    code = "start_failed"
    exit_code = 1
    default_hint = "see `rfm-runtime logs`"


class StillStoppingError(SetupError):
    """The runtime is stopping, and was not gone when the waiting was over."""

    code = "still_stopping"
    severity = "warning"
    exit_code = 6
    default_hint = "wait, or stop it at once with `rfm-runtime stop --now`"


class JournalError(SetupError):
    """The journal cannot be opened, or is damaged; nothing was deleted."""

    code = "journal"
    severity = "critical"
    exit_code = 1
    default_hint = "see `rfm-runtime doctor`; restore a backup into an empty state folder if the file is damaged"


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


def from_code(
    code: str,
    message: str,
    *,
    hint: str | None = None,
    kept: str | None = None,
    retry_after_s: float | None = None,
    temporary: bool = False,
) -> RfmError:
    """The error a peer's `ErrorInfo` stands for.

    A code that this release does not know is an `UnavailableError` if the peer says `temporary`, else an
    `InternalError`: whether to repeat a request is the peer's to say, whatever it calls the reason.
    """
    found = _BY_CODE.get(code, UnavailableError if temporary else InternalError)
    return found(message, hint=hint, kept=kept, retry_after_s=retry_after_s)


def fields_of(error: RfmError) -> dict[str, str | None]:
    """An error for another process of this package, as JSON; see `of_fields`."""
    return {"class": type(error).__name__, "message": error.message, "hint": error.hint, "kept": error.kept}


def of_fields(fields: Mapping[str, str | None]) -> RfmError:
    """The error that another process of this package has raised, of its own class."""
    kind = globals().get(fields["class"] or "")
    if not (isinstance(kind, type) and issubclass(kind, RfmError)) or kind is MissingExtraError:
        kind = StartError
    found: RfmError = kind(fields["message"] or "", hint=fields["hint"])
    found.kept = fields["kept"]
    return found
