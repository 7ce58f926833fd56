"""Certificates for tests, by the authority of `rfm-runtime certs`, and odd ones that it would not make."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rfm_runtime.security.certificate_authority import CertificateAuthority

__all__ = ["NOW", "authority", "make", "spoil_name", "write_key"]

NOW = dt.datetime.now(dt.UTC)


def authority(folder: Path, *hosts: str, now: dt.datetime = NOW) -> CertificateAuthority:
    """With a server certificate for these hosts, by default those of loopback."""
    made = CertificateAuthority(folder, now)
    made.init(list(hosts) or ["localhost", "127.0.0.1", "::1"])
    return made


def make(
    folder: Path,
    name: str,
    *,
    signer: CertificateAuthority | tuple[Path, Path] | None = None,
    is_authority: bool = False,
    hosts: tuple[str, ...] = ("localhost",),
    days: tuple[int, int] = (-1, 30),
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    key: Any = None,
) -> tuple[Path, Path]:
    """(certificate, key), signed by an authority, another certificate, or by itself. days: of validity, from now."""
    folder.mkdir(exist_ok=True)
    secret = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = subject, secret
    if signer is not None:
        files = signer if isinstance(signer, tuple) else (signer.certificate, signer.key)
        issuer = x509.load_pem_x509_certificate(files[0].read_bytes()).subject
        issuer_key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=days[0]))
        .not_valid_after(NOW + dt.timedelta(days=days[1]))
    )
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if hosts:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(alternatives, critical=False)
    certificate, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    write_key(key_path, secret)
    return certificate, key_path


def write_key(path: Path, key: Any, password: bytes | None = None) -> None:
    """Mode 0600."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    encryption = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))


def spoil_name(path: Path, name: str) -> None:
    """Have the PEM file say `name` in bytes that are no text: it is loaded, and raises when somebody asks who it is."""
    begin, *lines, end = path.read_text(encoding="ascii").strip().splitlines()
    der = base64.b64decode("".join(lines))
    assert name.encode() in der
    spoiled = base64.b64encode(der.replace(name.encode(), b"\xff" * len(name))).decode()
    path.write_text("\n".join([begin, *(spoiled[at : at + 64] for at in range(0, len(spoiled), 64)), end, ""]))
