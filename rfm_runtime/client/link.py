"""When and whether a lost connection is made again. Pure: state, failure, time and rng in; state and wait out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rfm_runtime.core.timing import Backoff, Uniform
from rfm_runtime.errors import ForbiddenError, NoRuntimeError, RfmError, TokenExpiredError, UnauthorizedError
from rfm_runtime.protocol.codes import CloseCode, reconnects

__all__ = [
    "STABLE_S",
    "Failure",
    "Link",
    "LinkState",
    "after_close",
    "after_status",
    "connected",
    "failed",
    "given_up",
    "heard",
    "impatient",
    "silent",
]

STABLE_S = 60.0
"""A connection that held this long starts with a clean slate when it drops."""

NEARBY_CAP_S = 0.25
"""A runtime that restarts on this host is found again at once when it is back, however long it was away."""

LinkState = Literal["connecting", "live", "stale", "reconnecting", "unauthorised", "draining", "closed"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no connection. retry: whether another try makes sense. fresh_token: only with another token.
    dead: the one that was shown will never be taken. lasting: nothing about it changes within seconds, most likely.
    garbled: what came in plain text was no answer to it.

    trouble: what is wrong with TLS, as of `verifying.Trouble`; "" if nothing is.
    nearby: nobody listens on this very host, which costs nothing to find out. retry_after_s: the server's word for when
    to come back; up to spread_s later, where it told many the same. error: what is raised where there is no other try,
    or no other token.
    """

    reason: str
    retry: bool
    retry_after_s: float | None = None
    fresh_token: bool = False
    dead: bool = False
    lasting: bool = False
    garbled: bool = False
    draining: bool = False
    nearby: bool = False
    spread_s: float = 0.0
    trouble: str = ""
    error: RfmError | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """state, and how many tries failed in a row; `next_try_s` is monotonic, while reconnecting.

    failures: those of the tries that the backoff counts. A server that says when to come back is no failing one.
    """

    backoff: Backoff
    max_retries: int | None = None
    state: LinkState = "connecting"
    attempt: int = 0
    live_since_s: float | None = None
    next_try_s: float | None = None
    reason: str = ""
    failures: int = 0


def silent(link: Link, silent_s: float) -> Link:
    """Nothing was heard for two heartbeats: what is shown may be old, and the connection may be gone."""
    return replace(link, state="stale", reason=f"no word for {silent_s:.0f} s") if link.state == "live" else link


def heard(link: Link) -> Link:
    """It speaks again."""
    return replace(link, state="live", reason="") if link.state == "stale" else link


def connected(link: Link, now_s: float) -> Link:
    """Welcomed."""
    return replace(link, state="live", live_since_s=now_s, next_try_s=None, reason="")


def failed(link: Link, failure: Failure, now_s: float, rng: Uniform, *, can_refresh: bool) -> tuple[Link, float | None]:
    """The link after a failure, and the seconds to wait before the next try; None: there is none.

    A dead token is never tried again; it needs a callback that gives a fresh one.
    """
    held = link.live_since_s is not None and now_s - link.live_since_s >= STABLE_S
    fresh = held or failure.draining
    attempt, failures = (0, 0) if fresh else (link.attempt, link.failures)
    if failure.fresh_token and not can_refresh:
        return replace(link, state="unauthorised", live_since_s=None, next_try_s=None, reason=failure.reason), None
    exhausted = link.max_retries is not None and attempt >= link.max_retries
    if not failure.retry or exhausted:
        state: LinkState = "unauthorised" if failure.fresh_token else "closed"
        return replace(link, state=state, live_since_s=None, next_try_s=None, reason=failure.reason), None
    backoff = link.backoff
    if failure.nearby and link.max_retries is None:
        backoff = replace(backoff, cap_s=min(backoff.cap_s, NEARBY_CAP_S))
    wait_s = backoff.delay_s(failures, rng)
    if link.live_since_s is not None and failures == 0:
        # The first try after a connection that worked is at once, or nearly: most drops are restarts.
        wait_s = min(wait_s, 0.1)
    if failure.retry_after_s is not None:
        # Not the backoff's: a server that gives everybody a place in a line would see most of them come much later.
        wait_s = failure.retry_after_s + rng.uniform(0.0, failure.spread_s)
    return (
        replace(
            link,
            state="draining" if failure.draining else "reconnecting",
            attempt=attempt + 1,
            failures=failures + (failure.retry_after_s is None),
            live_since_s=None,
            next_try_s=now_s + wait_s,
            reason=failure.reason,
        ),
        wait_s,
    )


def impatient(link: Link, failure: Failure) -> Failure:
    """The failure for who waits some seconds for a first connection: what lasts ends that the second time.

    Once is not enough: a server that restarts closes what it has just accepted.
    """
    return replace(failure, retry=False) if failure.lasting and failure.reason == link.reason else failure


def given_up(link: Link, reason: str) -> Link:
    """There is no other token than the one that was refused."""
    return replace(link, state="unauthorised", live_since_s=None, next_try_s=None, reason=reason)


def after_close(
    code: int,
    reason: str,
    retry_after_s: float | None = None,
    *,
    welcomed: bool = False,
    token: bool = True,
    certificate: bool = False,
) -> Failure:
    """What a WebSocket close code says. welcomed: the token was taken before; a fresher one may be on its way.

    token, certificate: whether that was shown.
    """
    expired = code == CloseCode.TOKEN_EXPIRED
    told = f"closed by the server ({code}{f': {reason}' if reason else ''})"
    return Failure(
        reason=told,
        retry=reconnects(code) or code == CloseCode.INVALID_TOKEN,
        retry_after_s=retry_after_s,
        fresh_token=code in (CloseCode.TOKEN_EXPIRED, CloseCode.INVALID_TOKEN, CloseCode.REVOKED),
        dead=code == CloseCode.INVALID_TOKEN or (expired and not welcomed),
        error=TokenExpiredError("the token has expired") if expired else _denied(code, told, token, certificate),
        draining=code == CloseCode.DRAINING,
    )


def _denied(code: int, told: str, token: bool, certificate: bool) -> UnauthorizedError | None:
    """What to do where more is known than that another token is wanted."""
    if code == CloseCode.REVOKED:
        others = [f"another {name}" for name, shown in (("token", token), ("certificate", certificate)) if shown]
        return UnauthorizedError(told, hint=f"ask for {' or '.join(others) or 'a token'}; this one will not do again")
    if code == CloseCode.INVALID_TOKEN and certificate and not token:
        return UnauthorizedError(
            told, hint="ask for a table of that name in tls_users there; or pass a token: RFM_TOKEN_FILE or RFM_TOKEN"
        )
    return None


def after_status(status: int, retry_after_s: float | None = None, *, spread_s: float = 0.0, said: str = "") -> Failure:
    """What an HTTP status instead of the upgrade says. said: in a line with it."""
    if status == 401:
        return Failure("the server wants another token (HTTP 401)", retry=True, fresh_token=True, dead=True)
    if status in (429, 502, 503, 504):
        reason = f"the server is busy (HTTP {status})"
        return Failure(reason, retry=True, retry_after_s=retry_after_s, spread_s=spread_s)
    if status == 403:
        told = f"the server refuses us (HTTP 403{f': {said}' if said else ''})"
        return Failure(told, retry=False, error=ForbiddenError(told, hint="ask whoever runs that server"))
    told = f"this is no rfm-runtime server, or it refuses us (HTTP {status})"
    # No server of ours answers so for a while: what is wrong is the address, or what is in between.
    wrong = None if status >= 500 else NoRuntimeError(told, hint="check the address, and what is in between")
    return Failure(told, retry=False, error=wrong)
