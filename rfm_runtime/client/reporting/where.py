"""Where this process reports: to a server that it names, to one that runs in it, or as the environment says."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import msgspec

from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Destination, Folders, Trust, check_url, destination, folders, load
from rfm_runtime.security.tls import ClientCert

__all__ = ["prepare", "report_to", "serve_here", "serve_here_no_more", "where"]


class _Chosen:
    """Of this process and the children that it forks."""

    by_program: Destination | None = None
    # Servers within this process, in the order in which they were started.
    here: ClassVar[list[Folders]] = []


def report_to(
    url: str | None,
    token: str | None = None,
    *,
    ca_file: str | os.PathLike[str] | None = None,
    client_cert: ClientCert | None = None,
    allow_insecure: bool | None = None,
) -> None:
    """Report all operations of this process, present ones too, to the server at `url`; None: where it was before.

    url: e.g. wss://render.example.org:8765. token: for it; without one, what RFM_TOKEN or RFM_TOKEN_FILE say.
    ca_file, client_cert, allow_insecure: as of `AsyncClient`. Raises ConfigError for an address that is none, and
    without a token and a client certificate; InsecureUrlError if others could read the token.
    """
    prepare()
    if url is None:
        _Chosen.by_program = None
        return
    trust = Trust(ca_file, client_cert, allow_insecure).resolved()
    if token is not None or client_cert is not None:
        # As it was read from a file, with the end of its line.
        chosen: Destination | None = Destination(url, (token or "").strip(), trust)
    else:
        chosen = destination({**os.environ, "RFM_URL": url})
        chosen = None if chosen is None else replace(chosen, trust=trust)
    if chosen is not None:
        check_url(chosen.url, chosen.token, trust)
    _Chosen.by_program = chosen


def prepare() -> None:
    """Load what reporting elsewhere takes: a child that is forked while a thread does would have half of it."""
    import_module("rfm_runtime.client.reporting.elsewhere")


def serve_here(found: Folders) -> None:
    """A server within this process has these folders: report to the first of them."""
    _Chosen.here.append(found)


def serve_here_no_more(found: Folders) -> None:
    """It stops."""
    _Chosen.here.remove(found)


def where() -> Destination | Folders:
    """The server, or the folders of the runtime of this machine if one runs. Raises RfmError if there is none."""
    if _Chosen.by_program is not None:
        return _Chosen.by_program
    # A forked child may outlive a server of its parent.
    found = next((here for here in _Chosen.here if here.connection.exists()), None)
    if found is None:
        named = destination()
        if named is not None:
            return named
        found = folders(load().settings)
    info = ConnectionInfo.read(found.connection)
    # Its own word: the environment of this program may name another one, or none.
    return msgspec.structs.replace(found, state=Path(info.state_dir)) if info.state_dir else found
