"""Certificates, keys and revocations in PEM files: read, judged, and put into words before anything is served.

Raises CertificateError, which names the file and what to do.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rfm_runtime.core.sessions.certificates import Peer
from rfm_runtime.errors import CertificateError
from rfm_runtime.security.tls import check_private, unreadable
from rfm_runtime.security.trusted import changeable

__all__ = [
    "check_server",
    "check_trusted",
    "expires_at_ms",
    "fingerprint",
    "is_address",
    "matches",
    "names",
    "peer_of",
    "read_certificates",
    "read_key",
    "read_revocations",
    "revoked",
]

NAMES = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
UNREADABLE = (
    ValueError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)
"""What `cryptography` raises for certificates that others make nevertheless."""

RENEW = "get a new one, or make it with `rfm-runtime certs renew`"


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All in the file, at least one."""
    try:
        return x509.load_pem_x509_certificates(_content(path))
    except UNREADABLE:
        raise CertificateError(
            f"{path} has no certificate in PEM", hint="name a file with `-----BEGIN CERTIFICATE`"
        ) from None


def read_key(path: Path) -> PrivateKeyTypes:
    """A private key that nobody else can read."""
    check_private(path)
    content = _content(path)
    try:
        return serialization.load_pem_private_key(content, None)
    except TypeError:
        raise CertificateError(
            f"the key {path} is encrypted with a password",
            hint="write it without: openssl pkey -in KEY -out PLAIN, mode 0600",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(
            f"{path} has no private key in PEM", hint="name a file with `-----BEGIN PRIVATE KEY`"
        ) from None


def read_revocations(path: Path) -> list[x509.CertificateRevocationList]:
    """All revocation lists in the file, at least one."""
    begin = b"-----BEGIN X509 CRL-----"
    content = _content(path)
    try:
        found = [x509.load_pem_x509_crl(begin + part) for part in content.split(begin)[1:]]
    except UNREADABLE:
        found = []
    if not found:
        raise CertificateError(f"{path} has no revocation list in PEM", hint="name a file with `-----BEGIN X509 CRL`")
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def check_trusted(path: Path) -> None:
    """Raise CertificateError if others can change a file that says whom a server takes."""
    try:
        changeable_by = changeable(path, path.stat())
    except OSError as error:
        raise unreadable(path, error) from None
    if changeable_by is not None:
        raise CertificateError(changeable_by[0], hint=changeable_by[1])


# --- what a certificate says --------------------------------------------------------------------


def names(certificate: x509.Certificate, *, common: bool = True) -> tuple[str, ...]:
    """Alternative names in their order (DNS, addresses, mail, URI), then the common name. common: with that."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [str(name.value) for name in alternatives if isinstance(name, NAMES)]
    except x509.ExtensionNotFound:
        found = []
    if common:
        found += [str(entry.value) for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys(found))


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the whole, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def expires_at_ms(certificate: x509.Certificate) -> int:
    """ms since 1970."""
    return int(certificate.not_valid_after_utc.timestamp() * 1000)


def matches(host: str, certificate_names: Iterable[str]) -> bool:
    """Whether a certificate with these names is one for the host; a wildcard stands for one label (RFC 6125)."""
    host = host.lower().rstrip(".")
    below = host.partition(".")[2]
    return any(
        name.lower() == host or (name.startswith("*.") and below and name[2:].lower() == below)
        for name in certificate_names
    )


def is_address(host: str) -> bool:
    """An IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _day(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


# --- servers ------------------------------------------------------------------------------------


def check_server(
    certificate: Path, key: Path, now: dt.datetime, *, host: str | None = None
) -> Sequence[x509.Certificate]:
    """The chain, if a server can be one with it now. host: a name that watchers are meant to use."""
    chain = read_certificates(certificate)
    secret = read_key(key)
    try:
        _check_leaf(certificate, chain[0], key, secret, now, host)
    except UNREADABLE as error:
        raise CertificateError(f"the certificate {certificate} cannot be read: {error}", hint=RENEW) from None
    return chain


def _check_leaf(
    certificate: Path,
    leaf: x509.Certificate,
    key: Path,
    secret: PrivateKeyTypes,
    now: dt.datetime,
    host: str | None,
) -> None:
    if leaf.not_valid_before_utc > now:
        raise CertificateError(
            f"the certificate {certificate} is not valid before {_day(leaf.not_valid_before_utc)}",
            hint=f"is this machine's clock right? It says {_day(now)}",
        )
    if leaf.not_valid_after_utc < now:
        raise CertificateError(
            f"the certificate {certificate} has expired on {_day(leaf.not_valid_after_utc)}", hint=RENEW
        )
    if _public(leaf.public_key()) != _public(secret.public_key()):
        raise CertificateError(
            f"the key {key} is not that of the certificate {certificate}",
            hint="name the two that were made together; the server's certificate comes first in its file",
        )
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.SERVER_AUTH not in usage and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
            raise CertificateError(f"the certificate {certificate} is not for servers", hint=RENEW)
    except x509.ExtensionNotFound:
        pass
    known = names(leaf, common=False)
    if not known:
        raise CertificateError(
            f"the certificate {certificate} names no host, so no client takes it",
            hint="make one with a subjectAltName: `rfm-runtime certs init --host NAME`",
        )
    if host is not None and not matches(host, known):
        raise CertificateError(
            f"the certificate {certificate} is for {', '.join(known)}, and not for {host}",
            hint=f"make one that is: `rfm-runtime certs init --host {host}`",
        )


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- clients ------------------------------------------------------------------------------------


def peer_of(der: bytes, authorities: Sequence[x509.Certificate]) -> Peer:
    """What a client certificate says, and which of the authorities has signed it.

    One that OpenSSL has taken and that cannot be read here is nobody's, as of no authority.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        authority = next((one for one in authorities if _issued(certificate, one)), None)
        return Peer(
            names(certificate),
            "" if authority is None else fingerprint(authority),
            certificate.serial_number,
            expires_at_ms(certificate),
        )
    except UNREADABLE:
        return Peer((), "", 0, 0)


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def revoked(path: Path, authorities: Sequence[x509.Certificate], now: dt.datetime) -> frozenset[tuple[str, int]]:
    """(fingerprint of the authority, serial) of all that the lists in the file revoke.

    Of an authority without a list there no client comes in: OpenSSL refuses it.
    """
    try:
        return _revoked(path, authorities, now)
    except UNREADABLE as error:
        # Names, times and entries are read when they are asked for, those of the authorities too.
        raise CertificateError(
            f"a revocation list in {path}, or an authority in tls_client_ca, cannot be read: {error}",
            hint="get the newest ones from their authority",
        ) from None


def _revoked(path: Path, authorities: Sequence[x509.Certificate], now: dt.datetime) -> frozenset[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for crl in read_revocations(path):
        signers = [one for one in authorities if crl.issuer == one.subject and _signed(crl, one)]
        if not signers:
            raise CertificateError(
                f"a revocation list in {path} is of no authority in tls_client_ca",
                hint="name the lists of the authorities whose clients are taken",
            )
        if crl.next_update_utc is not None and crl.next_update_utc < now:
            raise CertificateError(
                f"a revocation list in {path} was to be replaced by {_day(crl.next_update_utc)}",
                hint="get the newest one from its authority",
            )
        for signer in signers:
            found |= {(fingerprint(signer), entry.serial_number) for entry in crl}
    return frozenset(found)


def _signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
