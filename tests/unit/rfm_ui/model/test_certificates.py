"""What is wrong with a secure connection, in words: whatever OpenSSL may say, somebody is told what to do."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.verifying import Trouble, trouble_of
from rfm_ui.model.certificates import Remedy, explained

pytestmark = pytest.mark.scenario("J110")


@pytest.mark.parametrize("trouble", get_args(Trouble))
@pytest.mark.parametrize("has_ca", [False, True])
def test_each_is_explained_with_something_that_helps(trouble: str, has_ca: bool) -> None:
    found = explained(trouble, "lab.example", has_ca=has_ca)
    assert found is not None
    assert "lab.example" in found.title
    assert found.text.endswith(".")
    assert found.advice.endswith((".", "?"))
    assert found.remedies
    assert set(found.remedies) <= set(get_args(Remedy))
    for word in ("X509", "verify", "handshake", "SSL", "errno"):
        assert word not in f"{found.title}{found.text}{found.advice}"


def test_no_two_are_said_alike() -> None:
    said = {explained(trouble, "x", has_ca=has_ca) for trouble in get_args(Trouble) for has_ca in (False, True)}
    # Of an authority that is not in the file it does not matter whether it vouches for itself.
    assert len(said) == len(get_args(Trouble)) + 1


@given(st.integers(0, 200))
def test_every_number_of_openssl_has_words(code: int) -> None:
    assert explained(trouble_of(code), "x") is not None


def test_what_is_not_known_is_not_made_up() -> None:
    assert explained("", "x") is None
