"""A token that is shown beside a client certificate, on a real connection: the certificate's end is the session's."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from websockets.sync.client import connect

from rfm_runtime import JWTAuthenticator, SecureProgressServer
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.tls import client_context
from tests.certificates import authority

pytestmark = pytest.mark.integration


@pytest.mark.scenario("J62", "G2")
@pytest.mark.parametrize("in_handshake", [True, False])
def test_a_token_beside_a_certificate_lasts_no_longer(tmp_path: Path, in_handshake: bool) -> None:
    ca = authority(tmp_path / "ca")
    # Ends within the minute in which a session is told so.
    soon = dt.datetime.now(dt.UTC) - dt.timedelta(days=1) + dt.timedelta(seconds=50)
    certificate, key = CertificateAuthority(tmp_path / "ca", soon).client("ann", days=1)
    ends_s = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    tokens = JWTAuthenticator("s" * 32)
    server = SecureProgressServer(
        port=0,
        memory=True,
        authenticator=tokens,
        ssl_cert_file=ca.server,
        ssl_key_file=ca.server_key,
        client_ca=ca.certificate,
        client_crl=ca.crl,
        client_auth=True,
    )
    token = tokens.issue("bob", ["viewer"], lifetime_s=3600.0)
    headers = {"Authorization": f"Bearer {token}"} if in_handshake else {}
    context = client_context(ca.certificate, (certificate, key))
    with server, connect(server.url, ssl=context, proxy=None, additional_headers=headers) as watcher:
        hello = {"client": {"name": "test", "version": "1"}} | ({} if in_handshake else {"token": token})
        watcher.send(json.dumps({"type": "hello", "id": 1, "ts": 0, "data": hello}))
        told: dict[str, Any] = {}
        while not {"welcome", "token_expiring"} <= told.keys():
            found = json.loads(watcher.recv(timeout=20))
            told |= {one["type"]: one["data"] for one in (found if isinstance(found, list) else [found])}
        assert told["welcome"]["user"] == "bob"
        assert told["welcome"]["token_expires_at"] == told["token_expiring"]["expires_at"] == ends_s * 1000
