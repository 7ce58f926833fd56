"""The connection as people read it: held to tests/data/ui/link.json, as every face of the runtime is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from rfm_runtime.client.link import LinkState
from rfm_runtime.core.text import duration, printable

__all__ = ["LinkNews", "LinkTone", "LinkView", "absent", "view_of"]

LinkTone = Literal["good", "waiting", "bad", "idle"]


@dataclass(frozen=True, slots=True)
class LinkNews:
    """A change of the connection. at_s, next_try_s: monotonic. reason: why there is none. no_runtime: nothing runs
    where it was looked for, and one might be started there. code: of the error that ended it (rfm_runtime.errors).
    trouble: what is wrong with TLS, "" if nothing is. silent_s: for how long nothing was heard before that.
    expires_ms: while it is live, when the token will have expired and there is no other yet (ms since 1970).
    """

    state: LinkState
    at_s: float
    attempt: int = 0
    next_try_s: float | None = None
    reason: str = ""
    hint: str = ""
    no_runtime: bool = False
    code: str = ""
    trouble: str = ""
    silent_s: float = 0.0
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LinkView:
    """word: one or two. detail: a sentence, "" if there is nothing to say. may_retry: whether *retry now* helps.
    is_old: whether what is shown may be no longer so.
    """

    word: str
    tone: LinkTone
    detail: str
    may_retry: bool
    is_old: bool


def view_of(news: LinkNews, now_s: float) -> LinkView:
    """What to show now."""
    reason = printable(news.reason)
    match news.state:
        case "live":
            return LinkView("live", "good", "", may_retry=False, is_old=False)
        case "stale":
            silent = duration(max(0.0, now_s - news.at_s))
            return LinkView("silent", "waiting", f"{reason}, {silent} ago", may_retry=False, is_old=True)
        case "connecting":
            return LinkView("connecting", "waiting", reason, may_retry=False, is_old=False)
        case "reconnecting" | "draining":
            word = "server restarts" if news.state == "draining" else "reconnecting"
            return LinkView(word, "waiting", _countdown(news, reason, now_s), may_retry=True, is_old=True)
        case "unauthorised":
            return LinkView("not signed in", "bad", _sentence(reason, news.hint), may_retry=True, is_old=True)
    return LinkView("not connected", "bad", _sentence(reason, news.hint), may_retry=True, is_old=True)


def absent(news: LinkNews) -> str:
    """What a page without anything on it says while there is no connection; "" while there is one."""
    if news.state == "live":
        return ""
    # The strip above says why, and has what helps: what a command would be told does not help in a window.
    if news.state == "unauthorised":
        return "Sign in to see what runs here."
    if news.trouble:
        return "There is no connection that could be trusted, so nothing of this server is shown."
    return f"{printable(news.reason)}\n\n{printable(news.hint)}".strip() or "Connecting …"


def _countdown(news: LinkNews, reason: str, now_s: float) -> str:
    # "in 0 s" would be shown for most of a second.
    left_s = 0 if news.next_try_s is None else ceil(news.next_try_s - now_s)
    when = f"in {left_s} s" if left_s > 0 else "now"
    return f"attempt {news.attempt} {when}: {reason}" if reason else f"attempt {news.attempt} {when}"


def _sentence(reason: str, hint: str) -> str:
    return f"{reason} – {printable(hint)}" if reason and hint else reason or printable(hint)
