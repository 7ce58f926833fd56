"""Tokens at the gateways of a started runtime: who comes in, and with what everybody else is turned away."""

from __future__ import annotations

import http.server
import json
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rfm_runtime import Client, JWTAuthenticator
from rfm_runtime.errors import ForbiddenError, UnauthorizedError, UnavailableError
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import DoRevoke, Principal, Reply, pack_request, unpack
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.testing.crowd import metrics
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from rfm_runtime.transport import sockets
from tests.commands import COMMAND, cli, document, output, two_lines
from tests.commands import environment as command_environment
from tests.programs import Script, elsewhere, ended, environment, named
from tests.tokens import SECRET, crafted, jwks, key_pair, signed
from tests.whole import KIND, QUICK

pytestmark = pytest.mark.integration

STEPS = """
from rfm_runtime import ProgressReporter
with ProgressReporter("test", "outlives") as reporter:
    reporter.report_progress(10)
    print("begun")
    input()
    reporter.report_progress(90)
"""

RSA, EDWARDS = key_pair("rsa"), key_pair("ed25519")
PUBLIC = jwks(main=RSA, other=EDWARDS)


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("rt")
    secret, public = folder / "secret", folder / "keys.json"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    public.write_text(PUBLIC)
    options = {
        "token_secret_file": str(secret),
        "token_public_keys": str(public),
        "gateways": 2,
        "workers": 1,
        "connections_per_user": 64,
    }
    with runtime(folder, drain_timeout_s=1.0, **options) as started:
        yield started
        assert {"gateway-0", "gateway-1"} <= set(started.processes()), started.logs()
        assert "Traceback" not in started.logs(), started.logs()
        # Nothing that is a secret, and no token, is in what was written.
        for word in (SECRET, started.info.token, signed().partition(".")[0] + "."):
            assert word not in started.logs()


def closed_with(running: Runtime, token: str, *, header: bool) -> int:
    """The close code of a connection that shows this token in its header, or in `hello`."""
    headers = {"Authorization": f"Bearer {token}"} if header else None
    with connect(running.url, additional_headers=headers, proxy=None) as socket:
        if not header:
            socket.send(hello(token))
        with pytest.raises(ConnectionClosed) as closed:
            # Goodbye comes first.
            list(iter(lambda: socket.recv(timeout=10), None))
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


def hello(token: str) -> str:
    return json.dumps(
        {"type": "hello", "id": 1, "ts": 0, "data": {"token": token, "client": {"name": "test", "version": "1"}}}
    )


HOSTILE: dict[str, Callable[[], str]] = {
    "no token": lambda: "",
    "garbage": lambda: "a.b.c",
    "another secret": lambda: signed("x" * 32),
    "alg none": lambda: signed("", "none"),
    "alg None": lambda: crafted({"alg": "None", "typ": "JWT"}),
    "HS256 of the public keys' text": lambda: crafted({"alg": "HS256", "typ": "JWT"}, PUBLIC.encode()),
    "RS256, signed with the secret": lambda: crafted({"alg": "RS256", "typ": "JWT"}),
    "kid is a path": lambda: crafted({"alg": "HS256", "typ": "JWT", "kid": "../../../dev/null"}, b""),
    "kid is a URL": lambda: signed(key_pair("rsa"), "RS256", {"kid": "http://127.0.0.1:1/keys"}),
    "kid is huge": lambda: signed(key_pair("rsa"), "RS256", {"kid": "k" * 5000}),
    "kid is another key's": lambda: signed(RSA, "RS256", {"kid": "other"}),
    "a key in the header": lambda: signed(key_pair("rsa"), "RS256", {"jku": "http://127.0.0.1:1/keys"}),
    "no aud": lambda: signed(aud=None),
    "another aud": lambda: signed(aud="somebody"),
    "another iss": lambda: signed(iss="somebody"),
    "no iss": lambda: signed(iss=None),
    "no exp": lambda: signed(exp=None),
    "no iat": lambda: signed(iat=None),
    "no jti": lambda: signed(jti=None),
    "no sub": lambda: signed(sub=None),
    "expired, of another secret": lambda: signed("x" * 32, exp=int(time.time()) - 60),
    "not yet valid": lambda: signed(nbf=int(time.time()) + 120),
    "issued in the future": lambda: signed(iat=int(time.time()) + 120),
    "a refresh token": lambda: signed(typ="Refresh"),
    "a refresh token, otherwise": lambda: signed(token_use="refresh"),
    "an identity token": lambda: signed(RSA, "RS256", token_use="id"),
    "critical extensions": lambda: signed(headers={"crit": ["b64"], "b64": True}),
}


@pytest.mark.scenario("G1", "J55")
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_whoever_shows_what_is_no_token_is_turned_away(running: Runtime, make: Callable[[], str]) -> None:
    token = make()
    assert closed_with(running, token, header=False) == CloseCode.INVALID_TOKEN
    if token:
        assert closed_with(running, token, header=True) == CloseCode.INVALID_TOKEN


@pytest.mark.scenario("G1", "J55")
@pytest.mark.parametrize(
    "token",
    [
        signed,
        lambda: signed(RSA, "RS256", {"kid": "main"}),
        lambda: signed(EDWARDS, "EdDSA", {"kid": "other"}),
        lambda: JWTAuthenticator(SECRET).issue("ann", ["operator"]),
    ],
)
def test_whoever_shows_a_token_of_the_keys_is_who_it_says(running: Runtime, token: Callable[[], str]) -> None:
    with Client(url=running.url, token=token()) as client:
        assert (client.server.user, client.server.roles) == ("ann", ["operator"])
        assert client.server.token_expires_at is not None


def test_the_runtimes_own_token_stays_valid(running: Runtime) -> None:
    with Client(url=running.url, token=running.info.token) as client:
        assert client.server.roles == ["admin"]


# --- revocation -------------------------------------------------------------------------------


class Session:
    """A client of one token. ended: why it does not try any more."""

    def __init__(self, running: Runtime, token: str) -> None:
        self.states: list[tuple[str, str]] = []
        note = lambda state, details: self.states.append((state, details.get("reason", "")))  # noqa: E731
        self.client = Client(url=running.url, token=token, on_state=note, initial_delay=0.05)

    @property
    def is_live(self) -> bool:
        return self.client.state == "live"

    def ended(self) -> str:
        """Waits for it."""
        eventually(lambda: self.client.state in ("unauthorised", "closed"), what="its end")
        return self.states[-1][1]


@contextmanager
def sessions(running: Runtime, token: str, count: int) -> Iterator[list[Session]]:
    """So many of one token, at both gateways."""
    with ExitStack() as stack:
        opened = [Session(running, token) for _ in range(count)]
        for session in opened:
            stack.callback(session.client.close)
        yield opened


@pytest.fixture
def admin(running: Runtime) -> Iterator[Client]:
    with Client(url=running.url, token=running.info.token, initial_delay=0.05) as client:
        yield client


def sessions_of(running: Runtime) -> list[int]:
    """How many each gateway has."""
    found = metrics(running.url)
    return [round(found[f'rfm_gateway_sessions{{gateway="{name}"}}']) for name in ("gateway-0", "gateway-1")]


@pytest.mark.scenario("G2", "J56")
def test_a_token_revoked_while_it_is_used_ends_its_sessions_at_both_gateways_and_no_other(
    running: Runtime, admin: Client
) -> None:
    with sessions(running, signed(jti="lost"), 12) as lost, sessions(running, signed(jti="kept"), 4) as kept:
        assert min(sessions_of(running)) > 0
        version = admin.revoke(token_id="lost", reason="left in a train")
        began_s = time.monotonic()
        assert all("revoked" in session.ended() for session in lost)
        assert time.monotonic() - began_s < 2.0
        assert all(session.is_live for session in kept)
        assert admin.revoke(token_id="lost") == version
        for header in (True, False):
            assert closed_with(running, signed(jti="lost"), header=header) == CloseCode.REVOKED


@pytest.mark.scenario("G2", "J56")
def test_a_user_whose_tokens_are_revoked_comes_in_with_a_new_one_alone(running: Runtime, admin: Client) -> None:
    now_s = int(time.time())
    old, new = signed(sub="una", iat=now_s - 60, jti="1"), signed(sub="una", iat=now_s, jti="2")
    admin.revoke(user="una", issued_before_ms=now_s * 1000 - 30_000)
    for header in (True, False):
        assert closed_with(running, old, header=header) == CloseCode.REVOKED
    with Client(url=running.url, token=new) as client:
        assert client.server.user == "una"


@pytest.mark.scenario("G2", "G3", "J56")
def test_who_may_not_revoke_is_told_so(running: Runtime) -> None:
    with Client(url=running.url, token=signed(jti="plain")) as client, pytest.raises(ForbiddenError):
        client.revoke(user="eve")


@pytest.mark.scenario("G2", "J56")
def test_revoked_between_two_connections_it_does_not_resume(running: Runtime, admin: Client) -> None:
    """Its gateways are killed and the token revoked meanwhile: successors, which know of it, close it with 4503."""
    with sessions(running, signed(jti="away"), 6) as away:
        for name in ("gateway-0", "gateway-1"):
            running.processes()[name].suspend()
        broker = running.folders.endpoint("command")
        with Peer(broker) as peer:
            peer.revoke(token_id="away")
        for name in ("gateway-0", "gateway-1"):
            running.kill(name)
        assert all("revoked" in session.ended() for session in away)
    eventually(lambda: admin.state == "live", what="the administrator is back")


@pytest.mark.scenario("G2", "J56", "F2")
def test_what_was_revoked_stays_so_when_the_broker_and_everything_is_killed(running: Runtime, admin: Client) -> None:
    token = signed(jti="forever")
    admin.revoke(token_id="forever")
    running.kill("broker")
    eventually(lambda: running.processes().get("broker") is not None, what="another broker")
    eventually(lambda: closed_with(running, token, header=False) == CloseCode.REVOKED, what="it is known")
    with sessions(running, signed(jti="after"), 2) as after:
        eventually(lambda: closes(lambda: admin.revoke(token_id="after")), what="it is revoked")
        assert all("revoked" in session.ended() for session in after)


def closes(action: Callable[[], object]) -> bool:
    """Whether it was done; while the broker is away it is not."""
    try:
        action()
    except UnavailableError:
        return False
    return True


class Peer:
    """Somebody at the broker's own socket, as a gateway is."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = sockets.command_dealer(self._context, endpoint)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()

    def revoke(self, **wanted: str) -> None:
        self._socket.send_multipart(pack_request(1, DoRevoke(Principal("local", ("admin",)), Revoke(**wanted))))
        assert self._socket.poll(10_000)
        assert isinstance(unpack(self._socket.recv_multipart()), Reply)


# --- refresh ----------------------------------------------------------------------------------


def dying(**changes: object) -> str:
    """A token that is still taken, and whose sessions are closed in three seconds."""
    return signed(exp=int(time.time()) - 22, **changes)


@pytest.mark.scenario("G2", "D10", "J57")
def test_a_client_shows_a_fresh_token_before_the_present_one_is_over_and_stays_connected(running: Runtime) -> None:
    asked: list[float] = []

    async def fresh() -> str:
        asked.append(time.monotonic())
        return signed(jti="fresh", roles=["viewer"])

    states: list[str] = []
    note = lambda state, _: states.append(state)  # noqa: E731
    with Client(url=running.url, token=dying(), get_token=fresh, on_state=note) as client:
        began_s = time.monotonic()
        eventually(lambda: asked, what="a fresh token is asked for")
        # Its rights are narrower, at once.
        eventually(lambda: refused(client), timeout_s=3.0, what="the narrower rights apply")
        assert states == ["live"]
        eventually(lambda: time.monotonic() - began_s > 4.5, what="the old one is over")
        assert client.operations() is not None
        assert states == ["live"]
    assert len(asked) == 1


def refused(client: Client) -> bool:
    try:
        client.submit(KIND, QUICK)
    except ForbiddenError:
        return True
    return False


@pytest.mark.scenario("G2", "D10", "J57")
def test_without_a_fresh_token_it_ends_and_is_not_tried_again(running: Runtime) -> None:
    with sessions(running, dying(), 2) as ending:
        for session in ending:
            assert "4003" in session.ended()
            assert [state for state, _ in session.states] == ["live", "unauthorised"]


@pytest.mark.scenario("G2", "D10", "J57")
@pytest.mark.parametrize("first", ["the same", "another user's", "none"])
def test_what_is_no_fresh_token_costs_nothing_until_there_is_one(running: Runtime, first: str) -> None:
    """The callback gives nothing new at first: the session goes on until its end, and then with what there is."""
    token, asked = dying(), []

    def fresh() -> str:
        asked.append("")
        if len(asked) > 1:
            return signed(jti="late")
        if first == "none":
            raise OSError("nobody gives out tokens now")
        return token if first == "the same" else signed(sub="bob")

    states: list[str] = []
    note = lambda state, _: states.append(state)  # noqa: E731
    with Client(url=running.url, token=token, get_token=fresh, on_state=note, initial_delay=0.05) as client:
        eventually(lambda: states == ["live", "reconnecting", "live"], what="it is back with the fresh one")
        assert client.server.user == "ann"
    assert len(asked) == 2


@pytest.mark.scenario("D10", "J57")
@pytest.mark.parametrize("seen", [False, True])
def test_a_callback_that_gives_the_refused_token_again_is_not_asked_for_ever(running: Runtime, seen: bool) -> None:
    """At the first connection, and at a later one: its token has expired meanwhile."""
    asked: list[str] = []
    token = dying() if seen else signed("x" * 32)

    def cached() -> str:
        asked.append("")
        return token

    states: list[str] = []
    note = lambda state, _: states.append(state)  # noqa: E731
    if not seen:
        with pytest.raises(UnauthorizedError, match="no other"):
            Client(url=running.url, token=token, get_token=cached, on_state=note, initial_delay=0.05)
        assert (states[:2], states.count("reconnecting"), len(asked)) == (["reconnecting", "unauthorised"], 1, 1)
        return
    # It is taken for five seconds more, though its session is over: whoever comes back then is closed again.
    delays = {"initial_delay": 1.0, "max_delay": 4.0}
    with Client(url=running.url, token=token, get_token=cached, on_state=note, **delays) as client:
        eventually(lambda: client.state == "unauthorised", timeout_s=30.0, what="it gives up")
    assert len(asked) <= 12


@pytest.mark.scenario("G2", "J57")
def test_a_command_that_watches_reads_its_tokens_file_again(running: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    file = running.folders.state / "watch.token"
    file.write_text(dying())
    monkeypatch.setenv("RFM_URL", running.url)
    monkeypatch.setenv("RFM_TOKEN_FILE", str(file))
    states: list[str] = []
    note = lambda state, _: states.append(state)  # noqa: E731
    fresh = running.folders.state / "watch.fresh"
    fresh.write_text(signed(jti="watch"))
    monkeypatch.delenv("RFM_TOKEN", raising=False)
    with Client(on_state=note) as client:
        # Read when it is told that the first one expires, or when that has closed it.
        fresh.replace(file)
        began_s = time.monotonic()
        eventually(lambda: time.monotonic() - began_s > 4.5, what="the first token is over")
        assert client.operations() is not None
        assert (states[0], states[-1]) == ("live", "live")


@pytest.mark.scenario("G2", "J57")
def test_a_program_elsewhere_outlives_its_first_token(running: Runtime) -> None:
    file = running.folders.state / "ann.token"
    file.write_text(dying(roles=["reporter"], jti="p1"))
    program = Script(STEPS, elsewhere(running) | {"RFM_TOKEN_FILE": str(file)})
    assert program.line() == "begun"
    file.write_text(signed(roles=["reporter"], jti="p2"))
    with Client(url=running.url, token=running.info.token) as client:
        named(client, "outlives")
        began_s = time.monotonic()
        eventually(lambda: time.monotonic() - began_s > 4.5, what="the first token is over")
        program.go_on()
        assert program.end()[0::2] == (0, "")
        assert ended(client, "outlives").state == "completed"


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def env(running: Runtime) -> dict[str, str]:
    """Of commands of the user whose runtime it is."""
    secret = {"RFM_TOKEN_SECRET_FILE": running.settings.token_secret_file}
    return {**environment(running), "RFM_CACHE_DIR": running.settings.cache_dir, **secret}


def piped(token: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that is given a token as it should be: where no list of processes shows it."""
    command = [*COMMAND, "token", *arguments]
    return subprocess.run(command, env=env, input=token, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.scenario("G2", "J58")
def test_a_token_is_issued_looked_at_and_revoked_from_the_command_line(running: Runtime, env: dict[str, str]) -> None:
    token = output("token", "issue", "--user", "cleo", "--roles", "operator,reporter", "--lifetime", "1h", env=env)
    seen = json.loads(piped(token, "inspect", "-", "--json", env=env).stdout)
    assert (seen["valid"], seen["claims"]["sub"], seen["claims"]["roles"]) == (True, "cleo", ["operator", "reporter"])
    with sessions(running, token.strip(), 3) as cleos:
        assert piped(token, "revoke", "-", "--reason", "test", env=env).returncode == 0
        assert all("revoked" in session.ended() for session in cleos)
    done = json.loads(piped("", "revoke", "--user", "cleo", "--issued-before", "1h", "--json", env=env).stdout)
    assert done["version"] > 1
    assert closed_with(running, token.strip(), header=True) == CloseCode.REVOKED
    lines = [json.loads(line) for line in output("audit", "--event", "administered", "--json", env=env).splitlines()]
    assert ("local", "revoke") in {(line["user"], line["request"]) for line in lines}


@pytest.mark.scenario("G2", "J58", "J55")
def test_a_rotated_secret_is_followed_by_running_gateways_and_the_one_before_is_taken_for_a_while(
    running: Runtime, env: dict[str, str]
) -> None:
    file = Path(running.settings.token_secret_file)
    previous = file.with_name("secret.previous")
    token = signed(jti="before", sub="dora")
    try:
        with sessions(running, token, 2) as before:
            assert document("token", "rotate", env=env) == {"file": str(file), "previous": str(previous)}
            assert {stat.S_IMODE(path.stat().st_mode) for path in (file, previous)} == {0o600}
            fresh = output("token", "issue", "--user", "dora", env=env).strip()
            for one in (fresh, token):
                eventually(lambda one=one: all(comes_in(running, one) for _ in range(6)), what="both are taken")
            output("token", "rotate", "--keep", "0s", env=env)
            for one in (fresh, token):
                eventually(lambda one=one: not any(comes_in(running, one) for _ in range(6)), what="none is taken")
            assert not previous.exists()
            # Who was let in by it is let in no more.
            assert all("revoked" in session.ended() for session in before)
    finally:
        file.write_text(SECRET)
        eventually(lambda: all(comes_in(running, signed()) for _ in range(6)), what="the first secret is back")


def comes_in(running: Runtime, token: str) -> bool:
    with connect(running.url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as socket:
        try:
            socket.send(hello(token))
            return '"type":"welcome"' in str(socket.recv(timeout=10))
        except ConnectionClosed:
            return False


@pytest.mark.scenario("G10", "I5")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("revoke",), "name one token, or one user"),
        (("revoke", "--id", "a", "--user", "b"), "name one token, or one user"),
        (("revoke", "--id", "a", "--issued-before", "1h"), "belongs to --user"),
        (("inspect", "none"), "cannot read the token's file"),
        (("revoke", "-"), "no JSON Web Token"),
        (("issue", "--user", "a/b"), "user is 'a/b'"),
        (("issue", "--user", "ann", "--roles", "root"), "roles are"),
        (("issue", "--user", "ann", "--lifetime", "soon"), "is no duration"),
        (("rotate", "--keep", "-5"), "is no duration"),
    ],
)
def test_what_cannot_be_meant_is_said_in_two_lines(env: dict[str, str], arguments: tuple[str, ...], said: str) -> None:
    done = piped("not.a-token", *arguments, env=env)
    what, hint = two_lines(done, 2)
    assert said in what
    assert hint
    assert "not.a-token" not in done.stderr


@pytest.mark.scenario("I5")
def test_without_a_secret_nothing_is_issued_and_what_to_do_is_said(env: dict[str, str]) -> None:
    del env["RFM_TOKEN_SECRET_FILE"]
    what, hint = two_lines(piped("", "issue", "--user", "ann", env=env), 2)
    assert "no secret" in what
    assert "token_secret_file" in hint
    assert "token_secret_file" in two_lines(piped("", "rotate", env=env), 2)[1]


# --- sign-in links ----------------------------------------------------------------------------


def say_code(running: Runtime, code: str, **more: str) -> tuple[dict[str, Any] | None, int]:
    """What is welcomed with this code, or None; the close code."""
    data = {"code": code, "client": {"name": "page", "version": "1"}, **more}
    with connect(running.url, proxy=None) as socket:
        socket.send(json.dumps({"type": "hello", "id": 1, "ts": 0, "data": data}))
        try:
            answer = json.loads(socket.recv(timeout=10))
            first = answer[0] if isinstance(answer, list) else answer
            if first["type"] == "welcome":
                return first["data"], 0
            list(iter(lambda: socket.recv(timeout=10), None))
        except ConnectionClosed as closed:
            return None, closed.rcvd.code if closed.rcvd is not None else 1006
    raise AssertionError("neither welcomed nor closed")


def link(env: dict[str, str], *options: str) -> str:
    """A code, as it is in a link."""
    found = output("token", "link", "--user", "gast", *options, env=env).strip()
    address, _, code = found.partition("/#code=")
    assert address.startswith("http://127.0.0.1:")
    assert len(code) >= 43
    return code


@pytest.mark.scenario("J58", "G10")
def test_a_link_lets_in_once_whichever_gateway_is_asked(running: Runtime, env: dict[str, str]) -> None:
    code = link(env, "--roles", "operator", "--kind", KIND)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: say_code(running, code), range(12)))
    (welcome,) = [welcome for welcome, _ in answers if welcome is not None]
    assert (welcome["user"], welcome["roles"]) == ("gast", ["operator"])
    assert sorted(closed for _, closed in answers) == [0, *[CloseCode.INVALID_TOKEN] * 11]
    # The token is good at all gateways, and again.
    with sessions(running, welcome["token"], 6) as guests:
        assert all(guest.client.server.user == "gast" for guest in guests)
        with pytest.raises(ForbiddenError):
            guests[0].client.revoke(user="ann")
    assert say_code(running, code) == (None, CloseCode.INVALID_TOKEN)
    for secret in (code, welcome["token"]):
        assert secret not in running.logs()
        assert secret not in output("audit", "--json", env=env)


@pytest.mark.scenario("J58")
def test_what_is_no_code_or_too_old_lets_nobody_in(running: Runtime, env: dict[str, str]) -> None:
    code = link(env, "--valid", "1s")
    began_s = time.monotonic()
    eventually(lambda: time.monotonic() - began_s > 1.2, what="it is too old")
    for wrong in (code, "guessed", "ключ"):
        assert say_code(running, wrong) == (None, CloseCode.INVALID_TOKEN)
    assert say_code(running, "") == (None, CloseCode.PROTOCOL)
    assert say_code(running, link(env), token=signed()) == (None, CloseCode.PROTOCOL)
    assert "a link is valid for 1h" in two_lines(piped("", "link", "--user", "a", "--valid", "2h", env=env), 2)[1]
    assert "user is" in two_lines(piped("", "link", "--user", "a/b", env=env), 2)[0]
    assert "roles are" in two_lines(piped("", "link", "--user", "ab", "--roles", "root", env=env), 2)[0]


@pytest.mark.scenario("J58")
def test_while_the_broker_does_not_answer_whoever_has_a_code_is_told_to_come_again(
    running: Runtime, env: dict[str, str]
) -> None:
    code = link(env)
    broker = running.processes()["broker"]
    broker.suspend()
    try:
        assert say_code(running, code) == (None, CloseCode.RESYNC)
    finally:
        broker.resume()


# --- keys of an issuer ------------------------------------------------------------------------


@pytest.mark.scenario("G1", "J59")
def test_keys_of_an_issuer_come_by_its_address_and_a_client_waits_for_them(tmp_path: Path) -> None:
    """By both ways in: in `hello`, and in the handshake's header, which is answered before the upgrade."""
    held = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.wait(20)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PUBLIC.encode())

        def log_message(self, *_: object) -> None:
            """Not in the output of tests."""

    issuer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=issuer.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{issuer.server_address[1]}/keys"
    try:
        with runtime(tmp_path, workers=1, drain_timeout_s=0.0, token_jwks=address) as running:
            token = signed(RSA, "RS256", {"kid": "main"})
            assert closed_with(running, token, header=False) == CloseCode.RESYNC
            with pytest.raises(InvalidStatus) as refused:
                connect(running.url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None)
            assert refused.value.response.status_code == 503
            assert closed_with(running, signed(), header=False) == CloseCode.RESYNC
            with Client(url=running.url, token=running.info.token) as client:
                assert client.operations() == []
            held.set()
            with Client(url=running.url, token=token) as client:
                assert client.server.user == "ann"
            assert closed_with(running, signed(), header=False) == CloseCode.INVALID_TOKEN
    finally:
        held.set()
        issuer.shutdown()
        issuer.server_close()
        thread.join()


@pytest.mark.scenario("A2", "J55")
def test_a_short_secret_is_warned_of_on_loopback_and_refused_where_others_come(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("your-secret-key")
    secret.chmod(0o600)
    env = command_environment(tmp_path, RFM_TOKEN_SECRET_FILE=str(secret), RFM_WORKERS="1")
    what, hint = two_lines(cli("start", "--daemon", "--host", "0.0.0.0", "--allow-insecure", env=env), 2)
    assert "too short for a server that others can reach" in what
    assert "rfm-runtime token rotate" in hint
    started = cli("start", "--daemon", env=env)
    try:
        assert started.returncode == 0, started
        assert "shorter than 32 bytes: whoever sees a token can find it by trying" in started.stderr
    finally:
        output("stop", "--now", env=env)
    output("token", "rotate", env=env)
    secret.chmod(0o644)
    what, hint = two_lines(cli("start", "--daemon", env=env), 2)
    assert "is open to others" in what
    assert "chmod 600" in hint
