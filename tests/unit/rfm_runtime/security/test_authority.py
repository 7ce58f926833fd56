"""Whose tokens are taken, as settings and files say; and what is said of files that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rfm_runtime import config
from rfm_runtime.config import Settings
from rfm_runtime.errors import ConfigError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.security import authority
from rfm_runtime.security.authority import SECRET_VARIABLE, Authority, authenticator_of, weakness
from rfm_runtime.security.token import RuntimeToken
from tests.tokens import SECRET, jwks, key_pair, public_pem, signed

RSA = key_pair("rsa")


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "LOOK_S", 0.0)
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    return written(tmp_path / "secret", SECRET + "\n")


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def settings(**changes: object) -> Settings:
    named = {key: str(value) for key, value in changes.items()}
    return msgspec.structs.replace(Settings(state_dir="/s", runtime_dir="/r", cache_dir="/c"), **named)


def test_without_settings_the_runtimes_own_token_is_the_only_one():
    assert authenticator_of(settings()) is None
    gate = Authority(RuntimeToken("own"), None)
    assert gate.authenticate("own").principal == Principal("local", ("admin",))
    assert gate.authenticate(signed()) is None


def test_beside_others_the_runtimes_own_token_stays_valid(secret_file: Path):
    gate = Authority(RuntimeToken("own"), authenticator_of(settings(token_secret_file=secret_file)))
    assert gate.authenticate("own").principal.roles == ("admin",)
    assert gate.authenticate(signed()).principal.user == "ann"
    assert gate.authenticate(signed("x" * 32)) is None


def test_the_environment_has_a_secret_too():
    assert authenticator_of(settings(), {SECRET_VARIABLE: SECRET}).authenticate(signed()) is not None


def test_every_setting_means_something(tmp_path: Path, secret_file: Path):
    keys = written(tmp_path / "keys.pem", public_pem(RSA), 0o644)
    made = authenticator_of(
        settings(
            token_secret_file=secret_file,
            token_public_keys=keys,
            token_algorithms="HS384, RS256",
            token_audience="here",
            token_issuer="there",
            token_user_claim="email",
            token_roles_claim="groups",
        )
    )
    given = {"aud": "here", "iss": "there", "email": "ann@example.org", "groups": ["viewer"], "roles": ["admin"]}
    for token in (signed(algorithm="HS384", **given), signed(RSA, "RS256", **given)):
        assert made.authenticate(token).principal == Principal("ann@example.org", ("viewer",))
    assert made.authenticate(signed(**given)) is None
    assert made.authenticate(signed(RSA, "PS256", **given)) is None
    assert made.authenticate(signed(algorithm="HS384", **given | {"iss": "rfm-runtime"})) is None


@pytest.mark.scenario("G2", "J55")
def test_a_changed_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, secret_file: Path, caplog: pytest.LogCaptureFixture
):
    made = authenticator_of(settings(token_secret_file=secret_file))
    old, new = signed(), signed("n" * 32)
    written(tmp_path / "secret.previous", SECRET + "\nuntil 2100-01-01T00:00:00Z\n")
    written(secret_file, "n" * 32)
    assert [made.authenticate(token) is not None for token in (old, new)] == [True, True]
    written(tmp_path / "secret.previous", SECRET + "\nuntil 2001-01-01T00:00:00Z\n")
    assert [made.authenticate(token) is not None for token in (old, new)] == [False, True]
    secret_file.write_text("")
    assert [made.authenticate(token) is not None for token in (old, new)] == [False, True]
    assert "the keys so far are used on" in caplog.text
    assert "n" * 32 not in caplog.text
    secret_file.unlink()
    assert made.authenticate(new) is not None
    written(secret_file, "m" * 32)
    assert made.authenticate(new) is None
    assert made.authenticate(signed("m" * 32)) is not None


def test_the_time_in_the_settings_goes_before_the_files(tmp_path: Path, secret_file: Path):
    previous = written(tmp_path / "before", "b" * 32)
    named = {"token_secret_file": secret_file, "token_previous_secret_file": previous}
    for until, taken in (("2100-01-01T00:00:00+02:00", True), ("2001-01-01T00:00:00Z", False)):
        made = authenticator_of(settings(**named, token_previous_until=until))
        assert (made.authenticate(signed("b" * 32)) is not None) is taken


@pytest.mark.scenario("G11")
@pytest.mark.parametrize(("mode", "taken"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False)])
def test_a_secret_that_others_can_read_is_none(secret_file: Path, mode: int, taken: bool):
    secret_file.chmod(mode)
    if taken:
        assert authenticator_of(settings(token_secret_file=secret_file)) is not None
        return
    with pytest.raises(ConfigError, match="open to others") as refused:
        authenticator_of(settings(token_secret_file=secret_file))
    assert "chmod 600" in refused.value.hint


def test_a_weak_secret_warns_on_loopback_and_is_refused_elsewhere(tmp_path: Path, secret_file: Path):
    weak = settings(token_secret_file=written(tmp_path / "weak", "your-secret-key"))
    assert "shorter than 32 bytes" in weakness(weak)
    assert weakness(settings(token_secret_file=secret_file)) is None
    assert weakness(settings()) is None
    with pytest.raises(ConfigError, match="too short for a server that others can reach"):
        authenticator_of(msgspec.structs.replace(weak, host="0.0.0.0"))


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"token_secret_file": "none"}, "cannot read .*none: No such file"),
        ({"token_secret_file": "empty"}, "the secret is empty"),
        ({"token_secret_file": "pem"}, "others may have"),
        ({"token_secret_file": "."}, "Is a directory"),
        ({"token_secret_file": "large"}, "larger than any"),
        ({"token_secret_file": "good", "token_algorithms": "none"}, "'none', which is none here"),
        ({"token_secret_file": "good", "token_algorithms": "RS256"}, "cannot be used with RS256"),
        ({"token_secret_file": "good", "token_previous_secret_file": "none"}, "cannot read"),
        ({"token_secret_file": "good", "token_previous_secret_file": "good"}, "until when"),
        (
            {"token_secret_file": "good", "token_previous_secret_file": "good", "token_previous_until": "soon"},
            "'soon' is no time",
        ),
        (
            {"token_secret_file": "good", "token_previous_secret_file": "good", "token_previous_until": "2100-01-01"},
            "time zone",
        ),
        ({"token_public_keys": "good"}, "no public key in it"),
        ({"token_public_keys": "none"}, "cannot read"),
        ({"token_previous_until": "2100-01-01T00:00:00Z"}, "no key that tokens"),
        ({"token_algorithms": "HS256"}, "no key that tokens"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(tmp_path: Path, changes: dict[str, str], said: str):
    for name, text in (("good", SECRET), ("empty", "\n"), ("pem", public_pem(RSA)), ("large", "x" * 300_000)):
        written(tmp_path / name, text)
    files = ("token_secret_file", "token_previous_secret_file", "token_public_keys")
    changes = {key: str(tmp_path / value) if key in files else value for key, value in changes.items()}
    with pytest.raises(ConfigError, match=said) as refused:
        authenticator_of(settings(**changes))
    assert refused.value.hint
    assert SECRET not in f"{refused.value.message} {refused.value.hint}"


def test_files_are_where_the_settings_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    loaded = config.load({"token_secret_file": "secret", "token_public_keys": "~/keys.pem"}).settings
    assert loaded.token_secret_file == str(tmp_path / "secret")
    assert loaded.token_public_keys == str(Path.home() / "keys.pem")
    assert loaded.token_previous_secret_file == ""


def test_a_set_of_keys_is_a_file_too(tmp_path: Path):
    made = authenticator_of(settings(token_public_keys=written(tmp_path / "jwks.json", jwks(one=RSA))))
    assert made.authenticate(signed(RSA, "RS256", {"kid": "one"})) is not None
