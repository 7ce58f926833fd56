"""How one signs in at a server: by a token, a file with one, a sign-in link, or a certificate. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.link import LinkNews

__all__ = ["Link", "Refusal", "link_of", "refusal", "token_of"]

TOKEN_LIMIT = 8192
"""Characters that a server takes."""


@dataclass(frozen=True, slots=True)
class Link:
    """A sign-in link. url: of the server's WebSocket. code: taken once."""

    url: str
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is said to somebody who is not let in: what happened, and what helps."""

    title: str
    advice: str


def token_of(text: str) -> str:
    """The token in what somebody has pasted, or what is in a file. Raises BadRequestError; what it was is not said."""
    token = text.strip()
    if token.lower().startswith("bearer "):
        token = token[7:].strip()
    if not token:
        raise BadRequestError("there is no token", hint="paste the one you were given")
    if "#code=" in token:
        raise BadRequestError("that is a sign-in link, no token", hint="paste it where it says link")
    if len(token) > TOKEN_LIMIT or any(one.isspace() for one in token) or not (token.isascii() and token.isprintable()):
        raise BadRequestError("that is no token", hint="a token is one word; paste it whole, and nothing else")
    return token


def link_of(text: str) -> Link:
    """A sign-in link as `rfm-runtime token link` prints it. Raises BadRequestError; its code is not said."""
    wrong = BadRequestError(
        "that is no sign-in link", hint="it begins with https:// or http:// and has #code= in it; paste it whole"
    )
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise wrong from None
    scheme = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}.get(parts.scheme)
    marker, code = parts.fragment[:5], parts.fragment[5:]
    if scheme is None or not parts.hostname or marker != "code=" or not code or parts.username is not None:
        raise wrong
    if len(code) > 256 or not (code.isascii() and code.isprintable()) or port == 0:
        raise wrong
    return Link(urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", "")), code)


def refusal(news: LinkNews, *, by_link: bool = False, has_token: bool = True) -> Refusal:
    """Why nobody is let in, and what helps. by_link: it was tried with a sign-in link. has_token: with a token."""
    if news.code == "token_expired":
        return Refusal("Your sign-in has expired", "Sign in again with another token, or with a new link.")
    if by_link:
        return Refusal(
            "That link is not taken", "It is good once, and for some minutes. Ask whoever gave it to you for another."
        )
    if not has_token:
        return Refusal("This server wants to know who you are", "Sign in with a token, a link or a certificate.")
    if "revoked" in news.reason or "4503" in news.reason:
        return Refusal(
            "Your sign-in was taken back", "Ask whoever runs the server for another token; this one will not do again."
        )
    return Refusal(
        "The server does not take this token",
        "It may be another server's, or cut off. Sign in with the one that you were given for this server.",
    )
