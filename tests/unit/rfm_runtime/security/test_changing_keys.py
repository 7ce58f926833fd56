"""Keys that change while tokens of theirs are in use: which of them, until when, and what odd ones do to the others."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from rfm_runtime import JWTAuthenticator
from rfm_runtime.config import Settings
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import BadRequestError, CertificateError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.security import authority
from rfm_runtime.security.authority import SECRET_VARIABLE, Authority, authenticator_of
from rfm_runtime.security.rotation import rotate
from rfm_runtime.security.token import RuntimeToken
from rfm_runtime.security.users import read_users
from tests.tokens import SECRET, jwks, key_pair, signed

RSA, EDWARDS = key_pair("rsa"), key_pair("ed25519")


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "LOOK_S", 0.0)
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    secret, public = tmp_path / "secret", tmp_path / "keys.json"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    published(public, rsa=RSA, edwards=EDWARDS)
    return Settings(
        state_dir="/s",
        runtime_dir="/r",
        cache_dir="/c",
        token_secret_file=str(secret),
        token_public_keys=str(public),
    )


def published(path: Path, **keys: object) -> None:
    written(path, jwks(**keys))


def written(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def gate_of(settings: Settings) -> Authority:
    return Authority(RuntimeToken("own"), authenticator_of(settings))


@pytest.mark.scenario("G2", "J74")
def test_a_grant_goes_with_its_key_and_no_other(settings: Settings):
    gate = gate_of(settings)
    tokens = (signed(), signed(RSA, "RS256"), signed(EDWARDS, "EdDSA"), "own", gate.sign(Principal("eve", ()), 60.0))
    grants = [gate.authenticate(token) for token in tokens]
    assert not gate.look()
    published(Path(settings.token_public_keys), edwards=EDWARDS)
    assert (gate.look(), gate.look()) == (True, False)
    assert [gate.vouched(grant) is not None for grant in grants] == [True, False, True, True, True]
    rotate(settings, None)
    assert (gate.look(), gate.look()) == (True, False)
    assert [gate.vouched(grant) is not None for grant in grants] == [False, False, True, True, True]


@pytest.mark.scenario("G2", "J74")
def test_an_empty_set_takes_all_of_its_keys_back(settings: Settings):
    gate = gate_of(settings)
    tokens = (signed(), signed(RSA, "RS256"), signed(EDWARDS, "EdDSA"), "own")
    grants = [gate.authenticate(token) for token in tokens]
    written(Path(settings.token_public_keys), '{"keys": []}')
    assert (gate.look(), gate.look()) == (True, False)
    assert [gate.vouched(grant) is not None for grant in grants] == [True, False, False, True]
    assert [gate.authenticate(token) is not None for token in tokens] == [True, False, False, True]
    # So does a gateway that begins now.
    again = gate_of(settings)
    assert [again.authenticate(token) is not None for token in tokens] == [True, False, False, True]
    published(Path(settings.token_public_keys), edwards=EDWARDS)
    for one in (gate, again):
        assert one.look()
        assert [one.authenticate(token) is not None for token in tokens] == [True, False, True, True]


@pytest.mark.scenario("G2", "J74")
@pytest.mark.parametrize("text", [None, "", "{}", '{"keys": null}', '{"keys": {}}', '{"keys": [{"kty": "oct"}]}'])
def test_what_says_nothing_of_keys_takes_none_back(settings: Settings, text: str | None):
    gate = gate_of(settings)
    grant = gate.authenticate(signed(RSA, "RS256"))
    path = Path(settings.token_public_keys)
    path.unlink()
    if text is not None:
        written(path, text)
    assert not gate.look()
    assert gate.vouched(grant) == grant
    assert gate.authenticate(signed(RSA, "RS256")) is not None


@pytest.mark.scenario("G2", "J74")
def test_that_others_were_read_when_a_token_was_shown_is_not_missed(settings: Settings):
    gate = gate_of(settings)
    rotate(settings, None)
    assert gate.authenticate(signed()) is None
    assert (gate.look(), gate.look()) == (True, False)


@pytest.mark.scenario("G2", "J74")
def test_a_grant_ends_with_its_key_whatever_the_token_says(settings: Settings):
    gate = gate_of(settings)
    forever = gate.authenticate(signed(exp=int(time.time()) + 10**9))
    until_s = float(int(time.time()) + 3600)
    rotate(settings, until_s)
    assert gate.look()
    assert gate.vouched(forever).expires_at_ms == until_s * 1000
    assert gate.authenticate(signed(exp=int(time.time()) + 10**9)).expires_at_ms == until_s * 1000
    soon = int(time.time()) + 60
    assert gate.vouched(gate.authenticate(signed(exp=soon))).expires_at_ms == soon * 1000
    # Kept again, for less.
    lines = Path(settings.token_secret_file + ".previous")
    lines.write_text(f"{SECRET}\nuntil 2001-01-01T00:00:00Z\n")
    assert gate.look()
    assert gate.vouched(forever).expires_at_ms == 978_307_200_000


def test_a_key_shows_nothing_of_itself(settings: Settings):
    grant = gate_of(settings).authenticate(signed())
    assert grant.key
    assert SECRET not in repr(grant)


ODD = [
    {"key_ops": None},
    {"key_ops": 5},
    {"key_ops": "verify"},
    {"alg": 5},
    {"use": []},
    {"n": 5},
    {"n": None},
    {"e": {}},
]


@pytest.mark.scenario("G1", "J74")
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_key_of_a_set_is_left_alone_and_the_others_are_used(odd: dict[str, object]):
    of_rsa, of_edwards = json.loads(jwks(rsa=RSA, edwards=EDWARDS))["keys"]
    made = JWTAuthenticator(public_keys=json.dumps({"keys": [of_rsa | odd, of_edwards]}))
    assert made.authenticate(signed(EDWARDS, "EdDSA")) is not None
    assert made.authenticate(signed(RSA, "RS256")) is None


@pytest.mark.scenario("G1", "J74")
def test_whatever_reading_again_raises_the_keys_so_far_are_used(settings: Settings, caplog: pytest.LogCaptureFixture):
    good = authority._read_public(Path(settings.token_public_keys), None)
    answers = iter([good, RuntimeError("odd"), good])

    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    keys = authority.FileKeys([Path(settings.token_public_keys)], read)
    published(Path(settings.token_public_keys), edwards=EDWARDS)
    keys.look(None)
    assert keys.known() == good
    assert "the keys so far are used on" in caplog.text


@pytest.mark.scenario("G1", "J74")
def test_a_secret_that_becomes_weak_is_not_taken_where_others_can_reach_it(
    settings: Settings, caplog: pytest.LogCaptureFixture
):
    for host, taken in (("0.0.0.0", False), ("127.0.0.1", True)):
        secret = Path(settings.token_secret_file)
        secret.write_text(SECRET)
        made = authenticator_of(msgspec.structs.replace(settings, host=host))
        secret.write_text("short")
        assert (made.authenticate(signed("short")) is not None) is taken
        assert (made.authenticate(signed()) is not None) is not taken
    assert "too short for a server that others can reach" in caplog.text


@pytest.mark.scenario("G1", "G3", "J74")
def test_the_runtimes_own_user_is_nobody_elses_name(settings: Settings, tmp_path: Path):
    gate = gate_of(settings)
    assert gate.authenticate(signed(sub="local")) is None
    assert gate.authenticate(signed(sub="Local")) is not None
    with pytest.raises(BadRequestError) as refused:
        JWTAuthenticator(SECRET).issue("local")
    assert "not local" in refused.value.hint
    users = tmp_path / "users.toml"
    written(users, '["laptop"]\nuser = "local"\nroles = ["viewer"]\n')
    with pytest.raises(CertificateError) as refused:
        read_users(users)
    assert "not local" in refused.value.hint
    # A name in a certificate is a user's without an entry that says so, too.
    written(users, '["local"]\nroles = ["viewer"]\n')
    with pytest.raises(CertificateError):
        read_users(users)


@pytest.mark.scenario("G2", "J56")
def test_an_issuer_whose_clock_is_ahead_issues_nothing_later_than_it_is_shown():
    made = JWTAuthenticator(SECRET)
    before_ms = time.time() * 1000
    ahead, right = made.authenticate(signed(iat=int(time.time()) + 25)), made.authenticate(signed())
    assert isinstance(ahead, Grant)
    assert before_ms - 1 <= ahead.issued_at_ms <= time.time() * 1000 + 1
    assert (ahead.is_ahead, right.is_ahead) == (True, False)


@pytest.mark.scenario("G2", "J56")
def test_a_token_of_ours_says_the_millisecond():
    made = JWTAuthenticator(SECRET)
    before_ms = int(time.time() * 1000)
    grant = made.authenticate(made.issue("ann"))
    assert before_ms - 1 <= grant.issued_at_ms <= time.time() * 1000 + 1
