"""The claim that narrows a token to some kinds of operations."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from rfm_runtime import JWTAuthenticator
from rfm_runtime.core.permissions import KINDS_LIMIT
from rfm_runtime.errors import BadRequestError

pytestmark = pytest.mark.scenario("J50")

SECRET = "kinds-of-operations-that-a-token-is-about"
AUTH = JWTAuthenticator(SECRET)


def signed(**claims: Any) -> str:
    now_s = int(time.time())
    standard = {"sub": "ann", "roles": ["viewer"], "iat": now_s, "exp": now_s + 60, "jti": "1"}
    return jwt.encode({**standard, "aud": "rfm-runtime", "iss": "rfm-runtime", **claims}, SECRET, algorithm="HS256")


@pytest.mark.parametrize("kinds", [None, [], ["external"], ["b", "a"]])
def test_a_token_grants_the_kinds_that_it_was_issued_for(kinds: list[str] | None) -> None:
    grant = AUTH.authenticate(AUTH.issue("ann", kinds=kinds))
    assert grant is not None
    assert grant.principal.kinds == (None if kinds is None else tuple(sorted(kinds)))


@pytest.mark.parametrize(
    "kinds", ["external", {"external": True}, [1], [""], ["x" * 1000], [None], ["k"] * (KINDS_LIMIT + 1), 0, True, None]
)
def test_a_claim_that_says_something_else_grants_nothing(kinds: object) -> None:
    assert AUTH.authenticate(signed()) is not None
    assert AUTH.authenticate(signed(kinds=kinds)) is None
    if isinstance(kinds, str | list):
        with pytest.raises(BadRequestError):
            AUTH.issue("ann", kinds=kinds)
