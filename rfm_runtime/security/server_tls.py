"""The TLS of one server: what it shows, whom it takes, and newer files in place of those it began with.

Used by one thread, the gateway's; the supervisor makes one to find out whether there can be one.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rfm_runtime.config import TLS_FILES, Settings, is_loopback, is_wildcard
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.certificates import Admission, Peer
from rfm_runtime.errors import CertificateError
from rfm_runtime.security import certificates
from rfm_runtime.security.tls import Newest, server_context
from rfm_runtime.security.token import write_private
from rfm_runtime.security.users import read_users

__all__ = ["ServerTls"]

log = logging.getLogger("rfm_runtime.security")

SOON_DAYS = 14
"""Before its end a certificate that is still the same is worth a word."""

KNOWN_CHAINS = 3
"""In the file by which clients of this machine know the server: gateways reload one after another."""

Clock = Callable[[], dt.datetime]


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class _Material:
    context: SSLContext
    chain: Sequence[x509.Certificate]
    authorities: Sequence[x509.Certificate]
    admission: Admission


class ServerTls:
    """settings: with `tls_certificate`. Raises CertificateError, which names the file and what to do.

    context: for the listening server; each handshake is made with the newest files. trouble: why newer files are not
    used, or that the certificate ends soon; "" if all is well.
    """

    def __init__(self, settings: Settings, clock: Clock = _utc_now) -> None:
        self._settings = settings
        self._clock = clock
        self._paths = [Path(value) for name in TLS_FILES if (value := getattr(settings, name))]
        self._refused = ""
        self._reads_users = False
        self._seen = self._stamp()
        self._material = self._load()
        self.context = Newest(PROTOCOL_TLS_SERVER)
        self.context.current = self._material.context

    # --- files ------------------------------------------------------------------------------

    def look(self, *, again: bool = False) -> bool:
        """Whether the files are others than before and are used from now on. again: read them in any case.

        Files that cannot be used change nothing, and `trouble` says why.
        """
        stamp = self._stamp()
        if stamp == self._seen and not again:
            return False
        self._seen = stamp
        try:
            self._material = self._load()
        except CertificateError as error:
            kept = "users before are" if self._reads_users else "certificate before is"
            self._refused = f"{error.message}; the {kept} used ({error.hint})"
            return False
        self._refused = ""
        self.context.current = self._material.context
        return True

    def _stamp(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(_stamp(path) for path in self._paths)

    def _load(self) -> _Material:
        try:
            return self._read()
        except CertificateError:
            raise
        except Exception as error:
            # Whoever writes the files must not decide by an odd one whether newer ones are followed.
            log.exception("certificate files cannot be used")
            raise CertificateError(
                f"one of {', '.join(map(str, self._paths))} cannot be used: {type(error).__name__}: {error}",
                hint="get them anew from their authority; the log says more",
            ) from None

    def _read(self) -> _Material:
        self._reads_users = False
        settings, now = self._settings, self._clock()
        paths = {name: Path(value) for name in TLS_FILES if (value := getattr(settings, name))}
        host = settings.host
        named = not (is_loopback(host) or is_wildcard(host) or certificates.is_address(host))
        certificate, key = paths["tls_certificate"], paths["tls_key"]
        chain = certificates.check_server(certificate, key, now, host=host if named else None)
        client_ca, client_crl = paths.get("tls_client_ca"), paths.get("tls_client_crl")
        users = paths.get("tls_users")
        for trusted in filter(None, (client_ca, client_crl)):
            certificates.check_trusted(trusted)
        authorities = [] if client_ca is None else certificates.read_certificates(client_ca)
        self._reads_users = True
        admitted = {} if users is None else read_users(users)
        self._reads_users = False
        admission = Admission(
            admitted,
            frozenset() if client_crl is None else certificates.revoked(client_crl, authorities, now),
        )
        context = server_context(
            certificate,
            key,
            client_ca=client_ca,
            client_crl=client_crl,
            required=settings.tls_client_auth == "required",
        )
        return _Material(context, chain, authorities, admission)

    # --- what it shows ----------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """For people; "" if all is well."""
        if self._refused:
            return self._refused
        if self.days_left < 0:
            return "the server's certificate has expired, no client takes it (`rfm-runtime certs renew`)"
        if self.days_left < SOON_DAYS:
            return f"the server's certificate ends in {self.days_left} days (`rfm-runtime certs renew`)"
        return ""

    @property
    def days_left(self) -> int:
        """Whole days until the certificate that is shown ends; below 0 afterwards."""
        return (self._material.chain[0].not_valid_after_utc - self._clock()).days

    @property
    def ends_s(self) -> float:
        """When the certificate that is shown ends, seconds since 1970."""
        return self._material.chain[0].not_valid_after_utc.timestamp()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate that is shown, hexadecimal."""
        return certificates.fingerprint(self._material.chain[0])

    def server_name(self, host: str) -> str:
        """By which name a client that connects to `host` checks the certificate; "" if by that one."""
        known = certificates.names(self._material.chain[0], common=False)
        if certificates.matches(host, known):
            return ""
        return known[0].replace("*", "host", 1)

    def make_known(self, path: Path) -> None:
        """Write the chain where clients of this machine look for it, before those of earlier times. Raises OSError."""
        chain = [certificate.public_bytes(Encoding.PEM).decode() for certificate in self._material.chain]
        text = "".join(chain)
        try:
            before = path.read_text(encoding="ascii").split("\n\n")
        except (OSError, UnicodeDecodeError):
            before = []
        kept = [one for one in before if one and one.strip() != text.strip()]
        write_private(path, "\n\n".join([text.strip(), *kept[: KNOWN_CHAINS - 1]]) + "\n")

    # --- whom it takes ----------------------------------------------------------------------

    def peer(self, der: bytes | None) -> Peer | None:
        """What a client certificate says; None without one."""
        return None if der is None else certificates.peer_of(der, self._material.authorities)

    def refusal(self, peer: Peer | None) -> str | None:
        """Why a connection has to end by the files of now; None: it need not."""
        if peer is None:
            return "no certificate was shown" if self._settings.tls_client_auth == "required" else None
        return self._material.admission.refusal(peer, self._now_ms())

    def grant(self, peer: Peer | None) -> Grant | None:
        """What a certificate alone grants."""
        return None if peer is None else self._material.admission.grant(peer, self._now_ms())

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1000)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid
