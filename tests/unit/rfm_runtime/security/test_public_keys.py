"""Tokens of public keys: each key is used for what it is, and for nothing that a token says it is."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rfm_runtime import JWTAuthenticator
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.internal import Principal
from tests.tokens import SECRET, crafted, jwks, key_pair, public_pem, signed

RSA, EC, EDWARDS = key_pair("rsa"), key_pair("ec"), key_pair("ed25519")
ALL = public_pem(RSA) + public_pem(EC) + public_pem(EDWARDS)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (EDWARDS, "EdDSA")])
@pytest.mark.parametrize("keys", [ALL, ALL.encode(), jwks(one=RSA, two=EC, three=EDWARDS)])
def test_every_kind_of_key_signs(key, algorithm, keys):
    grant = JWTAuthenticator(public_keys=keys).authenticate(signed(key, algorithm))
    assert grant is not None
    assert (grant.principal, grant.token_id) == (Principal("ann", ("operator",)), "1")


def test_a_key_of_a_set_is_looked_up_by_its_name():
    authenticator = JWTAuthenticator(public_keys=jwks(one=RSA, two=key_pair("rsa")))
    assert authenticator.authenticate(signed(RSA, "RS256", {"kid": "one"})) is not None
    assert authenticator.authenticate(signed(RSA, "RS256", {"kid": "two"})) is None
    assert authenticator.authenticate(signed(RSA, "RS256")) is not None


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    "token",
    [
        # The public key's text as a secret, in every form that somebody may have it.
        crafted({"alg": "HS256", "typ": "JWT"}, ALL.encode()),
        *(crafted({"alg": "HS256", "typ": "JWT"}, public_pem(key).encode()) for key in (RSA, EC, EDWARDS)),
        crafted({"alg": "HS256", "typ": "JWT"}, public_pem(RSA).strip().encode()),
        crafted({"alg": "HS256", "typ": "JWT"}, b""),
        # What it says of itself, which nobody signed.
        crafted({"alg": "RS256", "typ": "JWT"}, public_pem(RSA).encode()),
        crafted({"alg": "none", "typ": "JWT"}),
        crafted({"alg": "NoNe", "typ": "JWT"}),
        crafted({"alg": ["RS256"], "typ": "JWT"}),
        crafted({"alg": None, "typ": "JWT"}),
        crafted({"typ": "JWT"}),
        signed("", "none"),
        # A key that comes with the token, or is said to be somewhere.
        signed(key_pair("rsa"), "RS256", {"jwk": json.loads(jwks(x=key_pair("rsa")))["keys"][0]}),
        *(signed(key_pair("rsa"), "RS256", {name: "https://attacker.example/keys"}) for name in ("jku", "x5u", "kid")),
        *(
            signed(key_pair("rsa"), "RS256", {"kid": kid})
            for kid in ("../../../../etc/passwd", "file:///dev/null", "' OR 1=1 --", "x" * 9000, "\0")
        ),
        crafted({"alg": "RS256", "typ": "JWT", "kid": {"a": 1}}),
        crafted({"alg": "RS256", "typ": "JWT", "kid": 7}),
        # Another key of the right kind, and the right key for something else.
        signed(key_pair("ec"), "ES256"),
        signed(EDWARDS, "EdDSA", {"crit": ["exp"]}),
        signed(EDWARDS, "EdDSA", {"typ": "dpop+jwt"}),
        signed(EDWARDS, "EdDSA", typ="Refresh"),
        signed(EDWARDS, "EdDSA", token_use="id"),
        signed(EDWARDS, "EdDSA", use="refresh"),
        signed(EDWARDS, "EdDSA", use=["access"]),
    ],
)
def test_what_is_no_token_of_these_keys_grants_nothing(token):
    assert JWTAuthenticator(public_keys=ALL).authenticate(token) is None
    assert JWTAuthenticator(public_keys=jwks(one=RSA, two=EC, three=EDWARDS)).authenticate(token) is None
    assert JWTAuthenticator(SECRET * 2, public_keys=ALL).authenticate(token) is None


@pytest.mark.parametrize(("name", "value"), [("typ", "Bearer"), ("token_use", "access"), ("use", "access")])
def test_an_access_token_may_say_that_it_is_one(name, value):
    assert JWTAuthenticator(public_keys=ALL).authenticate(signed(EDWARDS, "EdDSA", **{name: value})) is not None
    assert JWTAuthenticator(public_keys=ALL).authenticate(signed(EDWARDS, "EdDSA", {"typ": "at+jwt"})) is not None


def test_an_allow_list_is_all_that_is_allowed():
    only = JWTAuthenticator(SECRET * 2, public_keys=public_pem(RSA), algorithms=["PS256", "HS512"])
    assert only.authenticate(signed(RSA, "PS256")) is not None
    assert only.authenticate(signed(RSA, "RS256")) is None
    assert only.authenticate(signed(SECRET * 2, "HS512")) is not None
    assert only.authenticate(signed(SECRET * 2, "HS256")) is None


def test_where_the_user_and_the_roles_are_can_be_said():
    nested = JWTAuthenticator(SECRET, user_claim="preferred_username", roles_claim="realm_access.roles")
    token = signed(sub="f3a1", roles=["admin"], preferred_username="ann", realm_access={"roles": ["viewer"]})
    assert nested.authenticate(token).principal == Principal("ann", ("viewer",))
    address = JWTAuthenticator(SECRET, roles_claim="https://example.org/roles")
    assert address.authenticate(signed(**{"https://example.org/roles": ["admin"]})).principal.roles == ("admin",)
    assert nested.authenticate(signed(preferred_username="ann", realm_access="all")).principal.roles == ()
    assert nested.authenticate(signed(realm_access={"roles": ["viewer"]})) is None
    for authenticator in (nested, address):
        assert authenticator.authenticate(authenticator.issue("bob", ["viewer"])).principal == Principal(
            "bob", ("viewer",)
        )


@pytest.mark.scenario("G2")
def test_the_previous_secret_is_accepted_until_a_stated_time():
    now_s = 2e9
    old, new = "o" * 32, "n" * 32
    during = JWTAuthenticator(new, previous_secret=old, previous_until_s=now_s)
    after = JWTAuthenticator(new, previous_secret=old, previous_until_s=1e9)
    assert [a.authenticate(signed(old)) is not None for a in (during, after)] == [True, False]
    assert all(JWTAuthenticator(new).authenticate(a.issue("ann")) is not None for a in (during, after))


def test_of_a_set_what_is_not_for_this_is_left_alone():
    listed = json.loads(jwks(one=RSA))["keys"]
    others = [
        {**listed[0], "kid": "enc", "use": "enc"},
        {**listed[0], "kid": "ops", "key_ops": ["encrypt"]},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {"kty": "later"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {**listed[0], "kid": 5},
        "no key",
    ]
    authenticator = JWTAuthenticator(public_keys=json.dumps({"keys": [*others, *listed]}))
    assert authenticator.authenticate(signed(RSA, "RS256", {"kid": "one"})) is not None
    assert [authenticator.authenticate(signed(RSA, "RS256", {"kid": kid})) for kid in ("enc", "ops")] == [None, None]
    assert authenticator.authenticate(signed("secret", "HS256", {"kid": "oct"})) is None


def private_pem() -> str:
    none = serialization.NoEncryption()
    return EC.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none).decode()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"public_keys": ""},
        {"public_keys": "{"},
        {"public_keys": "[]"},
        {"public_keys": '{"keys": []}'},
        {"public_keys": '{"keys": 5}'},
        {"public_keys": json.dumps({"keys": [{}] * 100})},
        {"public_keys": b"\xff\xfe"},
        {"public_keys": private_pem()},
        {"public_keys": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
        {"public_keys": public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))},
        {"public_keys": public_pem(RSA), "algorithms": ["ES256"]},
        {"public_keys": public_pem(RSA), "algorithms": ["none"]},
        {"secret_key": public_pem(RSA)},
        {"secret_key": SECRET, "algorithms": ["RS256"]},
        {"secret_key": SECRET, "previous_secret": SECRET},
        {"secret_key": SECRET, "previous_until_s": 1e9},
    ],
)
def test_keys_that_cannot_be_meant_are_refused(options):
    with pytest.raises(BadRequestError) as refused:
        JWTAuthenticator(**options)
    assert refused.value.hint
    assert SECRET not in str(refused.value)


def test_whoever_has_public_keys_only_issues_nothing():
    with pytest.raises(BadRequestError, match="not issued"):
        JWTAuthenticator(public_keys=ALL).issue("ann")
