"""Certificate files that are loaded and cannot be read: they are refused in words, and newer ones are used again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from rfm_runtime.config import load
from rfm_runtime.errors import CertificateError
from rfm_runtime.security import certificates
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.server_tls import ServerTls
from tests.certificates import NOW, authority, spoil_name

pytestmark = pytest.mark.scenario("G5", "J61")


def with_clients(ca: CertificateAuthority) -> ServerTls:
    files = {"tls_certificate": ca.server, "tls_key": ca.server_key}
    files |= {"tls_client_ca": ca.certificate, "tls_client_crl": ca.crl}
    return ServerTls(load({name: str(path) for name, path in files.items()}, environ={}).settings)


def own_name(ca: CertificateAuthority) -> str:
    subject = x509.load_pem_x509_certificate(ca.certificate.read_bytes()).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize("which", ["certificate", "crl"])
def test_a_name_that_is_no_text(tmp_path: Path, which: str) -> None:
    ca = authority(tmp_path)
    tls = with_clients(ca)
    path: Path = getattr(ca, which)
    good = path.read_bytes()
    spoil_name(path, own_name(ca))
    with pytest.raises(CertificateError) as caught:
        certificates.revoked(ca.crl, certificates.read_certificates(ca.certificate), NOW)
    assert str(ca.crl) in caught.value.message
    assert caught.value.hint
    assert not tls.look()
    assert "the certificate before is used" in tls.trouble
    path.write_bytes(good)
    assert tls.look()
    assert tls.trouble == ""


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_file_says_it_is_refused_in_words_or_taken(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ca = authority(tmp_path)
    tls = with_clients(ca)
    for path in (ca.server, ca.certificate, ca.crl) * 20:
        good = path.read_bytes()
        begin, *lines, end = good.splitlines()
        body = bytearray(b"".join(lines))
        for _ in range(chance.choice((1, 1, 2, 4))):
            body[chance.randrange(len(body))] = chance.choice(b"ABCDEFGHabcdefgh01234567+/")
        path.write_bytes(b"\n".join([begin, *(body[at : at + 64] for at in range(0, len(body), 64)), end, b""]))
        tls.look(again=True)
        assert tls.days_left > 0
        path.write_bytes(good)
        assert tls.look(again=True)
        assert tls.trouble == ""
