"""What somebody pastes to sign in, and what he is told when it is not taken. What it was is never said."""

from __future__ import annotations

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.link import LinkNews
from rfm_ui.model.sign_in import Link, link_of, refusal, token_of

pytestmark = pytest.mark.scenario("J110")


@pytest.mark.parametrize("text", ["abc.def", " abc.def\n", "Bearer abc.def", "bearer  abc.def "])
def test_a_token_however_it_was_copied(text: str) -> None:
    assert token_of(text) == "abc.def"


@pytest.mark.parametrize(
    "text", ["", "  ", "se cret", "secret\x00", "gehëim-secret", "s" * 9000, "https://a/#code=secret"]
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        token_of(text)
    assert caught.value.hint
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://lab.example:8765/#code=abc", "wss://lab.example:8765"),
        (" http://127.0.0.1:8765/#code=abc\n", "ws://127.0.0.1:8765"),
        ("https://[::1]:8765/#code=abc", "wss://[::1]:8765"),
        ("https://lab.example/rfm/#code=abc", "wss://lab.example/rfm"),
    ],
)
def test_a_link_as_the_command_prints_it(text: str, url: str) -> None:
    assert link_of(text) == Link(url, "abc")
    assert "abc" not in repr(link_of(text)), "whoever logs it logs no secret"


@pytest.mark.parametrize(
    "text",
    ["", "secret", "https://a:8765/", "https://a:1/#code=", "ftp://a/#code=secret", "https:///#code=secret",
     "https://a:b/#code=secret", "https://ann@a:1/#code=secret", "https://a:1/#code=" + "secret" * 90],
)  # fmt: skip
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        link_of(text)
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_why_somebody_is_not_let_in() -> None:
    expired = LinkNews("unauthorised", 0.0, code="token_expired")
    wrong = LinkNews("unauthorised", 0.0, code="unauthorized", reason="closed by the server (4501: x)")
    revoked = LinkNews("unauthorised", 0.0, code="unauthorized", reason="closed by the server (4503: revoked)")
    titles = {
        refusal(expired).title,
        refusal(wrong).title,
        refusal(wrong, has_token=False).title,
        refusal(wrong, by_link=True).title,
        refusal(revoked).title,
    }
    assert len(titles) == 5
    assert refusal(expired, by_link=True).title == "Your sign-in has expired"
    assert all(refusal(news).advice for news in (expired, wrong, revoked))
