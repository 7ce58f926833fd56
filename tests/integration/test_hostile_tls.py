"""The same peers behind TLS: who makes no handshake, who says nothing after it, and what every answer carries."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rfm_runtime import Client, SecureProgressServer
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.tls import client_context
from tests.certificates import authority
from tests.hostile import PING, TEXT, frame, upgrade

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G7", "J71")]

HELLO_S = 5.0
PER_ADDRESS = 64


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecureProgressServer]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    with SecureProgressServer(port=0, memory=True, ssl_cert_file=ca.server, ssl_key_file=ca.server_key) as running:
        yield running


def plain(server: SecureProgressServer) -> socket.socket:
    where = urlsplit(server.url)
    return socket.create_connection(("127.0.0.1", where.port), timeout=20)


def secured(server: SecureProgressServer, ca: CertificateAuthority) -> ssl.SSLSocket:
    return client_context(ca.certificate, None).wrap_socket(plain(server), server_hostname="localhost")


def answer(peer: socket.socket) -> bytes:
    """Everything until the server closes."""
    found = b""
    try:
        while data := peer.recv(65536):
            found += data
    except (ConnectionError, ssl.SSLError):
        pass
    return found


@pytest.mark.scenario("J70")
def test_who_never_makes_its_handshake_keeps_nobody_out(server: SecureProgressServer, ca: CertificateAuthority) -> None:
    began_s = time.monotonic()
    with ExitStack() as silent:
        peers = [silent.enter_context(plain(server)) for _ in range(3 * PER_ADDRESS)]
        with Client(url=server.url, token=server.token, ca_file=ca.certificate) as client:
            assert client.operations() == []
        assert time.monotonic() - began_s < HELLO_S, "nobody had to wait until they were given up"
        assert answer(peers[0]) == b""
        assert time.monotonic() - began_s < HELLO_S, "the first had to go for the last"
        assert answer(peers[-1]) == b""
        assert HELLO_S - 1.0 < time.monotonic() - began_s < HELLO_S + 5.0


def test_who_says_nothing_after_it_gets_408(server: SecureProgressServer, ca: CertificateAuthority) -> None:
    with secured(server, ca) as peer:
        assert b" 408 " in answer(peer).splitlines()[0]


@pytest.mark.parametrize(
    ("sent", "status", "is_shared"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200", False),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n", b"200", False),
        (b"GET /healthz HTTP/1.1\r\nHost: any.example\r\n\r\n", b"200", True),
        (b"GET /v1/operations HTTP/1.1\r\nHost: any.example:8765\r\n\r\n", b"401", True),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200", False),
        (b"nonsense\r\n\r\n", b"400", False),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"x" * 9000), b"431", False),
        (upgrade("Origin: https://evil.example"), b"403", False),
        (upgrade("Origin: http://localhost:8765"), b"403", False),
        (upgrade("Origin: https://evil.example").replace(b"Host: localhost", b"Host: any.example"), b"403", True),
    ],
)
def test_every_answer_is_hardened_and_under_a_name_of_others_is_to_be_asked_for_by_tls(
    server: SecureProgressServer, ca: CertificateAuthority, sent: bytes, status: bytes, is_shared: bool
) -> None:
    with secured(server, ca) as peer:
        peer.sendall(sent)
        found = answer(peer)
        assert found.split(b" ", 2)[1] == status
        for header in (b"nosniff", b"frame-ancestors 'none'", b"no-store"):
            assert header in found
        # For localhost a browser would take it for whatever else listens there, for a year.
        assert (b"Strict-Transport-Security: max-age=" in found) is is_shared


def test_a_flood_of_pings_and_a_message_in_many_parts_end_as_in_plain_text(
    server: SecureProgressServer, ca: CertificateAuthority
) -> None:
    hello = frame(TEXT, b'{"type":"hello","data":{"token":"%s"}}' % server.token.encode())
    with secured(server, ca) as peer:
        peer.sendall(upgrade())
        peer.sendall(hello + frame(PING) * 1500 + frame(TEXT, b'{"type":"ping","id":7}'))
        found = b""
        while b'"re":7' not in found:
            found += peer.recv(65536)
        assert found.count(b"\x8a\x00") == 1500, "each ping is answered, and the message behind them as well"
    with secured(server, ca) as peer:
        peer.sendall(upgrade())
        peer.sendall(hello + frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * 10_000)
        assert b"\x03\xf1too many fragments" in answer(peer)
