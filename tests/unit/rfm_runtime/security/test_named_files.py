"""What is said of files that somebody names and that are others than was meant: which, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.config import Settings, load
from rfm_runtime.errors import CertificateError, ConfigError
from rfm_runtime.security import authority
from rfm_runtime.security.authority import Authority, authenticator_of
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.server_tls import ServerTls, _utc_now
from rfm_runtime.security.tls import client_context
from rfm_runtime.security.token import RuntimeToken

pytestmark = pytest.mark.scenario("J84")

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    made = CertificateAuthority(tmp_path / "certs", _utc_now())
    made.init(["localhost"])
    return made


def settings(tmp_path: Path, **changes: str) -> Settings:
    return load({"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run"), **changes}).settings


@pytest.mark.parametrize("content", [bytes(range(256)), b"lab\n", b""])
def test_what_is_no_certificate_is_not_to_be_closed(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd"
    file.write_bytes(content)
    file.chmod(0o644)
    with pytest.raises(CertificateError, match=f"{file} has no certificate in PEM") as refused:
        client_context(None, file)
    assert "chmod" not in (refused.value.hint or "")


def test_a_certificate_without_its_key_is_told_where_to_name_it(ca: CertificateAuthority) -> None:
    certificate, key = ca.client("ann")
    with pytest.raises(CertificateError, match="has no private key in PEM") as refused:
        client_context(None, certificate)
    assert "--client-key" in (refused.value.hint or "")
    client_context(ca.certificate, (certificate, key))


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_what_is_no_authority_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca"
    file.write_bytes(content)
    with pytest.raises(CertificateError) as refused:
        client_context(file, None)
    assert "authorities" in (refused.value.hint or "")
    assert "--ca" in (refused.value.hint or "")


def test_users_that_cannot_be_read_are_what_is_kept(ca: CertificateAuthority, tmp_path: Path) -> None:
    ca.users.write_text("")
    ca.users.chmod(0o600)
    files = {"tls_certificate": ca.server, "tls_key": ca.server_key, "tls_client_ca": ca.certificate}
    given = {name: str(path) for name, path in files.items()} | {"tls_users": str(ca.users)}
    tls = ServerTls(settings(tmp_path, **given))
    ca.users.write_text("[[")
    assert not tls.look(again=True)
    assert "is not TOML" in tls.trouble
    assert "the users before are used" in tls.trouble
    ca.users.write_text("")
    ca.server.write_text("none")
    assert not tls.look(again=True)
    assert "the certificate before is used" in tls.trouble


@pytest.mark.parametrize("setting", ["token_secret_file", "token_public_keys", "token_jwks"])
def test_a_missing_file_of_keys_is_named_by_its_setting(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError) as refused:
        authenticator_of(settings(tmp_path, **{setting: str(tmp_path / "none")}))
    assert setting in (refused.value.hint or "")


def test_keys_that_are_not_taken_are_a_trouble_until_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "LOOK_S", 0.0)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    found = Authority(RuntimeToken("own"), authenticator_of(settings(tmp_path, token_secret_file=str(file))))
    found.look()
    assert found.trouble == ""
    file.write_text("")
    found.look()
    assert "the secret is empty; the keys before are used" in found.trouble
    assert "token rotate" in found.trouble
    file.write_text(SECRET[::-1])
    found.look()
    assert found.trouble == ""
