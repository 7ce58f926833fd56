"""What has the shape of a secret, or is one of ours, is masked; what people write is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.observe.redaction import MASK, hide, redacted
from tests.tokens import signed

pytestmark = pytest.mark.scenario("G10")

KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByqGSM49\n-----END PRIVATE KEY-----\n"
TOKEN = signed()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"no operation {TOKEN} here", TOKEN),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        (f"cannot load {KEY}", "MIGHAgEAMBMG"),
        (f"cut off {KEY[:40]}", KEY[:27]),
        (f"{TOKEN[:-10]}", TOKEN[:-10]),
    ],
)
def test_shapes_are_masked(text: str, secret: str) -> None:
    assert secret not in redacted(text)
    assert MASK in redacted(text)
    assert redacted({"a": [text, 1], "b": (text,)}) == {"a": [redacted(text), 1], "b": [redacted(text)]}


@pytest.mark.parametrize(
    "text",
    [
        "a token is needed as bearer",
        "basic reporting with a bearer of news",
        "01M8E3G2WRN831QMR9HCEMGARP ended: completed",
        "render.escape_time",
        "eyJ",
        "GET /v1/operations/eyeJay.png",
    ],
)
def test_what_people_write_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_a_secret_that_is_known_is_masked_wherever_it_is() -> None:
    hide("q7xVt2-known_secret")
    hide("short")
    assert redacted("in q7xVt2-known_secret, and short") == f"in {MASK}, and short"


@given(st.text(max_size=200))
def test_any_text_is_a_text_and_in_linear_time(text: str) -> None:
    assert isinstance(redacted(text), str)
    assert isinstance(redacted("-----BEGIN PRIVATE KEY-----" * 50 + text + "eyJ" * 2000), str)


@pytest.mark.timeout(20)
def test_what_begins_like_a_token_again_and_again_takes_no_time() -> None:
    """It took minutes: looked for anew from each beginning to the end."""
    text = "eyJ" * 200_000
    assert redacted(text) == text
    assert redacted(f"{text} {TOKEN}") == f"{text} {MASK}"
    assert redacted(f"x_{TOKEN} eyJabcdefg.short") == f"x_{MASK} eyJabcdefg.short"
