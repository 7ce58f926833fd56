"""A local authority: certificates for one's own server and clients, and the list of those that are revoked.

`certs` in the state folder, 0700: ca.pem, ca.key, server.pem, server.key, crl.pem, users.toml, and clients/NAME.pem and
NAME.key. Keys are 0600. Elliptic curve P-256: what every TLS library has, and quick. Each file is replaced whole.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rfm_runtime.errors import BadRequestError, CertificateError
from rfm_runtime.security import certificates
from rfm_runtime.security.token import make_private, write_private

__all__ = ["CLIENT_DAYS", "SERVER_DAYS", "CertificateAuthority", "Issued", "is_client_name"]

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""The longest that browsers take of public authorities; ours is renewed by a command."""
CLIENT_DAYS = 397

BACK = dt.timedelta(minutes=5)
"""Clocks of two machines."""

CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(\*\.)?({LABEL}\.)*{LABEL}")


def is_client_name(name: str) -> bool:
    """Whether it can be the name of a client, and of its files."""
    return CLIENT_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate. kind: authority, server or client."""

    kind: str
    name: str
    file: Path
    names: tuple[str, ...]
    expires: dt.datetime
    revoked: bool
    fingerprint: str


class CertificateAuthority:
    """The authority in `folder`, which may not be there yet. now: of what is issued. Raises CertificateError."""

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self.folder = folder
        self._now = now
        self.certificate = folder / "ca.pem"
        self.key = folder / "ca.key"
        self.server = folder / "server.pem"
        self.server_key = folder / "server.key"
        self.crl = folder / "crl.pem"
        self.users = folder / "users.toml"
        self.clients = folder / "clients"
        self.former = folder / "clients" / "former"

    @property
    def is_there(self) -> bool:
        """Whether it was made."""
        return self.certificate.exists()

    def server_names(self) -> tuple[str, ...]:
        """Of the server's certificate; none if there is none that can be read."""
        try:
            return certificates.names(certificates.read_certificates(self.server)[0], common=False)
        except (CertificateError, ValueError):
            return ()

    # --- making -----------------------------------------------------------------------------

    def init(self, hosts: Sequence[str], *, days: int = SERVER_DAYS) -> bool:
        """The authority, where there is none, and a server certificate for these hosts; whether it was made.

        Raises BadRequestError for what is no name of a host, and no address.
        """
        alternatives = [_alternative(host) for host in hosts]
        with self._changing(make=True):
            made = not self.is_there
            if made:
                self._found()
            self._issue_server(alternatives, days)
        return made

    def renew(self, *, days: int | None = None) -> None:
        """A new server certificate with a new key for the same names. A running server takes it by itself."""
        with self._changing():
            leaf = certificates.read_certificates(self.server)[0]
            lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc - BACK
            self._issue_server([_alternative(name) for name in certificates.names(leaf)], days or max(1, lifetime.days))

    def client(self, name: str, *, days: int = CLIENT_DAYS) -> tuple[Path, Path]:
        """A certificate and a key for a client of this name, in place of the one it had. Raises BadRequestError."""
        if not is_client_name(name):
            raise BadRequestError(f"{name!r} is no name of a client", hint="letters, digits and @._+-, 64 at most")
        with self._changing():
            _make_private(self.clients)
            alternative: x509.GeneralName = x509.RFC822Name(name) if "@" in name else x509.DNSName(name)
            try:
                alternatives = [alternative]
                x509.SubjectAlternativeName(alternatives).public_bytes()
            except ValueError:
                raise BadRequestError(f"{name!r} is no name of a client", hint="e.g. ann, or ann@example.org") from None
            key, pem = self._issue(name, alternatives, ExtendedKeyUsageOID.CLIENT_AUTH, days)
            path, key_path = self.clients / f"{name}.pem", self.clients / f"{name}.key"
            if path.exists():
                # Still taken, until the name is revoked.
                _make_private(self.former)
                serial = certificates.read_certificates(path)[0].serial_number
                path.replace(self.former / f"{name}~{serial:x}.pem")
            write_private(key_path, key)
            write_private(path, pem)
            return path, key_path

    def revoke(self, name: str) -> Issued:
        """Take no certificate that a client of this name has got. A running server takes the list by itself."""
        with self._changing():
            path = self.clients / f"{name}.pem"
            if not is_client_name(name) or not path.exists():
                raise CertificateError(f"there is no client {name!r}", hint="list them with `rfm-runtime certs show`")
            # ~ is in no name, so that nobody's former ones are taken for another's.
            every = [path, *self.former.glob(f"{name}~*.pem")]
            serials = [certificates.read_certificates(one)[0].serial_number for one in every]
            self._write_crl({**dict.fromkeys(serials, self._now), **self._revocations()})
            return self._issued("client", name, path)

    def show(self) -> list[Issued]:
        """All there are: the authority, the server, clients by name."""
        if not self.is_there:
            raise CertificateError(f"there is no authority in {self.folder}", hint="make one: rfm-runtime certs init")
        found = [self._issued("authority", "ca", self.certificate)]
        if self.server.exists():
            found.append(self._issued("server", "server", self.server))
        found += [self._issued("client", path.stem, path) for path in sorted(self.clients.glob("*.pem"))]
        return found

    # --- inside -----------------------------------------------------------------------------

    @contextmanager
    def _changing(self, *, make: bool = False) -> Iterator[None]:
        """One at a time: two that write a list of revocations would lose one of them."""
        if not make and not self.is_there:
            raise CertificateError(f"there is no authority in {self.folder}", hint="make one: rfm-runtime certs init")
        _make_private(self.folder)
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _found(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        # Two of them must not have one name: clients that trust both would take the wrong one.
        common = f"rfm-runtime local authority {os.urandom(4).hex()}"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - BACK)
            .not_valid_after(self._now + dt.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.key, _key_pem(key))
        write_private(self.certificate, _pem(certificate))
        self._write_crl({})

    def _issue_server(self, alternatives: list[x509.GeneralName], days: int) -> None:
        key, pem = self._issue(None, alternatives, ExtendedKeyUsageOID.SERVER_AUTH, days)
        # A server that looks in between finds two that do not belong together, and stays with those it has.
        write_private(self.server_key, key)
        write_private(self.server, pem)

    def _issue(
        self, name: str | None, alternatives: list[x509.GeneralName], purpose: x509.ObjectIdentifier, days: int
    ) -> tuple[str, str]:
        """(key, certificate), in PEM."""
        authority, authority_key = self._signer()
        key = ec.generate_private_key(ec.SECP256R1())
        common = name if name is not None else str(alternatives[0].value)
        ends = min(self._now + dt.timedelta(days=days), authority.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - BACK)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        return _key_pem(key), _pem(certificate)

    def _signer(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        authority, key = certificates.read_certificates(self.certificate)[0], certificates.read_key(self.key)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != authority.public_key():
            raise CertificateError(
                f"{self.key} is not the key of {self.certificate}", hint="restore both from the same backup"
            )
        if authority.not_valid_after_utc <= self._now:
            raise CertificateError(
                f"the authority {self.certificate} has expired", hint=f"move {self.folder} away, then `certs init`"
            )
        return authority, key

    def _revocations(self) -> dict[int, dt.datetime]:
        if not self.crl.exists():
            return {}
        lists = certificates.read_revocations(self.crl)
        return {entry.serial_number: entry.revocation_date_utc for crl in lists for entry in crl}

    def _write_crl(self, revoked: dict[int, dt.datetime]) -> None:
        authority, key = self._signer()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(self._now - BACK)
            # Nobody is there to write it anew, and an old one would keep all clients out.
            .next_update(authority.not_valid_after_utc)
        )
        for serial, when in revoked.items():
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
            )
        crl = builder.sign(key, hashes.SHA256())
        write_private(self.crl, crl.public_bytes(serialization.Encoding.PEM).decode())

    def _issued(self, kind: str, name: str, path: Path) -> Issued:
        leaf = certificates.read_certificates(path)[0]
        return Issued(
            kind,
            name,
            path,
            certificates.names(leaf, common=kind == "authority"),
            leaf.not_valid_after_utc,
            leaf.serial_number in self._revocations(),
            certificates.fingerprint(leaf),
        )


def _make_private(folder: Path) -> None:
    make_private(folder)
    if folder.stat().st_mode & 0o077:
        # It is ours alone, and was made under another mask or copied.
        folder.chmod(0o700)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or HOST_NAME.fullmatch(host) is None:
        raise BadRequestError(f"{host!r} is no host", hint="give a name such as render.example.org, or an address")
    return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
