"""Certificate files that cannot be read while watchers are connected: the next ones are followed all the same."""

from __future__ import annotations

import contextlib
import http.client
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from rfm_runtime import Client, ProgressReportingServer, SecureProgressServer
from rfm_runtime.security.tls import client_context
from rfm_runtime.security.users import add_user
from rfm_runtime.testing.runtime import eventually
from tests.certificates import authority, spoil_name

pytestmark = pytest.mark.integration


def readyz(server: ProgressReportingServer, ca_file: Path) -> str:
    port = int(server.url.rpartition(":")[2])
    connection = http.client.HTTPSConnection("localhost", port, context=client_context(ca_file, None), timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {server.token}"})
        return connection.getresponse().read().decode()


@pytest.mark.scenario("G5", "J61", "J62")
def test_a_revocation_counts_after_a_list_that_nobody_can_read(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    add_user(ca.users, "ann", "ann", ["operator"])
    shown = ca.client("ann")
    issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes()).subject
    name = str(issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    server = SecureProgressServer(
        port=0,
        memory=True,
        ssl_cert_file=ca.server,
        ssl_key_file=ca.server_key,
        client_ca=ca.certificate,
        client_crl=ca.crl,
        users=ca.users,
    )
    with (
        server,
        Client(url=server.url, ca_file=ca.certificate, client_cert=shown) as ann,
    ):
        assert readyz(server, ca.certificate) == "ready\n"
        good = ca.crl.read_bytes()
        spoil_name(ca.crl, name)
        eventually(lambda: "cannot be read" in readyz(server, ca.certificate), what="the trouble with the list")
        assert ann.operations() == []
        ca.crl.write_bytes(good)
        eventually(lambda: readyz(server, ca.certificate) == "ready\n", what="the end of trouble")
        ca.revoke("ann")
        eventually(lambda: ann.state == "unauthorised", what="the end of a revoked certificate")
