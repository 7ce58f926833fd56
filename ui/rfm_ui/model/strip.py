"""What is said of the connection across the window: nothing while all is well, else what helps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_ui.model.certificates import Explained, Remedy, explained
from rfm_ui.model.link import LinkNews, LinkTone, view_of
from rfm_ui.model.sign_in import refusal

__all__ = ["Offer", "Situation", "Strip", "strip_of"]

Offer = Remedy | Literal["sign_in", "pending", "dismiss"]
"""What a button offers."""


@dataclass(frozen=True, slots=True)
class Situation:
    """host: of the server, for people. as_of: of what is shown, "" if it is fresh or there is nothing. waiting: how
    many commands wait; told, told_of: what became of some that did, and what that is about. by_link, has_token, has_ca:
    how it was tried. expires: when the token will have expired, for people.
    """

    news: LinkNews
    host: str = ""
    as_of: str = ""
    waiting: int = 0
    by_link: bool = False
    has_token: bool = True
    has_ca: bool = False
    expires: str = ""
    told: str = ""
    told_of: str = "Not everything was sent"


@dataclass(frozen=True, slots=True)
class Strip:
    """title: one line. text: what it means, and what to do. offers: the best first."""

    title: str
    text: str
    tone: LinkTone
    offers: tuple[Offer, ...]


def strip_of(now: Situation, now_s: float) -> Strip | None:
    """None: nothing has to be said."""
    news = now.news
    waiting: tuple[Offer, ...] = ("pending",) if now.waiting else ()
    if news.state == "live":
        if now.expires:
            advice = "Sign in with another token, and the window goes on as it is."
            return Strip(f"Your sign-in ends at {now.expires}", advice, "waiting", ("sign_in",))
        if now.told:
            return Strip(now.told_of, now.told, "waiting", ("dismiss",))
        return None
    said = "" if not now.waiting else f"{counted(now.waiting, 'command')} will be sent when it is back."
    shown = f"What is shown is {now.as_of}." if now.as_of else ""
    found = explained(news.trouble, now.host, has_ca=now.has_ca) if news.trouble else None
    if found is not None:
        return Strip(found.title, _joined(_said(found), shown), "bad", (*found.remedies, *waiting))
    if news.state == "unauthorised":
        refused = refusal(news, by_link=now.by_link, has_token=now.has_token)
        return Strip(refused.title, _joined(refused.advice, shown, said), "bad", ("sign_in", *waiting))
    if news.state == "closed" and not news.no_runtime and (news.reason or now.as_of):
        text = _joined(_sentence(news.reason), _sentence(news.hint), shown, said)
        return Strip("Not connected", text, "bad", ("retry", "edit_address", *waiting))
    if not now.as_of:
        return None
    detail = view_of(news, now_s).detail
    title = "No connection" if news.state != "stale" else "The server is silent"
    offers: tuple[Offer, ...] = () if news.state in ("stale", "connecting") else ("retry",)
    return Strip(
        f"{title}: what is shown is {now.as_of}", _joined(_sentence(detail), said), "waiting", offers + waiting
    )


def _said(found: Explained) -> str:
    return f"{found.text} {found.advice}"


def _sentence(text: str) -> str:
    text = printable(text).strip()
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.?!' else '.'}" if text else ""


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
