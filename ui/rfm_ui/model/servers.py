"""The servers that somebody knows: which there are, how each is reached and how one signs in there. Pure.

What is kept of them has no secrets: a token is in a file, which is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from rfm_runtime.config import Destination
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError, ConfigError

__all__ = ["LOCAL", "Server", "Servers", "of_text", "options", "to_text"]

MOST: Final = 200
NAME_LIMIT: Final = 60


@dataclass(frozen=True, slots=True)
class Server:
    """name: for people, and unique. url: ws:// or wss://, "" for the runtime of this machine. ca_file: PEM with the
    authorities that are taken, "" for the system's. certificate, key: PEM, with which one shows who one is.
    token_file: has the token; read again whenever the server wants another. "": it is asked for.
    """

    name: str
    url: str = ""
    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    token_file: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is the runtime of this machine, which is found by its connection file."""
        return not self.url

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return "the runtime of this computer" if self.is_local else printable(self.url)


LOCAL: Final = Server("This machine")


@dataclass(frozen=True, slots=True)
class Servers:
    """All that are known besides the local one, which always is; sorted by name."""

    others: tuple[Server, ...] = ()

    @property
    def all(self) -> tuple[Server, ...]:
        """The local one first."""
        return (LOCAL, *self.others)

    def named(self, name: str) -> Server | None:
        """The one with this name, whatever the case."""
        return next((one for one in self.all if one.name.casefold() == name.strip().casefold()), None)

    def at(self, url: str) -> Server | None:
        """The one with this address."""
        return next((one for one in self.others if _same(one.url, url)), None)

    def found(self, wanted: str) -> Server:
        """By its name, else by its address; an address that nobody has written down is a server too.

        Raises BadRequestError for what is neither.
        """
        known = self.named(wanted) or self.at(wanted)
        if known is not None:
            return known
        if "://" not in wanted:
            names = ", ".join(repr(one.name) for one in self.all[:12])
            raise BadRequestError(
                f"there is no server {printable(wanted)!r}",
                hint=f"write its address, as wss://HOST:8765, or one of {names}",
            )
        return checked(Server(_host(wanted), url=wanted))

    def put(self, server: Server, instead_of: str = "") -> Servers:
        """With this one, new or in the place of the one with that name. Raises BadRequestError if it cannot be."""
        server = checked(server)
        rest = [one for one in self.others if one.name != instead_of]
        if any(one.name.casefold() == server.name.casefold() for one in (LOCAL, *rest)):
            raise BadRequestError(f"there is a server {server.name!r} already", hint="give it another name")
        if len(rest) >= MOST:
            raise BadRequestError(f"{MOST} servers are kept at most", hint="remove one that is not needed any more")
        return Servers(tuple(sorted((*rest, server), key=lambda one: one.name.casefold())))

    def without(self, name: str) -> Servers:
        """Without that one. The local one stays."""
        return Servers(tuple(one for one in self.others if one.name != name))


def checked(server: Server) -> Server:
    """As it is kept. Raises BadRequestError, saying what to correct."""
    server = replace(server, name=server.name.strip(), url=server.url.strip().rstrip("/"))
    if not server.name or len(server.name) > NAME_LIMIT or printable(server.name) != server.name:
        raise BadRequestError(
            f"{printable(server.name)!r} is no name", hint=f"give it 1 to {NAME_LIMIT} characters that can be printed"
        )
    if not server.url:
        raise BadRequestError(
            "the address is empty", hint="write it as wss://HOST:8765; this machine's own runtime is in the list anyway"
        )
    if "#" in server.url:
        raise BadRequestError("that is a sign-in link, no address", hint="use it to sign in, below")
    try:
        Destination(server.url, "")
    except ConfigError as error:
        raise BadRequestError(error.message, hint=error.hint) from None
    if server.key and not server.certificate:
        raise BadRequestError("a key is named, and no certificate that it is of", hint="name that too, or leave it out")
    return server


def options(server: Server, token: str = "") -> dict[str, Any]:
    """Of the client. token: what is in its file now."""
    if server.is_local:
        return {}
    found: dict[str, Any] = {"url": server.url, "token": token}
    if server.ca_file:
        found["ca_file"] = server.ca_file
    if server.certificate:
        found["client_cert"] = (server.certificate, server.key or server.certificate)
    return found


class _Kept(msgspec.Struct, omit_defaults=True):
    name: str
    url: str
    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    token_file: str = ""


def to_text(servers: Servers) -> str:
    """To be kept."""
    return msgspec.json.encode([_Kept(**{n: getattr(one, n) for n in _FIELDS}) for one in servers.others]).decode()


_FIELDS: Final = _Kept.__struct_fields__


def of_text(text: str) -> Servers:
    """What was kept. What cannot be used is left out: somebody may have edited it."""
    try:
        kept: Iterable[Any] = msgspec.json.decode(text or "[]", type=list[Any])
    except (msgspec.DecodeError, RecursionError):
        return Servers()
    found = Servers()
    for entry in kept:
        try:
            one = msgspec.convert(entry, _Kept)
            found = found.put(Server(**{name: getattr(one, name) for name in _FIELDS}))
        except (msgspec.ValidationError, BadRequestError):
            continue
    return found


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").casefold() == other.strip().rstrip("/").casefold()


def _host(url: str) -> str:
    return (url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url)[:NAME_LIMIT]
