"""What is said of the connection across the window: nothing while all is well, else what helps comes first."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.link import LinkState
from rfm_runtime.client.verifying import Trouble
from rfm_ui.model.link import LinkNews
from rfm_ui.model.strip import Offer, Situation, strip_of

pytestmark = pytest.mark.scenario("J110", "J112")

AWAY = Situation(LinkNews("reconnecting", 0.0, attempt=3, next_try_s=5.0, reason="refused"), as_of="as of 14:03:05")
OFFERS = {word for part in get_args(Offer) for word in get_args(part)}

news = st.builds(
    LinkNews,
    st.sampled_from(get_args(LinkState)),
    st.just(0.0),
    attempt=st.integers(0, 3),
    reason=st.sampled_from(["", "refused", "a\x1bb"]),
    hint=st.sampled_from(["", "look there"]),
    no_runtime=st.booleans(),
    code=st.sampled_from(["", "token_expired", "unauthorized"]),
    trouble=st.sampled_from(["", "unheard of", *get_args(Trouble)]),
)
situations = st.builds(
    Situation, news, st.just("lab"), st.sampled_from(["", "as of 14:03:05"]), st.integers(0, 3), st.booleans(),
    st.booleans(), st.booleans(), st.sampled_from(["", "14:10:00"]), st.sampled_from(["", "Left out: that."]),
    st.just("Not everything was sent"),
)  # fmt: skip


@given(situations)
def test_whatever_happens_it_is_said_in_printable_words_and_with_what_exists(now: Situation) -> None:
    shown = strip_of(now, 1.0)
    if shown is None:
        assert now.news.state == "live" or not now.as_of or now.news.no_runtime
        return
    assert shown.title
    assert f"{shown.title}{shown.text}".isprintable()
    assert set(shown.offers) <= OFFERS
    if now.as_of and now.news.state != "live":
        assert now.as_of in f"{shown.title}{shown.text}"
    if now.waiting and now.news.state != "live":
        assert "pending" in shown.offers


def test_while_all_is_well_nothing_is_said() -> None:
    assert strip_of(Situation(LinkNews("live", 0.0)), 9.0) is None
    # A connection that is away for a moment.
    assert strip_of(replace(AWAY, as_of=""), 9.0) is None


def test_what_is_old_has_its_time_and_the_next_try() -> None:
    shown = strip_of(replace(AWAY, waiting=2), 0.0)
    assert shown is not None
    assert shown.title == "No connection: what is shown is as of 14:03:05"
    assert shown.text == "Attempt 3 in 5 s: refused. 2 commands will be sent when it is back."
    assert shown.offers == ("retry", "pending")


def test_a_sign_in_that_has_expired_keeps_what_is_shown() -> None:
    expired = LinkNews("unauthorised", 0.0, code="token_expired", reason="the token has expired")
    shown = strip_of(Situation(expired, as_of="as of 14:03:05"), 0.0)
    assert shown is not None
    assert shown.title == "Your sign-in has expired"
    assert "What is shown is as of 14:03:05." in shown.text
    assert shown.offers == ("sign_in",)


def test_a_sign_in_that_ends_soon_and_words_that_wait_to_be_read() -> None:
    live = Situation(LinkNews("live", 0.0), expires="14:10:00", told="Left out: that.")
    first = strip_of(live, 0.0)
    assert first is not None
    assert (first.title, first.offers) == ("Your sign-in ends at 14:10:00", ("sign_in",))
    second = strip_of(replace(live, expires=""), 0.0)
    assert second is not None
    assert (second.text, second.offers) == ("Left out: that.", ("dismiss",))
