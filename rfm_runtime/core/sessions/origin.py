"""Whether a request comes from a page that may reach this server through somebody's browser.

A browser sends to 127.0.0.1 whatever a page asks for, and a page's own name may be made to resolve there (DNS
rebinding). What gives such a request away are two headers that no page can choose: `Host`, the name that was asked for,
and `Origin`, the page that asks. Programs send no `Origin`, and are told apart by their token alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from rfm_runtime.config.origins import LOCAL_HOSTS, host_of, is_address, origin_of

__all__ = ["Reach", "foreign"]

FETCHES = ("cross-site", "same-site")
"""`Sec-Fetch-Site` of what a page of another origin asks for."""


class Reach(Struct, frozen=True):
    """How a server is reached. port: its own. secure: by TLS. names: of the machine, besides loopback's.

    hosts, origins: allowed as well, by its settings.
    """

    port: int
    secure: bool = False
    names: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def knows(self, name: str) -> bool:
        """Whether it may be called so. An address cannot be rebound, nor a name that a certificate vouches for."""
        if name in LOCAL_HOSTS or is_address(name) or name in self.names or name in self.hosts:
            return True
        return self.secure and not self.hosts


def foreign(
    reach: Reach, hosts: Sequence[str], origins: Sequence[str], fetched: tuple[str, str] = ("", "")
) -> str | None:
    """Why a request with these `Host` and `Origin` headers is refused, and what to do; None: it is not.

    fetched: its `Sec-Fetch-Site` and `Sec-Fetch-Mode`. A link from elsewhere may be followed, a picture not included.
    """
    host = host_of(hosts[0]) if len(hosts) == 1 else None
    if hosts and (host is None or not reach.knows(host[0])):
        return "this server is not called so: add the name to allowed_hosts if it is"
    if not origins:
        elsewhere = fetched[0] in FETCHES and fetched[1] != "navigate"
        return "asked for by a page of another origin" if elsewhere else None
    origin = origin_of(origins[0]) if len(origins) == 1 else None
    if origin is None:
        return "this origin may not use the runtime"
    if any(origin == origin_of(allowed) for allowed in reach.origins):
        return None
    scheme, name, port = origin
    # Behind TLS a page without it is somebody's on the path.
    if reach.secure and scheme != "https":
        return "this origin may not use the runtime: it is not behind TLS"
    if host is not None and name == host[0] and port == (host[1] or (443 if scheme == "https" else 80)):
        return None
    if name in LOCAL_HOSTS and port == reach.port and (host is None or host[0] in LOCAL_HOSTS):
        return None
    return "this origin may not use the runtime: add it to allowed_origins if it should"
