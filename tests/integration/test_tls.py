"""TLS on a real server: who gets in, who is told why not, and certificates that change while watchers are connected."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from rfm_runtime import (
    Client,
    JWTAuthenticator,
    ProgressReporter,
    ProgressReportingServer,
    ResilientWebSocketClient,
    SecureProgressServer,
    report_to,
)
from rfm_runtime.config import load
from rfm_runtime.core.sessions.doorstep import Doorstep
from rfm_runtime.errors import (
    BadRequestError,
    CertificateError,
    ConfigError,
    ForbiddenError,
    InsecureBindError,
    InsecureUrlError,
    RfmError,
    UnauthorizedError,
    UnavailableError,
)
from rfm_runtime.gateway.connection import Connection, Threshold, options
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.tls import client_context, server_context
from rfm_runtime.security.users import add_user
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.certificates import authority, make
from tests.commands import COMMAND, cli, document, environment, two_lines
from tests.programs import Script

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def nothing_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in [name for name in os.environ if name.startswith("RFM_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    yield
    Script.kill_all()


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return authority(tmp_path / "ca")


def secure(ca: CertificateAuthority, **options: Any) -> SecureProgressServer:
    files = {"ssl_cert_file": ca.server, "ssl_key_file": ca.server_key}
    return SecureProgressServer(port=0, memory=True, **{**files, **options})


def with_clients(ca: CertificateAuthority, **options: Any) -> SecureProgressServer:
    files = {"client_ca": ca.certificate, "client_crl": ca.crl, "users": ca.users}
    return secure(ca, **{**files, **options})


def add_client(ca: CertificateAuthority, name: str, *roles: str) -> tuple[Path, Path]:
    add_user(ca.users, name, name, list(roles))
    return ca.client(name)


def port_of(server: ProgressReportingServer) -> int:
    return int(server.url.rpartition(":")[2])


@contextlib.contextmanager
def connected(server: ProgressReportingServer, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", port_of(server)), timeout=10)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as secured:
        yield secured


def get(server: ProgressReportingServer, context: ssl.SSLContext, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPSConnection("localhost", port_of(server), context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def only(client: Client, name: str) -> Operation:
    return eventually(lambda: next((o for o in client.operations() if o.name == name), None), what=name)


# --- the server -----------------------------------------------------------------------------------


@pytest.mark.scenario("A3")
def test_the_example_of_the_reference(ca: CertificateAuthority) -> None:
    server = SecureProgressServer(
        host="0.0.0.0",  # on purpose: as printed
        port=0,
        ssl_cert_file=str(ca.server),
        ssl_key_file=str(ca.server_key),
        client_auth=False,
    )
    server.start()
    try:
        assert server.url.startswith("wss://127.0.0.1:")
        reporter = ProgressReporter("fractal_render", "Mandelbrot Set Rendering")
        with Client(url=server.url, token=server.token, ca_file=ca.certificate) as client:
            assert only(client, "Mandelbrot Set Rendering").state == "running"
            assert client.server.roles == ["admin"]
            reporter.report_completed()
            assert client.wait(reporter.operation_id, 10.0) == "completed"
        # Without an authenticator the server's own token is needed.
        for token in (None, "", "x" * 43):
            with pytest.raises(UnauthorizedError):
                Client(url=server.url, token=token, ca_file=ca.certificate)
        assert get(server, client_context(ca.certificate, None), "/v1/operations")[0] == 401
    finally:
        server.stop()


@pytest.mark.scenario("A3")
def test_an_authenticator_says_whose_tokens_are_taken(ca: CertificateAuthority) -> None:
    auth = JWTAuthenticator("s" * 32)
    with secure(ca, host="0.0.0.0", authenticator=auth) as server:
        with Client(url=server.url, token=auth.issue("ann", ["viewer"]), ca_file=ca.certificate) as client:
            assert client.server.user == "ann"
            with pytest.raises(ForbiddenError):
                client.submit("x", {})
        bearer = {"Authorization": f"Bearer {auth.issue('ann', ['viewer'])}"}
        assert get(server, client_context(ca.certificate, None), "/v1/operations", **bearer)[0] == 200
    with pytest.warns(UserWarning, match="bytes"):
        weak = JWTAuthenticator("short")
    with pytest.raises(InsecureBindError, match="too short"):
        secure(ca, host="0.0.0.0", authenticator=weak)


@pytest.mark.scenario("A3", "G5")
def test_it_refuses_to_start_with_files_that_cannot_be_used(ca: CertificateAuthority, tmp_path: Path) -> None:
    old, old_key = make(tmp_path / "old", "old", days=(-9, -1))
    early, early_key = make(tmp_path / "early", "early", days=(1, 9))
    opened = tmp_path / "opened.key"
    opened.write_bytes(ca.server_key.read_bytes())
    opened.chmod(0o644)
    for files, words in (
        ({"ssl_cert_file": tmp_path / "none.pem"}, "No such file"),
        ({"ssl_cert_file": old, "ssl_key_file": old_key}, "has expired"),
        ({"ssl_cert_file": early, "ssl_key_file": early_key}, "is not valid before"),
        ({"ssl_key_file": old_key}, "is not that of the certificate"),
        ({"ssl_key_file": opened}, "can be read by others"),
        ({"client_ca": tmp_path / "none.pem"}, "No such file"),
    ):
        server = secure(ca, **files)
        with pytest.raises(CertificateError, match=words) as caught:
            server.start()
        assert caught.value.hint
        assert not server.is_running
    with pytest.raises(BadRequestError, match="none would be taken"):
        secure(ca, client_auth=True)
    with pytest.raises(BadRequestError, match="ssl_cert_file is empty"):
        secure(ca, ssl_cert_file="")
    with pytest.raises(TypeError):
        SecureProgressServer(port=0)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="tls_key is set"):
        ProgressReportingServer(port=0, key=ca.server_key)


def test_plain_text_off_loopback_is_loudly_warned_of() -> None:
    with pytest.warns(UserWarning, match="plain text off loopback"):
        server = ProgressReportingServer("0.0.0.0", 0, memory=True, allow_insecure=True)
    with server, Client(url=server.url, token=server.token) as client:
        assert server.url.startswith("ws://127.0.0.1:")
        assert client.state == "live"


@pytest.mark.scenario("G6")
def test_what_is_offered(ca: CertificateAuthority) -> None:
    with secure(ca) as server:

        def offer(change: Any) -> tuple[str, str] | ssl.SSLError:
            context = client_context(ca.certificate, None)
            change(context)
            try:
                with connected(server, context) as secured:
                    assert secured.compression() is None
                    return secured.version() or "", (secured.cipher() or ("", "", 0))[0]
            except ssl.SSLError as error:
                return error

        def at_most(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> Any:
            def change(context: ssl.SSLContext) -> None:
                with pytest.warns(DeprecationWarning, match="TLSv1") if version < 0x303 else contextlib.nullcontext():
                    context.minimum_version = version
                    context.maximum_version = version
                context.set_ciphers(ciphers)

            return change

        assert offer(lambda _context: None) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
        for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            refused = offer(at_most(old))
            assert isinstance(refused, ssl.SSLError)
            assert refused.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
        assert offer(at_most(ssl.TLSVersion.TLSv1_2)) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
        for weak in ("AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES256-GCM-SHA384"):
            refused = offer(at_most(ssl.TLSVersion.TLSv1_2, f"{weak}:@SECLEVEL=0"))
            assert isinstance(refused, ssl.SSLError)
            assert refused.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@pytest.mark.scenario("G4", "G5")
def test_pages_come_from_the_host_that_they_ask(ca: CertificateAuthority) -> None:
    with secure(ca, host="0.0.0.0") as server:
        context, own = client_context(ca.certificate, None), f"https://localhost:{port_of(server)}"
        assert get(server, context, "/healthz", Origin=own)[0] == 200
        for origin in ("https://evil.example", own.replace("https", "http"), "null", "https://localhost"):
            assert get(server, context, "/healthz", Origin=origin)[0] == 403


# --- what clients are told ------------------------------------------------------------------------


def told(**options: Any) -> RfmError:
    with pytest.raises(RfmError) as caught:
        Client(**options)
    assert caught.value.hint
    return caught.value


@pytest.mark.scenario("G5", "J64")
def test_a_server_that_is_not_to_be_trusted_is_not_tried_again(ca: CertificateAuthority, tmp_path: Path) -> None:
    states: list[str] = []
    with secure(ca) as server:
        options = {"url": server.url, "token": server.token, "on_state": lambda state, _details: states.append(state)}
        unknown = told(**options)
        assert isinstance(unknown, CertificateError)
        assert "is not trusted: unable to get local issuer certificate" in unknown.message
        assert "RFM_CA_FILE" in unknown.hint
        other = told(**options, ca_file=authority(tmp_path / "other").certificate)
        assert isinstance(other, CertificateError)
        assert "No such file" in told(**options, ca_file=tmp_path / "none.pem").message
    names, key = make(tmp_path / "names", "names", hosts=("render.example.org",))
    with secure(ca, ssl_cert_file=names, ssl_key_file=key) as server:
        wrong = told(url=server.url, token=server.token, ca_file=names)
        assert isinstance(wrong, CertificateError)
        assert "certs init --host" in wrong.hint
        assert "render.example.org" not in states
    assert "reconnecting" not in states
    assert "live" not in states


@pytest.mark.scenario("J63")
def test_plain_text_and_tls_do_not_understand_each_other(ca: CertificateAuthority) -> None:
    with secure(ca) as server:
        plain = socket.create_connection(("127.0.0.1", port_of(server)), timeout=10)
        with plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: plain.recv(4096), b""))
        # An alert of TLS at most, and the end.
        assert b"HTTP" not in answer
        refused = told(url=server.url.replace("wss", "ws"), token=server.token, max_retries=2, initial_delay=0.01)
        assert isinstance(refused, UnavailableError)
        assert "does that port speak TLS (wss://)?" in refused.message
        with Client(url=server.url, token=server.token, ca_file=ca.certificate) as client:
            assert client.state == "live"
    with ProgressReportingServer(port=0, memory=True) as server:
        options = {"token": server.token, "ca_file": ca.certificate, "max_retries": 1, "initial_delay": 0.01}
        refused = told(url=server.url.replace("ws", "wss"), **options)
        assert isinstance(refused, CertificateError | UnavailableError)
        assert "TLS" in refused.message


@pytest.mark.scenario("J63")
def test_a_token_is_not_sent_in_plain_text_to_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = socket.create_server(("127.0.0.1", 0))
    with heard:
        url = f"ws://host.example:{heard.getsockname()[1]}"
        for refused in (
            lambda: Client(url=url, token="secret"),
            lambda: asyncio.run(ResilientWebSocketClient(url, auth_token="secret").connect()),
            lambda: report_to(url, "secret"),
        ):
            with pytest.raises(InsecureUrlError, match="plain text") as caught:
                refused()
            assert "secret" not in caught.value.message + caught.value.hint
            assert "allow_insecure" in caught.value.hint
        # Without a token there is nothing to lose, and who allows it has said so.
        for options in ({"token": "secret", "allow_insecure": True}, {"token": ""}):
            with pytest.raises(UnavailableError, match=r"resolved|no connection"):
                Client(url=url, max_retries=0, **options)
        monkeypatch.setenv("RFM_ALLOW_INSECURE", "1")
        with pytest.raises(UnavailableError, match=r"resolved|no connection"):
            Client(url=url, token="secret", max_retries=0)


@pytest.mark.scenario("A5")
def test_the_resilient_client_over_tls(ca: CertificateAuthority) -> None:
    async def run(server: SecureProgressServer) -> dict[str, Any] | None:
        started = asyncio.Event()
        client = ResilientWebSocketClient(
            url=server.url.replace("127.0.0.1", "localhost"),
            reconnect_options={"max_retries": 10, "initial_delay": 0.5, "max_delay": 30.0, "jitter": 0.2},
            auth_token=server.token,
            ca_file=ca.certificate,
        )
        await client.connect()
        client.on_message = lambda message: started.set() if message["type"] == "operation_started" else None
        await client.send_message(
            {"type": "progress_update", "operation_id": "op123", "progress": 50, "message": "Halfway there"}
        )
        async with asyncio.timeout(10):
            await started.wait()
        found = await client.send_message({"type": "list_operations"})
        await client.disconnect()
        return found

    with secure(ca) as server:
        found = asyncio.run(run(server))
    assert found is not None
    assert [one["operation_id"] for one in found["operations"]] == ["op123"]


# --- client certificates --------------------------------------------------------------------------


@pytest.mark.scenario("A3", "J62")
def test_a_certificate_is_a_user_with_roles(ca: CertificateAuthority) -> None:
    ann, reporter = add_client(ca, "ann", "operator"), add_client(ca, "bob@example.org", "viewer")
    nobody = ca.client("nobody")
    with with_clients(ca) as server:
        with Client(url=server.url, ca_file=ca.certificate, client_cert=ann) as client:
            assert (client.server.user, client.server.roles) == ("ann", ["operator"])
            assert client.server.token_expires_at is not None
        with Client(url=server.url, ca_file=ca.certificate, client_cert=reporter) as client:
            assert (client.server.user, client.server.roles) == ("bob@example.org", ["viewer"])
            with pytest.raises(ForbiddenError):
                client.submit("x", {})
        # Who is in no list needs a token; a token that is shown decides, and a wrong one is none.
        assert isinstance(told(url=server.url, ca_file=ca.certificate, client_cert=nobody), UnauthorizedError)
        for certificate in (nobody, ann):
            with Client(url=server.url, token=server.token, ca_file=ca.certificate, client_cert=certificate) as client:
                assert client.server.user == "local"
        wrong = told(url=server.url, token="x" * 43, ca_file=ca.certificate, client_cert=ann)
        assert isinstance(wrong, UnauthorizedError)
        assert get(server, client_context(ca.certificate, ann), "/v1/operations")[0] == 200
        assert get(server, client_context(ca.certificate, nobody), "/v1/operations")[0] == 401


@pytest.mark.scenario("A3", "G5", "J62")
def test_certificates_that_are_not_taken(ca: CertificateAuthority, tmp_path: Path) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ann, gone = add_client(ca, "ann", "operator"), add_client(ca, "gone", "operator")
    ca.revoke("gone")
    other = authority(tmp_path / "other")
    old = make(tmp_path / "old", "ann", signer=ca, days=(-9, -1), purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    with with_clients(ca, client_auth=True) as server:
        with Client(url=server.url, ca_file=ca.certificate, client_cert=ann) as client:
            assert client.server.user == "ann"
        for shown, words in (
            (None, "it wants one"),
            (other.client("ann"), "it does not know who has issued it"),
            (old, "it has expired"),
            (gone, "it was revoked"),
        ):
            for token in ("", server.token):
                refused = told(url=server.url, token=token, ca_file=ca.certificate, client_cert=shown)
                assert isinstance(refused, CertificateError), (words, refused)
                assert words in refused.message
                assert "RFM_CLIENT_CERT" in refused.hint


@pytest.mark.scenario("J62", "G2")
def test_who_is_not_to_be_there_any_more_is_told_goodbye(ca: CertificateAuthority) -> None:
    clients = {name: add_client(ca, name, "operator") for name in ("ann", "bob", "cat", "dan")}
    with with_clients(ca) as server, contextlib.ExitStack() as stack:
        connected = {
            name: stack.enter_context(Client(url=server.url, ca_file=ca.certificate, client_cert=shown))
            for name, shown in clients.items()
        }
        with_token = stack.enter_context(
            Client(url=server.url, token=server.token, ca_file=ca.certificate, client_cert=clients["bob"])
        )
        ca.revoke("bob")
        text = ca.users.read_text().replace('["cat"]\nuser = "cat"\nroles = ["operator"]\n', "")
        ca.users.write_text(text.replace('user = "dan"\nroles = ["operator"]', 'user = "dan"\nroles = ["viewer"]'))
        for name in ("bob", "cat"):
            eventually(lambda name=name: connected[name].state == "unauthorised", what=f"the end of {name}")
        # Revoked is the certificate, whatever token there was.
        eventually(lambda: with_token.state == "unauthorised", what="the end of who had a token as well")
        with pytest.raises(ForbiddenError):
            connected["dan"].submit("x", {})
        assert connected["ann"].state == connected["dan"].state == "live"
        assert isinstance(told(url=server.url, ca_file=ca.certificate, client_cert=clients["bob"]), CertificateError)
        assert isinstance(told(url=server.url, ca_file=ca.certificate, client_cert=clients["cat"]), UnauthorizedError)


# --- reload ---------------------------------------------------------------------------------------


@pytest.mark.scenario("J61")
def test_a_renewed_certificate_drops_nobody(ca: CertificateAuthority) -> None:
    def shown(server: ProgressReportingServer) -> bytes:
        context = client_context(ca.certificate, None)
        with connected(server, context) as secured:
            return secured.getpeercert(binary_form=True) or b""

    states: list[str] = []
    with (
        secure(ca) as server,
        Client(
            url=server.url,
            token=server.token,
            ca_file=ca.certificate,
            on_state=lambda state, _details: states.append(state),
        ) as client,
    ):
        first = shown(server)
        ca.renew()
        second = eventually(lambda: (now := shown(server)) != first and now, what="the new certificate")
        good = ca.server.read_bytes()
        ca.server.write_bytes(b"no certificate")

        def readyz() -> str:
            return get(server, client_context(ca.certificate, None), "/readyz", Authorization=f"Bearer {server.token}")[
                1
            ]

        eventually(lambda: "has no certificate in PEM; the certificate before is used" in readyz(), what="trouble")
        assert shown(server) == second
        ca.server.write_bytes(good)
        eventually(lambda: readyz() == "ready\n", what="the end of trouble")
        assert client.operations() == []
        assert states == ["live"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, CertificateAuthority]]:
    folder = tmp_path_factory.mktemp("tls")
    made = authority(folder / "ca", "render.example.org")
    add_client(made, "ann", "operator")
    with runtime(
        folder,
        host="0.0.0.0",
        gateways=2,
        workers=1,
        tls_certificate=str(made.server),
        tls_key=str(made.server_key),
        tls_client_ca=str(made.certificate),
        tls_client_crl=str(made.crl),
        tls_users=str(made.users),
    ) as running:
        yield running, made
        assert "Traceback" not in running.logs(), running.logs()


@pytest.mark.scenario("J60")
def test_this_machines_commands_need_no_option(served: tuple[Runtime, CertificateAuthority], tmp_path: Path) -> None:
    running, _ = served
    # The certificate is for another name than the one by which they come.
    assert running.url.startswith("wss://127.0.0.1:")
    env = environment(tmp_path, RFM_STATE_DIR=str(running.folders.state), RFM_RUNTIME_DIR=str(running.folders.runtime))
    found = document("status", env=env)
    assert found["ready"] is True
    assert "render.example.org" in found["certificate"]["names"]
    assert found["certificate"]["until"] > time.strftime("%Y-%m-%d")
    assert f"render.example.org, until {found['certificate']['until']}\n" in cli("status", env=env).stdout
    assert cli("doctor", env=env).returncode == 0
    assert document("ps", "--all", env=env)["operations"] == []
    with Client(settings=running.settings) as client:
        assert client.server.roles == ["admin"]


@pytest.mark.scenario("J61")
def test_a_signal_reloads_and_status_says_what_is_wrong(
    served: tuple[Runtime, CertificateAuthority], tmp_path: Path
) -> None:
    running, made = served
    env = environment(tmp_path, RFM_STATE_DIR=str(running.folders.state), RFM_RUNTIME_DIR=str(running.folders.runtime))
    states: list[str] = []
    with Client(settings=running.settings, on_state=lambda state, _details: states.append(state)) as client:
        before = running.folders.served_certificate.read_bytes()
        made.renew()
        os.kill(running.info.pid, signal.SIGHUP)
        eventually(lambda: running.folders.served_certificate.read_bytes() != before, what="the new certificate")
        eventually(lambda: running.logs().count("certificate_loaded") >= 2, what="both gateways")
        # Known by what the file has, whichever gateway answers.
        for _ in range(4):
            assert document("status", env=env)["ready"] is True
        made.server_key.chmod(0o644)
        os.kill(running.info.pid, signal.SIGHUP)
        eventually(lambda: running.logs().count("certificate_trouble") >= 2, what="trouble in both gateways")
        found = document("status", env=env)
        assert found["ready"] is True
        assert "can be read by others" in found["detail"]
        made.server_key.chmod(0o600)
        eventually(lambda: document("status", env=env)["detail"] == "ready", what="the end of trouble")
        assert client.operations() == []
    assert states[0] == "live"
    assert set(states) <= {"live", "closed"}


@pytest.mark.scenario("J64")
def test_commands_and_programs_from_elsewhere(served: tuple[Runtime, CertificateAuthority], tmp_path: Path) -> None:
    running, made = served
    port = running.url.rpartition(":")[2]
    env = environment(tmp_path, RFM_URL=f"wss://localhost:{port}", RFM_TOKEN_FILE=str(running.folders.token))
    what, todo = two_lines(cli("ps", env=env), 2)
    assert "is not trusted" in what
    assert "--ca FILE" in todo
    what, todo = two_lines(cli("ps", "--ca", str(made.certificate), env=env), 2)
    assert "is not trusted" in what
    assert "certs init --host" in todo


@pytest.mark.scenario("G5", "J60")
def test_start_says_what_is_wrong_before_anything_listens(tmp_path: Path, ca: CertificateAuthority) -> None:
    env = environment(tmp_path)
    what, todo = two_lines(cli("start", "--host", "0.0.0.0", env=env), 2)
    assert "speaks plain text" in what
    for way in ("rfm-runtime certs init", "tls_certificate", "ssh -L", "--allow-insecure"):
        assert way in todo
    old, old_key = make(tmp_path / "old", "old", days=(-9, -1))
    for arguments, words in (
        (("--tls-certificate", str(tmp_path / "none.pem"), "--tls-key", str(ca.server_key)), "No such file"),
        (("--tls-certificate", str(old), "--tls-key", str(old_key)), "has expired on"),
        (("--tls-certificate", str(ca.server), "--tls-key", str(old_key)), "is not that of the certificate"),
        (("--tls-certificate", str(ca.server)), "tls_key is not"),
    ):
        for daemon in ((), ("--daemon",)):
            what, _ = two_lines(cli("start", *daemon, "--host", "0.0.0.0", *arguments, env=env), 2)
            assert words in what
    assert not list((tmp_path / "run").glob("*.json"))


def test_plain_text_for_others_is_said_at_every_start(tmp_path: Path) -> None:
    env = environment(tmp_path)
    started = cli("start", "--daemon", "--host", "0.0.0.0", "--allow-insecure", "--workers", "1", env=env)
    try:
        assert started.returncode == 0, started
        assert "warning: plain text off loopback" in started.stderr
        assert document("status", env=env)["ready"] is True
        log = (tmp_path / "state" / "logs" / "supervisor.log").read_text()
        assert '"event": "insecure"' in log
    finally:
        assert cli("stop", "--now", env=env).returncode == 0


@pytest.mark.scenario("J64")
def test_commands_and_programs_know_their_server(tmp_path: Path, ca: CertificateAuthority) -> None:
    certificate, key = add_client(ca, "ann", "operator")
    joined = tmp_path / "both.pem"
    joined.write_bytes(certificate.read_bytes() + key.read_bytes())
    joined.chmod(0o600)
    with with_clients(ca) as server:
        token_file = tmp_path / "token"
        token_file.write_text(server.token)
        url = server.url.replace("127.0.0.1", "localhost")
        env = environment(tmp_path, RFM_URL=url, RFM_TOKEN_FILE=str(token_file))
        assert document("ps", "--all", "--ca", str(ca.certificate), env=env)["operations"] == []
        assert document("ps", "--all", env={**env, "RFM_CA_FILE": str(ca.certificate)})["operations"] == []
        # A certificate instead of a token.
        by_certificate = environment(tmp_path, RFM_URL=url)
        arguments = ("--ca", str(ca.certificate), "--client-cert", str(joined))
        assert document("status", *arguments, env=by_certificate)["ready"] is True
        two_lines(cli("status", "--ca", str(ca.certificate), env=by_certificate), 2)
        script = Script(
            "import rfm_runtime\nfor _ in rfm_runtime.track(range(3), 'far away'): pass",
            {
                # By a name, which is looked up while so short a program ends.
                **by_certificate,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "RFM_CA_FILE": str(ca.certificate),
                "RFM_CLIENT_CERT": str(certificate),
                "RFM_CLIENT_KEY": str(key),
            },
        )
        assert script.end() == (0, "", "")
        with Client(url=url, token=server.token, ca_file=ca.certificate) as client:
            found = only(client, "far away")
            eventually(lambda: client.operation(found.operation_id).state == "completed", what="its end")
            assert found.owner == "ann"


@pytest.mark.scenario("G10")
def test_no_key_is_in_what_is_said(served: tuple[Runtime, CertificateAuthority]) -> None:
    running, made = served
    secrets = [line for line in made.server_key.read_text().splitlines() if "PRIVATE" not in line]
    text = running.logs() + json.dumps([process.cmdline() for process in running.tree()])
    assert secrets
    assert not any(secret in text for secret in secrets)


@pytest.mark.scenario("B11", "J64")
def test_a_program_whose_server_cannot_be_trusted_goes_on_and_says_so_once(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with secure(ca) as server:
        token_file = tmp_path / "token"
        token_file.write_text(server.token)
        script = Script(
            """
            import time, rfm_runtime
            for _ in rfm_runtime.track(range(20), "far away"):
                time.sleep(0.1)
            print("done")
            """,
            {
                **environment(tmp_path, RFM_URL=server.url, RFM_TOKEN_FILE=str(token_file)),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
        code, out, err = script.end()
        assert (code, out) == (0, "done\n")
        assert err.count("is not trusted") == 1
        assert "RFM_CA_FILE" in err
        assert server.token not in err


def test_the_end_of_a_terminal_ends_what_runs_in_it(tmp_path: Path, ca: CertificateAuthority) -> None:
    """SIGHUP is a reload only where there is no terminal whose end it could mean."""
    env = environment(tmp_path, RFM_TLS_CERTIFICATE=str(ca.server), RFM_TLS_KEY=str(ca.server_key))
    code = f"""
        import os, pty, select, sys
        pid, terminal = pty.fork()
        if not pid:
            os.execv(sys.executable, {[*COMMAND, "start", "--workers", "1"]!r})
        while 0 not in select.select([0, terminal], [], [])[0]:
            os.read(terminal, 4096)
        os.close(terminal)
        print(os.waitpid(pid, 0)[0] == pid)
        """
    script = Script(code, {**env, "PYTHONPATH": os.pathsep.join(sys.path)})
    connection = tmp_path / "run" / "connection.json"
    eventually(connection.exists, timeout_s=60, what="the runtime")
    assert document("status", env=env)["ready"] is True
    script.go_on()
    assert script.end() == (0, "True\n", "")
    assert not connection.exists()
    # In order: the broker has had its turn, and did not go down with the rest.
    assert '"event": "broker_stopped"' in (tmp_path / "state" / "logs" / "broker.log").read_text()


def test_a_runtime_for_one_command_faces_nobody(tmp_path: Path, ca: CertificateAuthority) -> None:
    """The user's own has TLS for the network, and wants client certificates; the one beside it serves this command."""
    env = environment(
        tmp_path,
        RFM_HOST="0.0.0.0",  # on purpose: as a server's user may have it
        RFM_TLS_CERTIFICATE=str(ca.server),
        RFM_TLS_KEY=str(ca.server_key),
        RFM_TLS_CLIENT_CA=str(ca.certificate),
        RFM_TLS_CLIENT_AUTH="required",
    )
    picture = tmp_path / "picture.png"
    done = cli("render", "seahorse", "--size", "32x32", "--max-iter", "50", "-o", str(picture), env=env)
    assert done.returncode == 0, done
    assert picture.exists()


@pytest.mark.scenario("D4")
def test_what_waits_below_tls_is_counted(ca: CertificateAuthority) -> None:
    """Asyncio has a buffer below TLS that its own count leaves out: who stands still would be seen 64 KiB too late."""
    size = 60_000

    async def run() -> tuple[int, int]:
        counted: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()

        async def handler(connection: ServerConnection) -> None:
            assert isinstance(connection, Connection)
            accepted = connection.transport.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            connection.transport.write(b"x" * size)
            counted.set_result((connection.transport.get_write_buffer_size(), connection.unsent_bytes))
            connection.transport.abort()

        settings = load({"port": 0}, environ={}).settings
        threshold = Threshold(Doorstep(8, 8), Counter(), 5.0)
        context = server_context(ca.server, ca.server_key, required=False)
        async with serve(handler, "127.0.0.1", 0, ssl=context, **options(settings, threshold)) as server:
            port = server.sockets[0].getsockname()[1]
            with await asyncio.to_thread(_upgraded, port, client_context(ca.certificate, None)):
                return await asyncio.wait_for(counted, 10)

    above, all_of_it = asyncio.run(run())
    assert above == 0
    assert size // 2 < all_of_it < 2 * size


def _upgraded(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", port))
    secured = context.wrap_socket(plain, server_hostname="localhost")
    head = ("GET / HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade")
    key = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", "")
    secured.sendall("\r\n".join((*head, *key)).encode())
    return secured
