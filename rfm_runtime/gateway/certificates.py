"""Certificates of one gateway and of those who connect to it. Used by the gateway's loop."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from websockets.asyncio.server import ServerConnection

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.certificates import Peer
from rfm_runtime.observe import logs

if TYPE_CHECKING:
    from rfm_runtime.security.server_tls import ServerTls

__all__ = ["Certificates"]

log = logs.get("gateway")


class Certificates:
    """tls: None: plain text, where nobody has a certificate. known: where clients of this machine look for ours."""

    def __init__(self, tls: ServerTls | None, known: Path) -> None:
        self._tls = tls
        self._known = known
        self._said = ""
        # By the files of now.
        self._peers: WeakKeyDictionary[ServerConnection, Peer | None] = WeakKeyDictionary()

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the listening server."""
        return None if self._tls is None else self._tls.context

    @property
    def ends_s(self) -> float | None:
        """When our certificate ends, seconds since 1970; None without one."""
        return None if self._tls is None else self._tls.ends_s

    @property
    def trouble(self) -> str:
        """For people; "" if all is well."""
        return "" if self._tls is None else self._tls.trouble

    def look(self, *, again: bool) -> bool:
        """Whether other files are used from now on. Those that cannot be are said once, and change nothing."""
        if self._tls is None:
            return False
        renewed = self._tls.look(again=again)
        if renewed:
            self._peers.clear()
            log.info("certificate_loaded", fingerprint=self._tls.fingerprint)
            try:
                self._tls.make_known(self._known)
            except OSError as error:
                log.exception("certificate_not_made_known", path=str(self._known), error=str(error))
        trouble = self._tls.trouble
        if trouble != self._said:
            self._said = trouble
            if trouble:
                log.error("certificate_trouble", trouble=trouble)
        return renewed

    def refusal(self, connection: ServerConnection) -> str | None:
        """Why a connection has to end, whoever it is; None: it need not."""
        return None if self._tls is None else self._tls.refusal(self._peer(connection))

    def grant(self, connection: ServerConnection) -> Grant | None:
        """What its certificate alone grants."""
        return None if self._tls is None else self._tls.grant(self._peer(connection))

    def ends_ms(self, connection: ServerConnection) -> int | None:
        """When the certificate that a connection has shown ends, ms since 1970; None: it has shown none."""
        peer = self._peer(connection)
        return None if peer is None else peer.expires_at_ms

    def name(self, connection: ServerConnection) -> str:
        """The first name in its certificate; "" without one."""
        peer = self._peer(connection)
        return peer.names[0] if peer is not None and peer.names else ""

    def _peer(self, connection: ServerConnection) -> Peer | None:
        if self._tls is None:
            return None
        if connection not in self._peers:
            secured: ssl.SSLObject | None = connection.transport.get_extra_info("ssl_object")
            self._peers[connection] = self._tls.peer(None if secured is None else secured.getpeercert(binary_form=True))
        return self._peers[connection]
