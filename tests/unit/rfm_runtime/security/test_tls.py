"""What a server's files have to be before anything is served, and what is offered in a handshake."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.config import Settings, load
from rfm_runtime.core.sessions.certificates import Peer
from rfm_runtime.errors import CertificateError
from rfm_runtime.security import certificates
from rfm_runtime.security.server_tls import ServerTls
from rfm_runtime.security.tls import CIPHERS, client_context, server_context
from rfm_runtime.security.users import add_user, read_users
from tests.certificates import NOW, authority, make, write_key

G5 = pytest.mark.scenario("G5")


def settings(certificate: Path, key: Path, **more: Any) -> Settings:
    values = {name: str(value) for name, value in more.items()}
    return load({"tls_certificate": str(certificate), "tls_key": str(key), **values}, environ={}).settings


def refused(certificate: Path, key: Path, **more: Any) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        ServerTls(settings(certificate, key, **more))
    assert caught.value.hint
    return caught.value


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> tuple[Any, Any]:
    """(version, cipher) of both, or the error of each side, over a socket pair."""
    here, there = socket.socketpair()
    answers: list[Any] = [None, None]

    def speak(number: int, wrap: Callable[[], ssl.SSLSocket]) -> None:
        try:
            with wrap() as secured:
                if number:
                    secured.sendall(b"x")
                assert secured.recv(1) in (b"x", b"")
                if not number:
                    secured.sendall(b"x")
                answers[number] = (secured.version(), secured.cipher())
        except OSError as error:
            answers[number] = error

    here.settimeout(10.0)
    there.settimeout(10.0)
    server_side = threading.Thread(target=speak, args=(0, lambda: server.wrap_socket(here, server_side=True)))
    server_side.start()
    speak(1, lambda: client.wrap_socket(there, server_hostname=host))
    server_side.join()
    return answers[0], answers[1]


@G5
def test_what_is_good_is_taken(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    tls = ServerTls(settings(ca.server, ca.server_key))
    assert tls.trouble == ""
    server, client = handshake(tls.context.current, client_context(ca.certificate, None))
    assert server[0] == client[0] == "TLSv1.3"


@G5
@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_missing_file_is_named(tmp_path: Path, which: str) -> None:
    ca = authority(tmp_path / "ca")
    files = {"certificate": ca.server, "key": ca.server_key, which: tmp_path / "none.pem"}
    error = refused(files["certificate"], files["key"])
    assert error.message == f"cannot read {tmp_path / 'none.pem'}: No such file or directory"


@G5
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o666, 0o641])
@pytest.mark.scenario("G11")
def test_a_key_for_others_to_read_is_refused(tmp_path: Path, mode: int) -> None:
    ca = authority(tmp_path / "ca")
    ca.server_key.chmod(mode)
    error = refused(ca.server, ca.server_key)
    assert f"mode {mode:04o}" in error.message
    assert f"chmod 600 {ca.server_key}" in error.hint


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
@pytest.mark.scenario("G11")
def test_a_key_for_a_group_to_read_is_taken(tmp_path: Path, mode: int) -> None:
    ca = authority(tmp_path / "ca")
    ca.server_key.chmod(mode)
    assert ServerTls(settings(ca.server, ca.server_key)).trouble == ""


@G5
def test_validity(tmp_path: Path) -> None:
    assert "has expired on" in refused(*make(tmp_path, "old", days=(-30, -1))).message
    early = refused(*make(tmp_path, "early", days=(1, 30)))
    assert "is not valid before" in early.message
    assert "clock" in early.hint
    soon = ServerTls(settings(*make(tmp_path, "soon", days=(-30, 5))))
    assert "ends in 4 days" in soon.trouble


@G5
def test_what_does_not_belong_together(tmp_path: Path) -> None:
    certificate, _ = make(tmp_path, "one")
    _, other_key = make(tmp_path, "two")
    assert (
        f"the key {other_key} is not that of the certificate {certificate}" in refused(certificate, other_key).message
    )
    assert "not for servers" in refused(*make(tmp_path, "c", purpose=ExtendedKeyUsageOID.CLIENT_AUTH)).message
    assert "names no host" in refused(*make(tmp_path, "nameless", hosts=())).message


@G5
def test_what_is_no_certificate_or_key(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, "one")
    empty = tmp_path / "empty.pem"
    empty.touch(mode=0o600)
    assert f"{empty} has no certificate" in refused(empty, key).message
    assert f"{empty} has no private key" in refused(certificate, empty).message
    assert "cannot read" in refused(tmp_path, key).message
    locked = tmp_path / "locked.key"
    write_key(locked, ec.generate_private_key(ec.SECP256R1()), b"secret")
    error = refused(certificate, locked)
    assert "encrypted with a password" in error.message
    assert "secret" not in error.message + error.hint
    weak = rsa.generate_private_key(65537, 1024)
    assert "cannot be used: ee key too small" in refused(*make(tmp_path, "weak", key=weak)).message


@G5
def test_a_server_that_listens_by_a_name_has_it_in_its_certificate(tmp_path: Path) -> None:
    files = make(tmp_path, "one", hosts=("render.example.org", "*.example.net"))
    assert "is for render.example.org, *.example.net, and not for x.org" in refused(*files, host="x.org").message
    for host in ("render.example.org", "RENDER.example.org", "a.example.net", "127.0.0.1", "0.0.0.0", "192.0.2.1"):
        assert ServerTls(settings(*files, host=host)).server_name("127.0.0.1") == "render.example.org"
    assert "not for a.b.example.net" in refused(*files, host="a.b.example.net").message


@pytest.mark.scenario("G6")
def test_old_versions_and_ciphers_are_refused(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    server = server_context(ca.server, ca.server_key, required=False)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = client_context(ca.certificate, None)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version = version
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.maximum_version = version
        old.set_ciphers("ALL:@SECLEVEL=0")
        _, answer = handshake(server, old)
        # The server's word, and no inability of this client.
        assert isinstance(answer, ssl.SSLError)
        assert answer.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES256-GCM-SHA384"):
        cbc = client_context(ca.certificate, None)
        cbc.maximum_version = ssl.TLSVersion.TLSv1_2
        cbc.set_ciphers(f"{weak}:@SECLEVEL=0")
        _, answer = handshake(server, cbc)
        assert isinstance(answer, ssl.SSLError), (weak, answer)
        assert answer.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@pytest.mark.scenario("G6")
def test_every_suite_has_forward_secrecy_and_authenticates(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    offered = [one["name"] for one in server_context(ca.server, ca.server_key, required=False).get_ciphers()]
    assert {name for name in offered if name.startswith("TLS_")} == {
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
    }
    older = [name for name in offered if not name.startswith("TLS_")]
    assert older
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name) for name in older), CIPHERS
    for name in older:
        if "RSA" not in name:
            client = client_context(ca.certificate, None)
            client.maximum_version = ssl.TLSVersion.TLSv1_2
            client.set_ciphers(name)
            _, answer = handshake(server_context(ca.server, ca.server_key, required=False), client)
            assert answer[1][:2] == (name, "TLSv1.2")


@G5
def test_client_certificates(tmp_path: Path) -> None:
    ca, other = authority(tmp_path / "ca"), authority(tmp_path / "other")
    good, old = (
        ca.client("ann"),
        make(tmp_path, "old", signer=ca, days=(-9, -1), purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
    )
    strange, gone = other.client("ann"), ca.client("gone")
    ca.revoke("gone")
    tls = ServerTls(
        settings(
            ca.server, ca.server_key, tls_client_ca=ca.certificate, tls_client_crl=ca.crl, tls_client_auth="required"
        )
    )
    for shown, taken in ((good, True), (old, False), (strange, False), (gone, False), (None, False)):
        server, _ = handshake(tls.context.current, client_context(ca.certificate, shown))
        assert isinstance(server, ssl.SSLError) is not taken, (shown, server)
    # A server's certificate is not a client's.
    server, _ = handshake(tls.context.current, client_context(ca.certificate, (ca.server, ca.server_key)))
    assert isinstance(server, ssl.SSLError)


@G5
def test_a_revocation_list_is_of_the_authority_and_not_too_old(tmp_path: Path) -> None:
    ca, other = authority(tmp_path / "ca"), authority(tmp_path / "other")
    files = {"tls_client_ca": ca.certificate}
    assert "is of no authority" in refused(ca.server, ca.server_key, **files, tls_client_crl=other.crl).message
    assert "has no revocation list" in refused(ca.server, ca.server_key, **files, tls_client_crl=ca.server).message
    authorities = certificates.read_certificates(ca.certificate)
    with pytest.raises(CertificateError, match="was to be replaced by"):
        certificates.revoked(ca.crl, authorities, NOW + dt.timedelta(days=4000))


@G5
@pytest.mark.scenario("J61")
def test_newer_files_are_taken_and_broken_ones_are_not(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    tls = ServerTls(settings(ca.server, ca.server_key))
    first = tls.fingerprint
    assert not tls.look()
    before = tls.context.current
    ca.renew()
    assert tls.look()
    second = tls.fingerprint
    assert second != first
    assert tls.context.current is not before
    # One of the two alone, as they are copied one after another; then what is none at all.
    certificate, key = ca.server.read_bytes(), ca.server_key.read_bytes()
    ca.renew()
    ca.server.write_bytes(certificate)
    for _ in range(2):
        assert not tls.look()
        assert "is not that of the certificate" in tls.trouble
    ca.server.write_bytes(b"")
    assert not tls.look()
    assert "has no certificate in PEM" in tls.trouble
    assert tls.fingerprint == second
    ca.server.unlink()
    assert not tls.look()
    assert "No such file" in tls.trouble
    ca.server.write_bytes(certificate)
    ca.server_key.write_bytes(key)
    assert tls.look()
    assert tls.trouble == ""
    assert tls.look(again=True)


def test_what_a_server_is_known_by_has_the_chains_of_before(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    tls = ServerTls(settings(ca.server, ca.server_key))
    known, seen = tmp_path / "server.pem", []
    for _ in range(5):
        tls.make_known(known)
        tls.make_known(known)
        seen.append(ca.server.read_text().strip())
        text = known.read_text()
        assert text.count("BEGIN CERTIFICATE") == min(len(seen), 3)
        assert text.startswith(seen[-1])
        client = client_context(known, None)
        assert handshake(tls.context.current, client)[1][0] == "TLSv1.3"
        ca.renew()
        assert tls.look()
    assert known.stat().st_mode & 0o777 == 0o600


def test_a_client_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    certificate, key = ca.client("ann")
    with pytest.raises(CertificateError, match=r"none\.pem"):
        client_context(tmp_path / "none.pem", None)
    with pytest.raises(CertificateError, match=r"server\.key cannot be used"):
        client_context(ca.server_key, None)
    key.chmod(0o644)
    with pytest.raises(CertificateError, match="can be read by others"):
        client_context(ca.certificate, (certificate, key))


def test_users_are_tables_by_the_name_in_the_certificate(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text('# by hand\n["ann@example.org"]\nuser = "ann"\nroles = ["operator", "viewer"]\n["bob"]\n')
    users = read_users(path)
    assert (users["ann@example.org"].user, users["ann@example.org"].roles) == ("ann", ("viewer", "operator"))
    assert (users["bob"].user, users["bob"].roles) == ("bob", ("viewer",))
    add_user(path, "cat", 'kitty "c"', ["admin"])
    add_user(path, "cat", 'kitty "c"', ["admin"])
    assert read_users(path)["cat"].user == 'kitty "c"'
    assert path.read_text().startswith("# by hand\n")
    with pytest.raises(CertificateError, match="says something else"):
        add_user(path, "cat", "tom", ["admin"])


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "ann = 1",
        '["ann"]\nuser = ""',
        '["ann"]\nuser = "a/b"',
        '["ann"]\nroles = ["root"]',
        '["ann"]\nroles = "admin"',
        '["ann"]\nroles = [1]',
        '["ann"]\nrole = ["admin"]',
    ],
)
def test_users_that_make_no_sense_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(text)
    with pytest.raises(CertificateError, match=r"users\.toml") as caught:
        read_users(path)
    assert caught.value.hint


@G5
def test_authorities_in_between(tmp_path: Path) -> None:
    """The server sends its chain; for clients those that sign are in the file, whoever stands above them."""
    client_auth = ExtendedKeyUsageOID.CLIENT_AUTH
    root = make(tmp_path / "root", "root", is_authority=True)
    between = make(tmp_path / "between", "between", signer=root, is_authority=True)
    server, key = make(tmp_path / "server", "server", signer=between)
    ann = make(tmp_path / "ann", "ann", signer=between, purpose=client_auth)
    bob = make(tmp_path / "bob", "bob", signer=root, purpose=client_auth)
    server.write_bytes(server.read_bytes() + between[0].read_bytes())
    tls = ServerTls(settings(server, key, tls_client_ca=between[0]))
    for shown, taken in ((ann, True), (bob, False)):
        here, there = handshake(tls.context.current, client_context(root[0], shown))
        assert isinstance(here, ssl.SSLError) is not taken, (here, there)
    peer = tls.peer(x509.load_pem_x509_certificate(ann[0].read_bytes()).public_bytes(Encoding.DER))
    assert peer is not None
    assert tls.refusal(peer) is None
    # One that only the root has signed would pass the handshake with the root in the file, and no further.
    above = ServerTls(settings(server, key, tls_client_ca=root[0]))
    assert above.refusal(above.peer(x509.load_pem_x509_certificate(ann[0].read_bytes()).public_bytes(Encoding.DER)))


@pytest.mark.scenario("J61")
def test_files_that_are_exchanged_by_a_link_are_noticed(tmp_path: Path) -> None:
    """As certbot and Kubernetes do it."""
    versions = [authority(tmp_path / f"v{number}") for number in (1, 2)]
    now = tmp_path / "now"
    now.symlink_to(versions[0].folder)
    tls = ServerTls(settings(now / "server.pem", now / "server.key"))
    first = tls.fingerprint
    assert not tls.look()
    (tmp_path / "next").symlink_to(versions[1].folder)
    (tmp_path / "next").replace(now)
    assert tls.look()
    assert tls.fingerprint != first


def pem(kind: str) -> st.SearchStrategy[bytes]:
    begin, end = f"-----BEGIN {kind}-----\n".encode(), f"\n-----END {kind}-----\n".encode()
    inside = st.binary(max_size=300)
    return st.one_of(inside, inside.map(base64.encodebytes)).map(lambda data: begin + data + end)


GARBAGE = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(str.encode),
    *(pem(kind) for kind in ("CERTIFICATE", "X509 CRL", "PRIVATE KEY", "EC PRIVATE KEY")),
)


@pytest.fixture(scope="module")
def garbage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("garbage") / "file.pem"
    path.touch(mode=0o600)
    return path


@G5
@given(GARBAGE)
def test_whatever_is_in_a_file_it_is_named(garbage: Path, content: bytes) -> None:
    garbage.write_bytes(content)
    for read in (certificates.read_certificates, certificates.read_key, certificates.read_revocations, read_users):
        # An empty file is a good list of users.
        with contextlib.suppress(CertificateError), named(garbage):
            read(garbage)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    try:
        yield
    except CertificateError as error:
        if str(path) not in error.message or not error.hint:
            pytest.fail(f"{error.message}; {error.hint}")
        raise


@given(st.binary(max_size=200))
def test_a_client_certificate_that_cannot_be_read_is_nobodys(der: bytes) -> None:
    assert certificates.peer_of(der, []) == Peer((), "", 0, 0)


LABELS = st.text(alphabet="abc", min_size=1, max_size=3)


@given(st.lists(LABELS, min_size=1, max_size=4), st.lists(LABELS, min_size=1, max_size=4))
def test_a_wildcard_is_one_label(host: list[str], name: list[str]) -> None:
    assert certificates.matches(".".join(host), [".".join(name)]) == (host == name)
    assert certificates.matches(".".join(host), ["*." + ".".join(name)]) == (host[1:] == name)
