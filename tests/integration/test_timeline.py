"""A period from far away agrees with the journal to the last operation, and has nothing that may not be seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.core.operations.queries import during
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.operation import TERMINAL_STATES
from rfm_runtime.protocol.timeline import By
from rfm_runtime.testing.runtime import eventually
from tests.commands import cli, environment
from tests.counting import check, journal
from tests.tokens import SECRET

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E11", "J104")]

BINS = 40
SIMULATED = (
    "--operations",
    "40",
    "--at-once",
    "12",
    "--duration",
    "1",
    "--seed",
    "7",
    "--fail",
    "20",
    "--cancel",
    "20",
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, state_dir=state, authenticator=JWTAuthenticator(SECRET)) as started:
        yield started


@pytest.fixture(scope="module")
def since_ms(server: ProgressReportingServer, tmp_path_factory: pytest.TempPathFactory) -> int:
    """When a seeded run began; it is over."""
    home = tmp_path_factory.mktemp("home")
    (home / "token").write_text(server.token)
    began_ms = time.time_ns() // 1_000_000
    env = environment(home, RFM_URL=server.url, RFM_TOKEN_FILE=str(home / "token"))
    done = cli("simulate", *SIMULATED, env=env)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return began_ms


def test_a_seeded_run_as_the_journal_has_it(server: ProgressReportingServer, state: Path, since_ms: int) -> None:
    with Client(url=server.url, token=server.token) as client:
        width_ms = 1 + (time.time_ns() // 1_000_000 - since_ms) // BINS
        ways: tuple[By, ...] = ("kind", "owner", "state")
        for by in ways:
            reply = client.timeline(since_ms=since_ms, width_ms=width_ms, bins=BINS, by=by, rows=3)
            written = journal(state)
            assert len(written) >= 40
            assert {"completed", "failed", "canceled"} <= {one.state for one in written}
            check(reply.everything, written, reply)
            named = [row.name for row in reply.rows]
            for row in reply.rows:
                check(row, [one for one in written if getattr(one, by) == row.name], reply)
            rest = [one for one in written if getattr(one, by) not in named]
            assert reply.others == len({getattr(one, by) for one in rest})
            if rest:
                assert reply.rest is not None
                check(reply.rest, rest, reply)


@pytest.mark.usefixtures("since_ms")
def test_a_part_of_it_has_what_was_there_then(server: ProgressReportingServer, state: Path) -> None:
    written = journal(state)
    middle_ms = sorted(one.created_at_ms for one in written)[len(written) // 2]
    until_ms = middle_ms + 500
    meant = {one.operation_id for one in written if during(one.created_at_ms, one.ended_at_ms, middle_ms, until_ms)}
    assert meant - {one.operation_id for one in written if middle_ms <= one.created_at_ms < until_ms}
    with Client(url=server.url, token=server.token) as client:
        found = client.history(since_ms=middle_ms, until_ms=until_ms, during=True)
        reply = client.timeline(since_ms=middle_ms, width_ms=100, bins=5)
        kind = reply.rows[0].name
        of_kind = client.timeline(since_ms=middle_ms, width_ms=100, bins=5, kinds=[kind])
    assert {one.operation_id for one in found} == meant
    assert reply.everything.operations == len(meant)
    assert of_kind.everything == msgspec.structs.replace(reply.rows[0], name="")


def test_what_still_runs_runs_until_now(server: ProgressReportingServer) -> None:
    client = Client(url=server.url, token=server.token)
    with client, ProgressReporter("endless", "loop"):
        eventually(lambda: any(one.state == "running" for one in client.operations(kinds=["endless"])), what="it runs")
        (one,) = client.operations(kinds=["endless"])
        assert one.started_at_ms is not None
        reply = client.timeline(since_ms=one.created_at_ms, width_ms=60_000, bins=2, kinds=["endless"])
        assert reply.everything.busy_ms == (reply.now_ms - one.started_at_ms, 0)
        assert (reply.everything.peak, reply.everything.completed) == ((1, 0), (0, 0))


@pytest.mark.scenario("G3")
def test_nobody_is_shown_more_than_he_may_see(server: ProgressReportingServer, since_ms: int) -> None:
    authenticator = JWTAuthenticator(SECRET)
    with Client(url=server.url, token=server.token) as client:
        eventually(lambda: all(one.state in TERMINAL_STATES for one in client.operations()), what="nothing runs")
        whole = client.timeline(since_ms=since_ms, width_ms=60_000, bins=10)
    assert whole.everything.operations >= 40
    kind = whole.rows[0].name
    with Client(url=server.url, token=authenticator.issue("eve", ["viewer"])) as viewer:
        assert viewer.timeline(since_ms=since_ms, width_ms=60_000, bins=10).everything == whole.everything
    with Client(url=server.url, token=authenticator.issue("eve", ["viewer"], kinds=[kind])) as narrow:
        seen = narrow.timeline(since_ms=since_ms, width_ms=60_000, bins=10)
        assert [row.name for row in seen.rows] == [kind]
        assert seen.everything.operations == whole.rows[0].operations
        hidden = narrow.timeline(since_ms=since_ms, width_ms=60_000, bins=10, kinds=[whole.rows[1].name])
        assert (hidden.everything.operations, hidden.rows) == (0, ())
        assert {one.kind for one in narrow.history(since_ms=0, during=True)} == {kind}
    with Client(url=server.url, token=authenticator.issue("rita", ["reporter"])) as reporter:
        own = reporter.timeline(since_ms=since_ms, width_ms=60_000, bins=10, by="owner")
        assert (own.everything.operations, own.rows, sum(own.everything.peak)) == (0, (), 0)


def test_too_many_bins_are_refused(server: ProgressReportingServer) -> None:
    with Client(url=server.url, token=server.token) as client, pytest.raises(BadRequestError, match="512"):
        client.timeline(since_ms=0, width_ms=1000, bins=513)
