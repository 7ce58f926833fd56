"""Which names of a server are others' as well: what is said of those that are not must not outlive the server."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rfm_runtime.config.origins import is_shared

pytestmark = pytest.mark.scenario("J71")


@pytest.mark.parametrize(
    "host", ["render.example.org", "render.example.org:8765", "RENDER.Example", "lab", "lab.example."]
)
def test_a_name_that_others_use_as_well(host: str) -> None:
    assert is_shared(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8765",
        "localhost.",
        "board.localhost:8765",
        "localhost.localdomain",
        "127.0.0.1:8765",
        "127.8.8.8",
        "[::1]:8765",
        "[2001:db8::7]",
        "192.0.2.7",
        "",
        "no host",
        "lab.example:99999",
        None,
    ],
)
def test_loopback_addresses_and_what_is_no_name_are_not(host: str | None) -> None:
    assert not is_shared(host)


@given(st.ip_addresses(), st.none() | st.integers(1, 65535))
def test_no_address_is(address: object, port: int | None) -> None:
    text = f"[{address}]" if ":" in str(address) else str(address)
    assert not is_shared(text if port is None else f"{text}:{port}")
