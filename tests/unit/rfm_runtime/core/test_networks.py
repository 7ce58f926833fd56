"""Limits by address hold for whoever has more addresses than anybody can count."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.config import Settings
from rfm_runtime.core.networks import network_of
from rfm_runtime.core.sessions.door import Refused
from rfm_runtime.core.sessions.doorstep import Doorstep
from rfm_runtime.core.sessions.hub import GatewayCore, Identity

pytestmark = pytest.mark.scenario("G8", "J52", "J70")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("local", "local"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_addresses_of_one_line_are_one_and_those_of_another_line_are_not(
    address: ipaddress.IPv6Address, host: int
) -> None:
    line = int(address) >> 64
    if line == 0:
        # IPv4 addresses are written within it.
        return
    assert network_of(str(ipaddress.IPv6Address(line << 64 | host))) == network_of(str(address))
    assert network_of(str(ipaddress.IPv6Address((line ^ 1) << 64 | host))) != network_of(str(address))


def core() -> GatewayCore:
    settings = Settings(state_dir="/s", runtime_dir="/r", cache_dir="/c")
    return GatewayCore(settings, Identity("1", 0, "gate"), lambda _token: None, 0.0)


@pytest.mark.parametrize("address", ["2001:db8::{:x}", "::ffff:192.0.2.7", "192.0.2.7"])
def test_whoever_guesses_from_many_addresses_of_his_is_told_to_come_later(address: str) -> None:
    gate = core()
    codes = Counter(gate.wrong_token(address.format(number), 0.01 * number).code for number in range(1, 2001))
    # 100 at once and 5 a second for 20 s.
    assert 195 <= codes[4501] <= 205
    assert codes[4013] == 2000 - codes[4501]
    assert gate.wrong_token("2001:db8:0:1::1", 20.0).code == 4501, "somebody else does not wait with him"


def test_one_address_written_in_two_ways_is_one() -> None:
    gate = core()
    for number in range(200):
        gate.wrong_token(["::ffff:192.0.2.7", "192.0.2.7"][number % 2], 0.0)
    assert gate.wrong_token("192.0.2.7", 0.0).code == 4013


def test_silent_connections_of_one_line_are_as_many_as_of_one_address() -> None:
    gate = core()
    entered = [gate.connected(f"2001:db8::{number:x}", "json", None, 0.02 * number) for number in range(200)]
    sessions = [session for session in entered if not isinstance(session, Refused)]
    assert len(sessions) == gate.settings.connections_per_address
    gate.sanity_check()
    assert sessions[7].address == "2001:db8::7", "the audit log has the whole address"
    for session in sessions:
        gate.disconnected(session.number)
    gate.sanity_check()
    assert not isinstance(gate.connected("2001:db8::1", "json", None, 10.0), Refused)


def test_of_those_who_have_said_nothing_yet_one_line_makes_room_for_itself() -> None:
    step = Doorstep(limit=10, limit_per_address=3)
    gone = [step.came(number, f"2001:db8::{number:x}") for number in range(5)]
    assert gone == [None, None, None, 0, 1]
    assert step.came(9, "2001:db8:0:1::1") is None
    step.sanity_check()
