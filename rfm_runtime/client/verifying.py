"""Whether a server is who it should be, and what it says of our certificate. TLS as a client sees it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from rfm_runtime.client.link import Failure
from rfm_runtime.config import Trust
from rfm_runtime.errors import CertificateError
from rfm_runtime.security.tls import client_context

__all__ = ["Trouble", "Verifier", "distrusted", "refused_by_tls", "trouble_of"]

Trouble = Literal[
    "unknown_authority",
    "self_signed",
    "expired",
    "not_yet_valid",
    "wrong_name",
    "distrusted",
    "no_tls",
    "tls_wanted",
    "old_tls",
    "client_certificate",
]
"""Why TLS does not come about. no_tls: it was spoken to somebody who does not; tls_wanted: the other way round.
client_certificate: ours is not taken. distrusted: something else is wrong with theirs.
"""

NOT_YET_VALID, EXPIRED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64
"""OpenSSL's X509_V_ERR_… (x509_vfy.h)."""

TROUBLES: dict[int, Trouble] = {
    2: "unknown_authority",
    NOT_YET_VALID: "not_yet_valid",
    EXPIRED: "expired",
    18: "self_signed",
    19: "unknown_authority",
    20: "unknown_authority",
    21: "unknown_authority",
    OTHER_HOST: "wrong_name",
    OTHER_ADDRESS: "wrong_name",
}
"""By the same numbers. 19 is of an authority that the server has sent along, which makes it no better known."""

PLAIN = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}
"""What is read of an answer that is no TLS."""

OLD = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
}
"""There is no version or cipher that both would use."""

OURS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants one",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know who has issued it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it cannot be used",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it cannot be used",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is not for clients",
}
"""What a server says of a client certificate."""


class Verifier:
    """The TLS context of one connection's tries; made anew when its files are others."""

    def __init__(self) -> None:
        self._made: tuple[Any, ssl.SSLContext] | None = None

    def options(self, url: str, trust: Trust, server_name: str = "") -> dict[str, Any]:
        """Of `connect`. server_name: which the certificate must have, if that is not the url's host.

        Raises CertificateError naming the file that cannot be used.
        """
        if urlsplit(url).scheme != "wss":
            return {}
        options: dict[str, Any] = {"ssl": self.context(trust)}
        if server_name:
            options["server_hostname"] = server_name
        return options

    def context(self, trust: Trust) -> ssl.SSLContext:
        """Raises CertificateError."""
        cert = trust.client_cert
        files = [trust.ca_file, *(cert if isinstance(cert, tuple) else (cert,))]
        key = [(str(path), _changed_ns(path)) for path in files if path is not None]
        if self._made is None or self._made[0] != key:
            self._made = (key, client_context(trust.ca_file, cert))
        return self._made[1]


def _changed_ns(path: str | os.PathLike[str]) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def trouble_of(verify_code: int) -> Trouble:
    """What is wrong with a server's certificate, by OpenSSL's number."""
    return TROUBLES.get(verify_code, "distrusted")


def distrusted(error: ssl.SSLCertVerificationError, host: str | None, *, again: bool) -> Failure:
    """The server's certificate is not one to trust. again: what it is known by may be written anew."""
    reason = f"the certificate of {host} is not trusted: {error.verify_message}"
    if error.verify_code == NOT_YET_VALID:
        hint = "is this machine's clock right?"
    elif error.verify_code == EXPIRED:
        hint = "it has to be renewed there: `rfm-runtime certs renew`"
    elif error.verify_code in (OTHER_HOST, OTHER_ADDRESS):
        hint = "use a name that is in it, or have one made with this name: `rfm-runtime certs init --host NAME`"
    else:
        hint = "name the authority that has issued it: --ca FILE, RFM_CA_FILE or ca_file"
    trouble = trouble_of(error.verify_code)
    unsafe = CertificateError(reason, hint=hint, trouble=trouble)
    return Failure(reason, retry=again, nearby=again, trouble=trouble, error=unsafe)


def refused_by_tls(*errors: BaseException) -> Failure | None:
    """What ends every try, found among what broke a connection, or caused that; None: another try may succeed."""
    found = next((error for error in errors if isinstance(error, ssl.SSLError)), None)
    if found is None:
        causes = (error.__cause__ or error.__context__ for error in errors)
        found = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if found is None:
        return None
    reason = (found.reason or "").upper()
    trouble: Trouble
    if reason in PLAIN:
        trouble = "no_tls"
        text = "what listens there does not speak TLS"
        hint = "use the port that does; ws:// is for loopback"
    elif reason in OLD:
        trouble = "old_tls"
        text = "what listens there speaks no TLS that is safe today"
        hint = "it has to speak TLS 1.2 or newer, with forward secrecy"
    elif reason in OURS:
        trouble = "client_certificate"
        text = f"the server does not take our certificate: {OURS[reason]}"
        hint = "name one that it takes, with its key: --client-cert FILE, RFM_CLIENT_CERT or client_cert"
    else:
        return None
    return Failure(text, retry=False, trouble=trouble, error=CertificateError(text, hint=hint, trouble=trouble))
