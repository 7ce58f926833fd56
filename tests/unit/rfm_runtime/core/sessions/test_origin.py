"""Which pages may reach a server through somebody's browser."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rfm_runtime.config.origins import host_of, origin_of
from rfm_runtime.core.sessions.origin import Reach, foreign

pytestmark = pytest.mark.scenario("G4")

LOOPBACK = Reach(8765)
NAMED = Reach(8765, hosts=("lab.example",), origins=("https://board.example", "http://tool.example:3000"))
TLS = Reach(8765, secure=True)


@pytest.mark.parametrize(
    ("reach", "host", "origin"),
    [
        (LOOPBACK, "127.0.0.1:8765", None),
        (LOOPBACK, "localhost", None),
        (LOOPBACK, "[::1]:8765", None),
        (LOOPBACK, "LOCALHOST:8765", "http://localhost:8765"),
        (LOOPBACK, "127.0.0.1:8765", "http://localhost:8765"),
        # Through a tunnel whose end has another port.
        (LOOPBACK, "localhost:9000", "http://localhost:9000"),
        (LOOPBACK, "192.0.2.7:8765", "http://192.0.2.7:8765"),
        # Behind a proxy that ends TLS.
        (NAMED, "lab.example", "https://lab.example"),
        (NAMED, "lab.example:443", "https://lab.example"),
        (NAMED, "lab.example", "https://board.example:443"),
        (NAMED, "localhost:8765", "http://tool.example:3000"),
        (TLS, "anything.example:8765", "https://anything.example:8765"),
    ],
)
def test_ours_and_those_that_are_allowed(reach: Reach, host: str, origin: str | None) -> None:
    assert foreign(reach, [host], [] if origin is None else [origin]) is None


@pytest.mark.parametrize(
    ("reach", "host", "origin"),
    [
        (LOOPBACK, "evil.example", None),
        (LOOPBACK, "evil.example:8765", "http://evil.example:8765"),
        (LOOPBACK, "localhost.evil.example", None),
        (LOOPBACK, "127.0.0.1.evil.example", None),
        (LOOPBACK, "localhost:8765", "https://evil.example"),
        (LOOPBACK, "localhost:8765", "http://localhost:3000"),
        (LOOPBACK, "localhost:8765", "http://localhost"),
        (LOOPBACK, "localhost:8765", "null"),
        (LOOPBACK, "localhost:8765", ""),
        (LOOPBACK, "localhost:8765", "file://"),
        (LOOPBACK, "localhost:8765", "http://localhost:8765/"),
        (LOOPBACK, "localhost:8765", "http://localhost:8765@evil.example"),
        (LOOPBACK, "localhost:8765", "http://user@localhost:8765"),
        (LOOPBACK, "localhost:8765", "http://localhost:99999"),
        (NAMED, "lab.example", "https://lab.example:8765"),
        (NAMED, "lab.example", "https://board.example.evil.example"),
        (NAMED, "lab.example", "http://board.example"),
        (NAMED, "other.example", None),
        # Somebody on the path serves a page under the same name.
        (TLS, "lab.example:8765", "http://lab.example:8765"),
        (TLS, "lab.example:8765", "https://evil.example"),
        (Reach(8765, secure=True, hosts=("lab.example",)), "other.example", None),
    ],
)
def test_others_are_refused(reach: Reach, host: str, origin: str | None) -> None:
    assert foreign(reach, [host], [] if origin is None else [origin]) is not None


def test_two_of_a_header_are_refused() -> None:
    assert foreign(LOOPBACK, ["localhost", "localhost"], [])
    assert foreign(LOOPBACK, ["localhost:8765"], ["http://localhost:8765", "http://localhost:8765"])


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_picture_of_another_page_is_refused_and_a_link_is_not(site: str) -> None:
    assert foreign(LOOPBACK, ["localhost:8765"], [], (site, "no-cors"))
    assert foreign(LOOPBACK, ["localhost:8765"], [], (site, "navigate")) is None
    assert foreign(LOOPBACK, ["localhost:8765"], [], ("same-origin", "cors")) is None


NAMES = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}", fullmatch=True)
PORTS = st.integers(1, 65535)


@given(NAMES, NAMES, PORTS, PORTS, st.sampled_from(["http", "https"]))
def test_a_page_with_a_name_of_its_own_never_gets_in(
    name: str, other: str, port: int, own_port: int, scheme: str
) -> None:
    reach = Reach(own_port, hosts=("lab.example",), origins=("https://board.example",))
    if name in ("localhost", "lab.example") or other in ("localhost", "lab.example") or name == "board.example":
        return
    origin = f"{scheme}://{name}:{port}"
    assert foreign(reach, ["localhost:8765"], [origin])
    assert foreign(reach, [f"{other}:{own_port}"], [])
    assert foreign(reach, [f"{name}:{port}"], [origin])


@given(st.text(max_size=40))
def test_any_text_is_an_origin_and_a_host_or_none(text: str) -> None:
    for found in (origin_of(text), host_of(text)):
        assert found is None or found[-1] is None or 1 <= found[-1] <= 65535
