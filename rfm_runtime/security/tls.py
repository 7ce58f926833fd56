"""TLS contexts of servers and clients: TLS 1.2 or newer, forward secrecy, authenticated ciphers. Standard library only.

What is in the files of a server is judged before, in `certificates`: OpenSSL's own words name neither file nor remedy.
"""

from __future__ import annotations

import os
import shlex
import ssl
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rfm_runtime.errors import CertificateError

__all__ = ["CIPHERS", "ClientCert", "Newest", "check_private", "client_context", "server_context", "unreadable"]

T = TypeVar("T")

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2. Those of 1.3 are OpenSSL's three, all of them authenticated and with forward secrecy."""

NO_TLS = ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL")

FILE_LIMIT_BYTES = 1024 * 1024
"""More than any chain of certificates has."""

OTHERS = 0o037
"""Mode bits that a key must not have: a group may read it, others nothing."""

ClientCert = str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]
"""A PEM file with certificate and key, or (certificate, key)."""


class Newest(ssl.SSLContext):
    """Gives each new connection the newest context; those that are there keep theirs.

    `load_cert_chain` of a context in use would leave authorities and revocations in it that are not meant any more.
    """

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As the library says, by the newest context."""
        return self.current.wrap_bio(*arguments, **options)


class _Telling(ssl.SSLObject):
    """Has the peer told why a handshake failed, before the connection is closed.

    asyncio closes at once, with the alert unsent: a client could not tell a certificate that is not taken from a
    network that broke, and would try again. So a failure is said to want more data first, for which what waits is
    sent; the peer's end, or the handshake's time-out, ends it then.
    """

    _failed: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """As the library says."""
        if self._failed is not None:
            raise self._failed
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError, ssl.SSLEOFError):
            raise
        except ssl.SSLError as error:
            if error.reason in NO_TLS:
                # Who speaks plain text understands no alert.
                raise
            self._failed = error
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the alert is not sent yet") from error


def server_context(
    certificate: Path, key: Path, *, client_ca: Path | None = None, client_crl: Path | None = None, required: bool
) -> ssl.SSLContext:
    """required: a handshake without a client certificate fails. Raises CertificateError naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # Connections last for hours: there is nothing to resume, and a key for tickets would be one more secret.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _Telling
    _load(lambda: context.load_cert_chain(certificate, key, password=_no_password), certificate)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        # An authority in the file is trusted as it is, whoever stands above it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _load(lambda: context.load_verify_locations(client_ca), client_ca)
        if client_crl is not None:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
            _load(lambda: context.load_verify_locations(client_crl), client_crl)
    return context


CA_HINT = "name a PEM file with the certificates of authorities that are trusted: --ca, RFM_CA_FILE, ca_file"

PAIR_HINT = (
    "name the certificate and its own private key, PEM: --client-cert, RFM_CLIENT_CERT; --client-key, RFM_CLIENT_KEY"
)


def client_context(ca_file: str | os.PathLike[str] | None, client_cert: ClientCert | None) -> ssl.SSLContext:
    """For wss://. ca_file: the only authorities, or the only certificate, that are trusted; None: the system's.

    Raises CertificateError naming the file.
    """
    context = _load(lambda: ssl.create_default_context(cafile=ca_file), ca_file, CA_HINT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_file is not None:
        # From Python 3.13 on authorities that keep to RFC 5280 halfway are refused. Who names one has decided.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    if client_cert is not None:
        certificate, key = client_cert if isinstance(client_cert, tuple) else (client_cert, client_cert)
        _check_has(Path(certificate), "certificate", "CERTIFICATE-----", "name a file with `-----BEGIN CERTIFICATE`")
        _check_has(
            Path(key), "private key", "PRIVATE KEY-----", "name the file that has it: --client-key, RFM_CLIENT_KEY"
        )
        check_private(Path(key))
        _load(lambda: context.load_cert_chain(certificate, key, password=_no_password), certificate, PAIR_HINT)
    return context


def _check_has(path: Path, what: str, mark: str, hint: str) -> None:
    """Raise CertificateError for a file without it: nobody is to close or convert a file that was not meant."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES)
    except OSError as error:
        raise unreadable(path, error) from None
    if mark.encode() not in content:
        raise CertificateError(f"{path} has no {what} in PEM", hint=hint)


def check_private(key: Path) -> None:
    """Raise CertificateError unless a key is this user's secret, or root's. Windows has no modes to look at."""
    if sys.platform == "win32":
        return
    try:
        found = key.stat()
    except OSError as error:
        raise unreadable(key, error) from None
    if found.st_uid not in (0, os.getuid()):
        raise CertificateError(f"the key {key} belongs to another user", hint=f"chown it: {_quoted('chown', key)}")
    mode = stat.S_IMODE(found.st_mode)
    if mode & OTHERS:
        raise CertificateError(
            f"the key {key} can be read by others (mode {mode:04o}), so it is no secret",
            hint=f"close it: chmod 600 {shlex.quote(str(key))}; if others may have read it, make a new one",
        )


def unreadable(path: object, error: OSError) -> CertificateError:
    """What the system said of a file."""
    return CertificateError(f"cannot read {path}: {error.strerror or error}", hint="name a PEM file that can be read")


def _quoted(command: str, path: Path) -> str:
    return f"{command} {os.getuid()} {shlex.quote(str(path))}"


def _no_password() -> str:
    # Asked for at a terminal otherwise, by every process.
    raise CertificateError(
        "the key is encrypted with a password", hint="write it without: openssl pkey -in KEY -out PLAIN, mode 0600"
    )


def _load(
    load: Callable[[], T],
    path: object,
    hint: str = "name PEM files: the certificate and its key, and the authorities of clients",
) -> T:
    try:
        return load()
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM").replace("_", " ").lower()
        raise CertificateError(f"{path} cannot be used: {reason}", hint=hint) from None
    except OSError as error:
        raise unreadable(path, error) from None
