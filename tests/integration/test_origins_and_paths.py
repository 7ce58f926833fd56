"""Pages of others, names that are allowed, what wants a token where others come in, and paths that lead elsewhere."""

from __future__ import annotations

import hashlib
import http.client
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rfm_runtime import Client
from rfm_runtime.errors import BadRequestError, RfmError
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.hostile import Peer
from tests.whole import KIND, QUICK

pytestmark = pytest.mark.integration

CANARY = "nobody may read this"


@pytest.fixture(scope="module")
def behind_a_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """Reached as lab.example, and used by a page of board.example."""
    options = {"allowed_hosts": ["lab.example"], "allowed_origins": ["https://board.example"], "drain_timeout_s": 2.0}
    with runtime(tmp_path_factory.mktemp("rt"), workers=1, **options) as started:
        yield started
        assert "Traceback" not in started.logs(), started.logs()


@pytest.fixture(scope="module")
def picture(behind_a_proxy: Runtime) -> str:
    """The id of a finished render; beside its files, and above them, lies what nobody may read."""
    with Client(url=behind_a_proxy.url, token=behind_a_proxy.info.token) as client:
        operation = client.submit(KIND, QUICK)
        assert operation.wait(60) == "completed"
    artifacts = behind_a_proxy.folders.artifacts
    for folder in (artifacts, artifacts.parent, *artifacts.iterdir()):
        (folder / "canary.txt").write_text(CANARY)
    return operation.id


def ask(running: Runtime, path: str, *, token: bool = True, **headers: str) -> tuple[int, bytes]:
    """Status and body, as the path is written here; asked again while there are too many requests."""
    where = urlsplit(running.url)
    if token:
        headers["Authorization"] = f"Bearer {running.info.token}"

    def answered() -> tuple[int, bytes] | None:
        asked = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
        try:
            asked.putrequest("GET", path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                asked.putheader(name.replace("_", "-"), value)
            asked.endheaders()
            answer = asked.getresponse()
            return None if answer.status == 429 else (answer.status, answer.read())
        finally:
            asked.close()

    return eventually(answered, what="an answer")


# --- origins --------------------------------------------------------------------------------------


@pytest.mark.scenario("G4")
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://board.example", None),
        ("https://BOARD.example:443", None),
        ("http://board.example", 403),
        ("https://board.example.evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_a_page_gets_in_if_its_origin_is_allowed(behind_a_proxy: Runtime, origin: str, status: int | None) -> None:
    if status is None:
        with connect(behind_a_proxy.url, origin=origin) as opened:
            assert "Access-Control-Allow-Origin" not in opened.response.headers
        return
    with pytest.raises(InvalidStatus) as refused, connect(behind_a_proxy.url, origin=origin):
        pass
    assert refused.value.response.status_code == status


@pytest.mark.scenario("G4")
def test_a_name_that_is_allowed_is_answered_and_no_other(behind_a_proxy: Runtime) -> None:
    assert ask(behind_a_proxy, "/healthz", Host="lab.example")[0] == 200
    assert ask(behind_a_proxy, "/healthz", Host="LAB.example:443")[0] == 200
    status, body = ask(behind_a_proxy, "/healthz", Host="evil.example")
    assert status == 403
    assert b"allowed_hosts" in body


@pytest.mark.scenario("G4")
def test_what_a_page_includes_from_elsewhere_is_refused_and_a_link_is_followed(behind_a_proxy: Runtime) -> None:
    included = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    assert ask(behind_a_proxy, "/", **included)[0] == 403
    assert ask(behind_a_proxy, "/", **included | {"Sec_Fetch_Mode": "navigate"})[0] == 200


@pytest.mark.scenario("J3")
def test_where_others_come_in_readiness_and_metrics_want_a_token(behind_a_proxy: Runtime) -> None:
    for path in ("/readyz", "/metrics"):
        assert ask(behind_a_proxy, path, token=False)[0] == 401
        assert ask(behind_a_proxy, path, token=False, Authorization="Bearer wrong")[0] == 401
        assert ask(behind_a_proxy, path)[0] == 200
    assert ask(behind_a_proxy, "/healthz", token=False)[0] == 200


@pytest.mark.scenario("J70")
def test_who_asks_for_too_many_files_at_once_is_told_to_wait(behind_a_proxy: Runtime, picture: str) -> None:
    where = urlsplit(behind_a_proxy.url)
    path = f"/v1/operations/{picture}/artifacts/n.npy"
    statuses = set()
    unread = []
    try:
        for _ in range(100):
            one = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
            one.request("GET", path, headers={"Authorization": f"Bearer {behind_a_proxy.info.token}"})
            answer = one.getresponse()
            unread.append(answer)
            statuses.add(answer.status)
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1
                break
    finally:
        for answer in unread:
            answer.close()
    assert statuses == {200, 429}
    assert ask(behind_a_proxy, path)[0] == 200


def test_a_file_is_read_as_slowly_as_its_reader_likes(behind_a_proxy: Runtime) -> None:
    """Seven megabytes, more than the system's buffers, by somebody who takes seconds for the first of them."""
    large = QUICK | {"width_px": 1600, "height_px": 1100, "max_iter": 50}
    with Client(url=behind_a_proxy.url, token=behind_a_proxy.info.token) as client:
        operation = client.submit(KIND, large)
        assert operation.wait(60) == "completed"
        whole = client.fetch_artifact(operation.id, "n.npy")
    assert len(whole) > 6 * 2**20
    with Peer(behind_a_proxy.url, receive_bytes=4096) as slow:
        slow.send(
            f"GET /v1/operations/{operation.id}/artifacts/n.npy HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {behind_a_proxy.info.token}\r\n\r\n".encode()
        )
        assert b" 200 " in slow.head()
        content = slow.buffer
        began_s = time.monotonic()
        while time.monotonic() - began_s < 3.0:
            content += slow.socket.recv(2048)
            select.select([], [], [], 0.02)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        while data := slow.socket.recv(65536):
            content += data
    assert hashlib.sha256(content).digest() == hashlib.sha256(whole).digest()


# --- paths ----------------------------------------------------------------------------------------

STEPS = st.sampled_from(
    ["..", ".", "", "canary.txt", "image.png", "journal.db", "etc", "passwd", "{id}", "artifacts", "%00", "~", "*"]
)
WAYS = st.sampled_from(
    [
        lambda text: text,
        lambda text: quote(text, safe=""),
        lambda text: text.replace(".", "%2e"),
        lambda text: text.replace(".", "%2E").replace("/", "%2F"),
        lambda text: text.replace(".", "%252e").replace("/", "%252f"),
        lambda text: text.replace("/", "\\"),
        lambda text: text.replace("/", "%5c"),
        lambda text: text.replace(".", "%c0%ae").replace("/", "%c0%af"),
        lambda text: text.replace(".", "%u002e"),
        lambda text: text.replace("/", "//"),
        lambda text: f"{text}?/../../canary.txt",
        lambda text: f"{text};/../canary.txt",
    ]
)
BASES = st.sampled_from(["/", "/v1/", "/v1/operations/", "/v1/operations/{id}/", "/v1/operations/{id}/artifacts/"])


@pytest.mark.scenario("G12")
def test_no_path_however_it_is_written_leads_to_another_file(behind_a_proxy: Runtime, picture: str) -> None:
    seen = set()

    @given(BASES, st.lists(STEPS, max_size=6).map("/".join), WAYS)
    @settings(max_examples=300, deadline=None)
    def check(base: str, steps: str, way) -> None:
        path = (base + way(steps)).replace("{id}", picture)
        status, body = ask(behind_a_proxy, path)
        seen.add(status)
        assert CANARY.encode() not in body, path
        assert b"root:" not in body, path
        assert b"SQLite format" not in body, path
        assert status in (200, 400, 404, 414), path

    check()
    assert {200, 404} <= seen


@pytest.mark.scenario("G12")
@pytest.mark.parametrize(
    "name",
    ["../canary.txt", "canary.txt", "/etc/passwd", "..", ".", "image.png/../canary.txt", "artifacts.json", "\0", "é"],
)
def test_nor_does_any_name_of_a_file_over_the_connection(behind_a_proxy: Runtime, picture: str, name: str) -> None:
    with (
        Client(url=behind_a_proxy.url, token=behind_a_proxy.info.token) as client,
        pytest.raises((BadRequestError, RfmError)) as refused,
    ):
        client.fetch_artifact(picture, name)
    assert refused.value.code in ("bad_request", "unknown_operation")


def test_what_nobody_may_read_is_there_after_all(behind_a_proxy: Runtime, picture: str) -> None:
    """Or else the tests above would prove nothing."""
    (folder,) = behind_a_proxy.folders.artifacts.glob(f"*{picture}")
    assert (folder / "image.png").exists()
    assert (folder / "canary.txt").read_text() == CANARY
    assert ask(behind_a_proxy, f"/v1/operations/{picture}/artifacts/image.png")[0] == 200
