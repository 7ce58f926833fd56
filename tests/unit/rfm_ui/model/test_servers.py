"""The servers that somebody knows: what may be kept, how one is found, and that nothing secret is kept with them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError
from rfm_ui.model.servers import LOCAL, Server, Servers, of_text, options, to_text

pytestmark = pytest.mark.scenario("J111")

LAB = Server("Lab", "wss://lab.example:8765", ca_file="/ca.pem")
HOME = Server("Home", "ws://127.0.0.1:9000", token_file="/t")

names = st.text("abcÄ ", min_size=1, max_size=5).filter(lambda name: name.strip() != "")
servers = st.builds(
    Server,
    names,
    st.sampled_from(["wss://a:1", "wss://b:2/", " ws://127.0.0.1:3 ", "http://x", "wss://ann@b:2", ""]),
    st.sampled_from(["", "/ca"]),
    st.sampled_from(["", "/cert"]),
    st.sampled_from(["", "/key"]),
    st.sampled_from(["", "/token"]),
)


@given(st.lists(servers, max_size=8))
def test_what_is_kept_is_read_again_and_the_local_one_is_always_there(given_: list[Server]) -> None:
    known = Servers()
    for server in given_:
        with contextlib.suppress(BadRequestError):
            known = known.put(server)
    assert known.all[0] == LOCAL
    assert len({one.name.casefold() for one in known.all}) == len(known.all)
    assert of_text(to_text(known)) == known
    assert known.without(LOCAL.name).all[0] == LOCAL
    for one in known.others:
        assert known.found(one.name.upper()) == one
        assert known.without(one.name).named(one.name) is None


def test_by_name_by_address_or_by_an_address_that_is_new() -> None:
    known = Servers().put(LAB).put(HOME)
    assert [one.name for one in known.all] == ["This machine", "Home", "Lab"]
    assert known.found("lab") == LAB
    assert known.found("wss://LAB.example:8765/") == LAB
    assert known.found("this machine") == LOCAL
    assert known.found("wss://new.example:1") == Server("new.example:1", "wss://new.example:1")
    with pytest.raises(BadRequestError, match="there is no server 'nowhere'") as caught:
        known.found("nowhere")
    assert "'Lab'" in caught.value.hint
    with pytest.raises(BadRequestError, match="no address"):
        known.found("http://x")


def test_one_is_changed_in_its_place_and_no_two_have_one_name() -> None:
    known = Servers().put(LAB).put(HOME)
    assert known.put(Server("Labor", LAB.url), instead_of="Lab").named("Lab") is None
    with pytest.raises(BadRequestError, match="'home' already"):
        known.put(Server("home", LAB.url), instead_of="Lab")
    with pytest.raises(BadRequestError, match="already"):
        known.put(Server("this MACHINE", LAB.url))


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Server("", "wss://a:1"), "no name"),
        (Server("a\nb", "wss://a:1"), "no name"),
        (Server("a", ""), "address is empty"),
        (Server("a", "a:1"), "no address"),
        (Server("a", "wss://ann:secret@a:1"), "a user and a password"),
        (Server("a", "wss://a:1/#code=x"), "sign-in link"),
        (Server("a", "wss://a:1", key="/key"), "no certificate"),
    ],
)
def test_what_cannot_be_kept_says_why(server: Server, said: str) -> None:
    with pytest.raises(BadRequestError, match=said) as caught:
        Servers().put(server)
    assert caught.value.hint
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '[{"name": "x"}]', "[" * 2000, '[{"name":"a","url":"x"}]'])
def test_what_somebody_has_spoiled_is_left_out(text: str) -> None:
    assert of_text(text) == Servers()


def test_how_a_client_is_made_of_one() -> None:
    assert options(LOCAL) == {}
    assert options(LAB, "t") == {"url": LAB.url, "token": "t", "ca_file": "/ca.pem"}
    assert options(Server("a", "wss://a:1", certificate="/c"))["client_cert"] == ("/c", "/c")
    assert options(Server("a", "wss://a:1", certificate="/c", key="/k"))["client_cert"] == ("/c", "/k")
