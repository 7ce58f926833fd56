"""What a client makes of TLS: which faults end every try, and what people are told to do."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from rfm_runtime.client.verifying import Verifier, distrusted, refused_by_tls
from rfm_runtime.config import Trust, check_url, destination
from rfm_runtime.errors import CertificateError, ConfigError, InsecureUrlError
from tests.certificates import authority

pytestmark = pytest.mark.scenario("J64")


def fault(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "TLSV1_ALERT_PROTOCOL_VERSION", "TLSV1_ALERT_UNKNOWN_CA"])
def test_what_does_not_pass_by_itself_ends_every_try(reason: str) -> None:
    broken = ConnectionError("broken")
    broken.__cause__ = fault(reason)
    for errors in ((fault(reason),), (broken,), (ConnectionError("x"), fault(reason))):
        failure = refused_by_tls(*errors)
        assert failure is not None
        assert not failure.retry
        assert isinstance(failure.error, CertificateError)
        assert failure.error.hint


@pytest.mark.parametrize("reason", ["UNEXPECTED_EOF_WHILE_READING", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", ""])
def test_what_a_network_does_is_tried_again(reason: str) -> None:
    assert refused_by_tls(fault(reason)) is None
    assert refused_by_tls(ConnectionResetError()) is None
    assert refused_by_tls() is None


@pytest.mark.parametrize(
    ("code", "word"), [(9, "clock"), (10, "renewed"), (18, "RFM_CA_FILE"), (62, "name"), (64, "name")]
)
def test_a_certificate_that_is_not_trusted_says_what_to_do(code: int, word: str) -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "so it is"
    once, again = distrusted(error, "here", again=False), distrusted(error, "here", again=True)
    assert (once.retry, again.retry) == (False, True)
    assert once.reason == "the certificate of here is not trusted: so it is"
    assert once.error is not None
    assert word in (once.error.hint or "")


@pytest.mark.parametrize("url", ["ws://example.org:1", "ws://192.0.2.1", "ws://user@[2001:db8::1]:8765"])
def test_a_token_is_not_for_everybody_to_read(url: str) -> None:
    with pytest.raises(InsecureUrlError) as caught:
        check_url(url, "token", Trust().resolved({}))
    assert "user" not in caught.value.message
    check_url(url, "", Trust().resolved({}))
    check_url(url.replace("ws", "wss", 1), "token", Trust().resolved({}))
    for allowed in (Trust(allow_insecure=True), Trust().resolved({"RFM_ALLOW_INSECURE": "1"})):
        check_url(url, "token", allowed)
    with pytest.raises(InsecureUrlError):
        check_url(url, "token", Trust(allow_insecure=False).resolved({"RFM_ALLOW_INSECURE": "1"}))


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "ws://localhost", "ws://[::1]:8765", "ws://127.9.9.9"])
def test_loopback_is_not_the_network(url: str) -> None:
    check_url(url, "token", Trust().resolved({}))


def test_the_environment_says_what_was_not_said() -> None:
    environ = {"RFM_CA_FILE": "/ca", "RFM_CLIENT_CERT": "/cert"}
    assert Trust().resolved(environ) == Trust("/ca", ("/cert", "/cert"), False)
    assert Trust("/mine", "/own").resolved(environ) == Trust("/mine", "/own", False)
    assert Trust().resolved({**environ, "RFM_CLIENT_KEY": "/key"}).client_cert == ("/cert", "/key")
    assert Trust().resolved({"RFM_CA_FILE": "", "RFM_CLIENT_CERT": ""}) == Trust(None, None, False)


def test_a_certificate_is_as_good_as_a_token() -> None:
    found = destination({"RFM_URL": "wss://example.org", "RFM_CLIENT_CERT": "/cert"})
    assert found is not None
    assert (found.token, found.trust.client_cert) == ("", ("/cert", "/cert"))
    with pytest.raises(ConfigError, match="wants a token") as caught:
        destination({"RFM_URL": "wss://example.org"})
    assert "RFM_CLIENT_CERT" in (caught.value.hint or "")


def test_a_context_is_made_once_for_the_same_files(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    verifier, trust = Verifier(), Trust(ca.certificate)
    assert verifier.options("ws://127.0.0.1:1", trust) == {}
    first = verifier.options("wss://127.0.0.1:1", trust, "other")
    assert first["server_hostname"] == "other"
    assert verifier.options("wss://127.0.0.1:1", trust) == {"ssl": first["ssl"]}
    ca.certificate.write_bytes(ca.certificate.read_bytes() + b"\n")
    assert verifier.options("wss://127.0.0.1:1", trust)["ssl"] is not first["ssl"]
