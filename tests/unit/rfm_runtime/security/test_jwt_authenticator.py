"""JSON Web Tokens: what is taken, and everything that is not."""

from __future__ import annotations

import time

import hypothesis.strategies as st
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given

from rfm_runtime import JWTAuthenticator
from rfm_runtime.core.sessions.access import GRACE_MS
from rfm_runtime.errors import BadRequestError, TokenExpiredError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.security.jwt_authenticator import LEEWAY_S
from tests.tokens import SECRET, signed

AUTHENTICATOR = JWTAuthenticator(SECRET)


def test_an_issued_token_grants_what_it_says_until_it_expires():
    before_s = int(time.time())
    grant = AUTHENTICATOR.authenticate(AUTHENTICATOR.issue("ann", ["reporter", "operator"], lifetime_s=100))
    assert grant.principal == Principal("ann", ("operator", "reporter"))
    assert (before_s + 100) * 1000 <= grant.expires_at_ms <= (time.time() + 101) * 1000


def test_bytes_are_a_secret_too():
    assert JWTAuthenticator(SECRET.encode()).authenticate(AUTHENTICATOR.issue("ann")) is not None


def test_roles_that_nobody_knows_are_none():
    assert AUTHENTICATOR.authenticate(signed(roles=["root", 7, "viewer"])).principal.roles == ("viewer",)
    assert AUTHENTICATOR.authenticate(signed(roles=None)).principal.roles == ()


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        signed(key="another" * 8),
        signed(key="", algorithm="none"),
        signed(algorithm="HS512"),
        signed(exp=int(time.time()) - 120),
        signed(nbf=int(time.time()) + 600),
        signed(iat=int(time.time()) + 600),
        signed(aud="somebody else"),
        signed(iss="somebody else"),
        *(signed(**{name: None}) for name in ("exp", "iat", "aud", "iss", "sub", "jti")),
        signed(sub=""),
        signed(sub="a/b"),
        signed(sub="a\nb"),
        signed(sub="x" * 200),
        signed(roles="admin"),
        signed(exp="soon"),
    ],
)
def test_what_is_wrong_grants_nothing(token):
    assert AUTHENTICATOR.authenticate(token) is None


@pytest.mark.scenario("G1")
def test_a_key_of_another_kind_is_no_secret():
    """HS256 with the public key of an RS256 server: its text is known to everybody."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert AUTHENTICATOR.authenticate(signed(key=private, algorithm="RS256")) is None


@pytest.mark.scenario("G1")
@pytest.mark.parametrize("kid", ["../../../../dev/null", "' OR 1=1", "x" * 5000])
def test_a_hostile_kid_is_not_looked_at(kid):
    assert AUTHENTICATOR.authenticate(signed(headers={"kid": kid})) is not None


def test_an_end_of_the_world_can_be_told():
    assert AUTHENTICATOR.authenticate(signed(exp=10**15)).expires_at_ms < 2**53


@pytest.mark.scenario("G1")
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_nothing_that_is_offered_raises(token):
    assert AUTHENTICATOR.authenticate(token) is None


def test_a_weak_secret_is_said():
    with pytest.warns(UserWarning, match="15 bytes.*32 random ones"):
        weak = JWTAuthenticator(secret_key="your-secret-key")
    assert weak.is_weak
    assert weak.authenticate(weak.issue("ann")) is not None


@pytest.mark.scenario("G10")
def test_the_secret_is_not_shown():
    assert SECRET not in repr(AUTHENTICATOR)


@pytest.mark.parametrize(
    "made",
    [
        lambda: JWTAuthenticator(""),
        lambda: AUTHENTICATOR.issue("ann", ["root"]),
        lambda: AUTHENTICATOR.issue("ann", "admin"),
        lambda: AUTHENTICATOR.issue(""),
        lambda: AUTHENTICATOR.issue("a/b"),
        lambda: AUTHENTICATOR.issue("ann", lifetime_s=0),
        lambda: AUTHENTICATOR.issue("ann", lifetime_s=float("nan")),
    ],
)
def test_what_cannot_be_meant_is_refused(made):
    with pytest.raises(BadRequestError) as refused:
        made()
    assert refused.value.hint


@pytest.mark.scenario("G1", "J75")
def test_that_a_token_has_expired_is_said_of_one_with_a_right_signature_alone():
    past = {"exp": int(time.time()) - 120}
    with pytest.raises(TokenExpiredError, match="expired"):
        AUTHENTICATOR.sign_in(signed(**past))
    for other in (signed("x" * 32, **past), signed("", "none", **past), signed(algorithm="HS512", **past), "a.b.c", ""):
        assert AUTHENTICATOR.sign_in(other) is None
    assert AUTHENTICATOR.sign_in(signed()) == AUTHENTICATOR.authenticate(signed())
    assert AUTHENTICATOR.authenticate(signed(**past)) is None


@pytest.mark.scenario("G1", "J75")
@pytest.mark.parametrize("secrets", [(SECRET, "x" * 32), ("x" * 32, SECRET)])
def test_what_is_wrong_is_said_by_the_key_that_it_was_signed_with(secrets):
    """Whichever of two keys without an id is tried first."""
    present, previous = secrets
    both = JWTAuthenticator(present, previous_secret=previous, previous_until_s=time.time() + 60)
    assert both.examine(signed(exp=int(time.time()) - 120)) == "it has expired"
    assert both.examine(signed(aud="somebody")) == "it is not for rfm-runtime (aud)"
    assert both.examine(signed("y" * 32)) == "it was signed with another key"


@pytest.mark.scenario("G1", "J75")
def test_who_has_a_rule_of_his_own_is_asked_first():
    class Stricter(JWTAuthenticator):
        def authenticate(self, token):
            grant = super().authenticate(token)
            return None if grant is None or grant.principal.user == "eve" else grant

    assert Stricter(SECRET).sign_in(signed(sub="eve")) is None
    assert Stricter(SECRET).sign_in(signed()) is not None


@pytest.mark.scenario("G2", "J57")
def test_the_door_takes_a_token_for_as_long_as_a_session_outlasts_it():
    """With other clocks for the two, who is closed comes in again with the same token, and is closed again."""
    grant = AUTHENTICATOR.sign_in(old := signed(exp=int(time.time()) - GRACE_MS // 1000 + 3))
    assert grant is not None
    with pytest.raises(TokenExpiredError):
        AUTHENTICATOR.sign_in(signed(exp=int(time.time()) - GRACE_MS // 1000 - 1))
    # When a session of it is closed, and not a second before.
    assert LEEWAY_S * 1000 == GRACE_MS
    assert AUTHENTICATOR.examine(old) == grant
