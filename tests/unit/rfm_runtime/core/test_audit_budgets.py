"""A flood of one user's entries, or of one address's, costs nobody else his line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.auditing import (
    EVENTS,
    KEYS_LIMIT,
    LINES_BURST,
    LINES_PER_S,
    NAMED_LIMIT,
    USER_LINES_BURST,
    USER_LINES_PER_S,
    WINDOW_S,
    Auditor,
    Entry,
)

pytestmark = pytest.mark.scenario("J51")


def denied(user: str, operation: int, address: str = "192.0.2.1") -> Entry:
    return Entry(at_ms=0, event="denied", user=user, operation_id=f"op-{operation}", address=address)


def refused(address: str, user: str = "") -> Entry:
    return Entry(at_ms=0, event="sign_in_refused", user=user, address=address, reason="wrong token")


def test_beside_a_flood_of_one_user_each_of_the_others_has_a_line() -> None:
    auditor, lines = Auditor(0.0), []
    for number in range(6000):
        now_s = number / 200
        auditor.note(denied("eve", number), now_s)
        if number % 100 == 50:
            auditor.note(denied(f"user-{number}", number, "192.0.2.2"), now_s)
            auditor.note(Entry(at_ms=0, event="signed_in", user=f"user-{number}", roles=("viewer",)), now_s)
        lines += auditor.take(now_s)
        auditor.sanity_check()
    lines += auditor.take(30.0, all_of_it=True)
    for number in range(50, 6000, 100):
        of_user = {line.event for line in lines if line.user == f"user-{number}" and line.reason != "many"}
        assert of_user == {"denied", "signed_in"}
    hers = [line for line in lines if line.user == "eve"]
    assert sum(line.count for line in hers) == 6000, "she is named in all that are counted"
    assert len(hers) <= USER_LINES_BURST + 30 * USER_LINES_PER_S + 30 / WINDOW_S + 1


def test_what_a_client_calls_itself_makes_no_other_line() -> None:
    auditor = Auditor(0.0)
    for number in range(100):
        auditor.note(Entry(at_ms=0, event="signed_in", user="eve", client=f"client-{number}"), number / 100)
    (first, rest) = auditor.take(1.0, all_of_it=True)
    assert (first.client, first.count, rest.count) == ("client-0", 1, 99)


def test_an_administrator_who_comes_in_is_named_whatever_he_did_before() -> None:
    auditor = Auditor(0.0)
    for number in range(1000):
        auditor.note(denied("root", number), 0.0)
    auditor.note(Entry(at_ms=7, event="signed_in", user="root", roles=("admin",), address="192.0.2.9"), 0.0)
    assert [line.address for line in auditor.take(0.0) if line.event == "signed_in"] == ["192.0.2.9"]


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::{:x}"])
def test_beside_a_flood_of_one_address_those_at_others_are_named(address: str) -> None:
    auditor, lines = Auditor(0.0), []
    for number in range(2000):
        now_s = number / 200
        # Each is another one, as far as the peer can choose.
        auditor.note(refused(address.format(number), user=f"eve-{number}"), now_s)
        if number % 500 == 400:
            auditor.note(refused(f"192.0.2.{number // 100}"), now_s)
        lines += auditor.take(now_s)
        auditor.sanity_check()
    assert {line.address for line in lines if line.address.startswith("192.")} == {
        f"192.0.2.{number}" for number in (4, 9, 14, 19)
    }


def test_strangers_at_addresses_without_number_write_a_bounded_number_of_lines_and_hide_no_user() -> None:
    auditor, lines = Auditor(0.0), []
    for number in range(20_000):
        now_s = number / 1000
        auditor.note(refused(f"2001:db8:{number:x}::1"), now_s)
        if number % 1000 == 0:
            auditor.note(denied(f"user-{number}", 1), now_s)
        lines += auditor.take(now_s)
    auditor.sanity_check()
    lines += auditor.take(20.0, all_of_it=True)
    assert len([line for line in lines if line.event == "denied"]) == 20
    strange = [line for line in lines if line.event == "sign_in_refused"]
    assert sum(line.count for line in strange) == 20_000
    assert len(strange) <= LINES_BURST + 20 * LINES_PER_S + 20 / WINDOW_S + 1


NOTES = st.lists(
    st.tuples(
        st.sampled_from(["denied", "limited", "signed_in", "sign_in_refused"]),
        st.integers(0, 400),
        st.integers(0, 400),
        st.floats(0.0, 0.01),
    ),
    max_size=300,
)


@given(NOTES, st.integers(1, 40))
def test_nothing_is_uncounted_and_nothing_grows(notes: list[tuple[str, int, int, float]], times: int) -> None:
    auditor, now_s, lines = Auditor(0.0), 0.0, []
    for event, user, what, elapsed_s in notes:
        now_s += elapsed_s
        for number in range(times):
            entry = Entry(at_ms=0, event=event, user=f"u{user}", operation_id=f"{what}-{number}")  # type: ignore[arg-type]
            auditor.note(entry, now_s)
    auditor.sanity_check()
    lines = auditor.take(now_s, all_of_it=True)
    assert sum(line.count for line in lines) == times * len(notes)
    assert len(lines) <= 2 * (KEYS_LIMIT + NAMED_LIMIT + len(EVENTS))
