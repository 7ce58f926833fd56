"""`rfm-runtime certs`, run as users run it, within this process."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from rfm_runtime.cli.app import run
from rfm_runtime.security import certificates
from rfm_runtime.security.users import read_users

pytestmark = pytest.mark.scenario("J60")


class Shell:
    """Commands with a state folder of their own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.certs = folder / "state" / "certs"
        self._folder = folder
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = run(["certs", *arguments, "--state-dir", str(self._folder / "state")])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def done(self, *arguments: str) -> Any:
        code, out, err = self.run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    def doctor(self) -> Any:
        run(["doctor", "--json", "--state-dir", str(self._folder / "state")])
        findings = json.loads(self._capsys.readouterr().out)["findings"]
        return next(finding for finding in findings if finding["what"] == "TLS")

    def refused(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 2
        return err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "run"))
    return Shell(tmp_path, capsys)


def leaf(path: Path) -> x509.Certificate:
    return certificates.read_certificates(path)[0]


@pytest.mark.scenario("G11")
def test_init_makes_what_a_server_needs(shell: Shell) -> None:
    made = shell.done("init", "--host", "render.example.org", "--host", "192.0.2.7")
    assert made["made"] is True
    authority, server = leaf(Path(made["ca_file"])), leaf(Path(made["tls_certificate"]))
    assert certificates.names(server, common=False) == (
        *("render.example.org", "192.0.2.7", "localhost", "127.0.0.1", "::1"),
    )
    server.verify_directly_issued_by(authority)
    assert isinstance(server.public_key(), ec.EllipticCurvePublicKey)
    assert server.public_key().curve.name == "secp256r1"
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days == 397
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    # Only its owner reads keys, whatever the mask is.
    assert stat.S_IMODE(shell.certs.stat().st_mode) == 0o700
    for path in shell.certs.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_init_prints_what_to_type_next(shell: Shell) -> None:
    code, out, _ = shell.run("init", "--host", "render.example.org")
    assert code == 0
    assert f"--tls-certificate {shell.certs / 'server.pem'} --tls-key {shell.certs / 'server.key'}" in out
    assert f"RFM_CA_FILE={shell.certs / 'ca.pem'}" in out
    assert "PRIVATE" not in out


def test_the_authority_stays_and_the_server_may_get_other_names(shell: Shell) -> None:
    shell.done("init", "--host", "one.example.org")
    before = (shell.certs / "ca.pem").read_bytes()
    assert "certs renew" in shell.refused("init")
    made = shell.done("init", "--host", "two.example.org")
    assert made["made"] is False
    assert (shell.certs / "ca.pem").read_bytes() == before
    assert "two.example.org" in certificates.names(leaf(shell.certs / "server.pem"))
    assert "one.example.org" not in certificates.names(leaf(shell.certs / "server.pem"))


@pytest.mark.parametrize("host", ["", "a b", "http://x", "x:1", "-x.org", "x" * 254, "a..b", "*", "ä.org"])
def test_what_is_no_host_is_refused(shell: Shell, host: str) -> None:
    assert "is no host" in shell.refused("init", "--host", host)
    assert not shell.certs.exists()


def test_renew_keeps_names_and_takes_a_new_key(shell: Shell) -> None:
    assert "certs init" in shell.refused("renew")
    shell.done("init", "--host", "render.example.org", "--days", "30")
    before, key = leaf(shell.certs / "server.pem"), (shell.certs / "server.key").read_bytes()
    found = shell.done("renew")
    after = leaf(shell.certs / "server.pem")
    assert certificates.names(after) == certificates.names(before)
    assert after.serial_number != before.serial_number
    assert (shell.certs / "server.key").read_bytes() != key
    assert found["days_left"] == 29
    assert shell.done("renew", "--days", "100")["days_left"] == 99


@pytest.mark.scenario("J62")
def test_clients(shell: Shell) -> None:
    assert "certs init" in shell.refused("client", "ann")
    shell.done("init")
    made = shell.done("client", "ann@example.org", "--user", "ann", "--role", "operator", "--role", "viewer")
    certificate = leaf(Path(made["certificate"]))
    assert certificates.names(certificate) == ("ann@example.org",)
    users = read_users(Path(made["users"]))
    assert (users["ann@example.org"].user, users["ann@example.org"].roles) == ("ann", ("viewer", "operator"))
    shell.done("client", "bob")
    assert read_users(Path(made["users"]))["bob"].roles == ("viewer",)
    # Again: another certificate, and the same user.
    shell.done("client", "ann@example.org")
    assert read_users(Path(made["users"]))["ann@example.org"].user == "ann"
    assert "says something else" in shell.refused("client", "bob", "--role", "admin")
    assert "choose some of" in shell.refused("client", "cat", "--role", "root")
    for name in ("", "a/b", "../x", "a b", "~x", "x" * 65, ".."):
        assert "is no name of a client" in shell.refused("client", name)
    assert sorted(path.name for path in (shell.certs / "clients").glob("*.pem")) == ["ann@example.org.pem", "bob.pem"]


@pytest.mark.scenario("G5")
def test_revoke_takes_all_that_a_client_has_got(shell: Shell) -> None:
    shell.done("init")
    first = leaf(Path(shell.done("client", "ann")["certificate"]))
    second = leaf(Path(shell.done("client", "ann")["certificate"]))
    other = leaf(Path(shell.done("client", "anna")["certificate"]))

    def gone() -> set[int]:
        authorities = certificates.read_certificates(shell.certs / "ca.pem")
        found = certificates.revoked(shell.certs / "crl.pem", authorities, first.not_valid_before_utc)
        return {serial for _, serial in found}

    assert gone() == set()
    assert shell.done("revoke", "ann")["revoked"] is True
    assert gone() == {first.serial_number, second.serial_number}
    shell.done("revoke", "anna")
    assert gone() == {first.serial_number, second.serial_number, other.serial_number}
    assert "there is no client 'bob'" in shell.refused("revoke", "bob")
    assert "there is no client '../ca'" in shell.refused("revoke", "../ca")
    # A new one is another one.
    assert leaf(Path(shell.done("client", "ann")["certificate"])).serial_number not in gone()
    assert [one["revoked"] for one in shell.done("show")] == [False, False, False, True]


def test_show_lists_days_that_are_left(shell: Shell) -> None:
    assert "certs init" in shell.refused("show")
    shell.done("init", "--host", "render.example.org")
    shell.done("client", "ann", "--days", "10")
    found = shell.done("show")
    assert [(one["kind"], one["name"], one["days_left"]) for one in found] == [
        ("authority", "ca", 3649),
        ("server", "server", 396),
        ("client", "ann", 9),
    ]
    code, out, _ = shell.run("show")
    assert code == 0
    assert "render.example.org" in out


def test_a_key_of_another_authority_is_not_used(shell: Shell) -> None:
    shell.done("init")
    (shell.certs / "ca.key").write_bytes((shell.certs / "server.key").read_bytes())
    assert "is not the key of" in shell.refused("renew")
    (shell.certs / "ca.key").chmod(0o644)
    assert "chmod 600" in shell.refused("renew")


def test_doctor_looks_at_what_the_settings_name(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.done("init", "--days", "40")
    monkeypatch.setenv("RFM_TLS_CERTIFICATE", str(shell.certs / "server.pem"))
    monkeypatch.setenv("RFM_TLS_KEY", str(shell.certs / "server.key"))
    assert "valid for 39 days" in shell.doctor()["detail"]
    shell.done("renew", "--days", "5")
    found = shell.doctor()
    assert (found["fine"], "ends in 4 days" in found["detail"]) == (False, True)
    (shell.certs / "server.key").chmod(0o604)
    found = shell.doctor()
    assert (found["fine"], "chmod 600" in found["todo"]) == (False, True)
