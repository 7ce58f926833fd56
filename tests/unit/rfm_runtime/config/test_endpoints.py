"""Addresses of hosts: what is one, what ZeroMQ is told, and what is refused with the setting's name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.config import Endpoints, address
from rfm_runtime.config.endpoints import is_key, is_loopback, is_node
from rfm_runtime.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("10.0.0.1:8770", "tcp://10.0.0.1:8770"),
        ("[::1]:8770", "tcp://[::1]:8770"),
        ("[fe80::1%eth0]:1", "tcp://[fe80::1%eth0]:1"),
        ("broker.example.org:65535", "tcp://broker.example.org:65535"),
    ],
)
def test_an_address_is_an_endpoint(text: str, endpoint: str) -> None:
    assert address(text, "data_address").endpoint() == endpoint


def test_the_broker_has_four_ports_in_a_row() -> None:
    assert address("10.0.0.1:8770", "broker_address", 4).endpoints() == Endpoints(
        command="tcp://10.0.0.1:8770",
        control="tcp://10.0.0.1:8771",
        feed="tcp://10.0.0.1:8772",
        ingest="tcp://10.0.0.1:8773",
    )
    assert address("h:65532", "broker_address", 4).endpoints().ingest == "tcp://h:65535"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "h",
        "h:",
        ":1",
        "h:0",
        "h:65533",
        "h:x",
        "h:٣",
        "::1:8770",
        "[h]:1",
        "[::1:1",
        "*:1",
        "a b:1",
        "tcp://h:1",
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_setting(text: str) -> None:
    with pytest.raises(ConfigError, match="setting broker_address = ") as caught:
        address(text, "broker_address", 4)
    assert "broker_address = " in (caught.value.hint or "")


@given(st.text())
def test_no_text_gets_past_as_something_else(text: str) -> None:
    try:
        found = address(text, "data_address")
    except ConfigError:
        return
    assert re.fullmatch(r"tcp://(\[[0-9A-Za-z:.%_-]+\]|[0-9A-Za-z._%-]+):[0-9]{1,5}", found.endpoint())
    assert 1 <= found.port <= 65535


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("tcp://10.0.0.1:1", False),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://localhost.example.org:1", False),
    ],
)
def test_loopback_is_what_nobody_else_can_reach(endpoint: str, expected: bool) -> None:
    assert is_loopback(endpoint) is expected


@given(st.text(max_size=80))
def test_names_and_keys_are_words_for_files_and_shells(text: str) -> None:
    assert is_key(text) == bool(re.fullmatch(r"[0-9a-f]{64}", text))
    assert is_node(text) == bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text))
