"""Files that say who comes in are refused while somebody else can change them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rfm_runtime.config import Settings
from rfm_runtime.errors import CertificateError, ConfigError
from rfm_runtime.security import authority
from rfm_runtime.security.authority import authenticator_of
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.server_tls import ServerTls
from rfm_runtime.security.trusted import changeable
from rfm_runtime.security.users import add_user, read_users
from tests.tokens import key_pair, public_pem, signed

pytestmark = pytest.mark.scenario("J79")

BASE = Settings(state_dir="/s", runtime_dir="/r", cache_dir="/c")


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664, 0o620, 0o602])
def test_what_others_can_change_is_told_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a file"
    path.write_text("x")
    path.chmod(mode)
    said = changeable(path, path.stat())
    assert said is not None
    assert f"{mode:04o}" in said[0]
    assert said[1].endswith(f"chmod go-w '{path}'")
    path.chmod(0o644)
    assert changeable(path, path.stat()) is None


def test_another_users_file_is_his_to_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    found = list(path.stat())
    found[4] = os.getuid() + 1
    said = changeable(path, os.stat_result(found))
    assert said is not None
    assert "another user" in said[0]
    found[4] = 0
    assert changeable(path, os.stat_result([0o100644, *found[1:]])) is None


@pytest.mark.parametrize("name", ["users", "certificate", "crl"])
def test_users_authorities_and_revocations(tmp_path: Path, name: str) -> None:
    made = CertificateAuthority(tmp_path / "certs", datetime.now(UTC))
    made.init(["127.0.0.1"])
    add_user(made.users, "ann", "ann", ["admin"])
    settings = msgspec.structs.replace(
        BASE,
        tls_certificate=str(made.server),
        tls_key=str(made.server_key),
        tls_client_ca=str(made.certificate),
        tls_client_crl=str(made.crl),
        tls_users=str(made.users),
    )
    server = ServerTls(settings)
    path: Path = getattr(made, name)
    path.chmod(0o666)
    assert not server.look()
    assert "can be changed by others" in server.trouble
    with pytest.raises(CertificateError, match="can be changed by others"):
        ServerTls(settings)
    path.chmod(0o644)
    assert server.look()
    assert server.trouble == ""


def test_users_are_read_of_a_closed_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text('["ann"]\nroles = ["admin"]\n')
    path.chmod(0o666)
    with pytest.raises(CertificateError, match="can be changed by others"):
        read_users(path)


def test_public_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "LOOK_S", 0.0)
    path = tmp_path / "keys.pem"
    mine, other = key_pair("rsa"), key_pair("rsa")
    path.write_text(public_pem(mine))
    path.chmod(0o666)
    settings = msgspec.structs.replace(BASE, token_public_keys=str(path))
    with pytest.raises(ConfigError, match="can be changed by others"):
        authenticator_of(settings)
    path.chmod(0o644)
    made = authenticator_of(settings)
    assert made is not None
    # Opened while it runs: what is written into it is not taken until it is closed.
    path.chmod(0o666)
    path.write_text(public_pem(other))
    assert made.authenticate(signed(other, "RS256")) is None
    path.chmod(0o644)
    assert made.authenticate(signed(other, "RS256")) is not None
