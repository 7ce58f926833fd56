"""Broker, engine and gateway with folders and keys of their own, over tcp: nothing is shared but the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rfm_runtime import Client
from rfm_runtime.testing.crowd import metrics
from rfm_runtime.testing.hosts import Host, free_ports, hosts, introduce
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.commands import cli, environment, output, two_lines
from tests.whole import ENDLESS, KIND, QUICK, Recorder, digest

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J66")]


class Three(NamedTuple):
    """One host for each part."""

    broker: Host
    engine: Host
    gateway: Host


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder = tmp_path_factory.mktemp("h")
    first = free_ports(5)
    with hosts(folder, "b", "e", "g") as (broker, engine, gateway):
        introduce(broker, engine, gateway)
        there = {"broker_address": f"127.0.0.1:{first}", "broker_key": broker.key}
        broker.start("broker", broker_address=there["broker_address"])
        data = f"127.0.0.1:{first + 4}"
        engine.start("engine", **there, data_address=data, node="east", workers=1, drain_timeout_s=1.0)
        gateway.start("gateway", **there, node="west")
        yield Three(broker, engine, gateway)
        logs = "".join(host.running.logs() for host in (broker, engine, gateway))
        assert "Traceback" not in logs, logs
        secrets = [(host.keys / "own.secret").read_text().strip() for host in (broker, engine, gateway)]
        assert not any(secret in logs for secret in secrets)


@pytest.fixture
def running(three: Three) -> Runtime:
    return three.gateway.running


@pytest.fixture
def client(running: Runtime) -> Iterator[Client]:
    with Client(url=running.url, token=running.info.token) as connected:
        yield connected


def test_each_host_has_its_part_alone(three: Three) -> None:
    assert [sorted(host.running.processes()) for host in three] == [["broker"], ["engine-0"], ["gateway-0"]]
    assert [sorted(path.name for path in host.running.folders.runtime.glob("*.sock")) for host in three] == [
        ["command.sock", "control.sock", "feed.sock", "ingest.sock"],
        ["data-engine-0.sock"],
        [],
    ]


def test_a_render_is_computed_there_and_watched_and_fetched_here(running: Runtime, client: Client) -> None:
    watcher = Recorder(running)
    operation = client.submit(KIND, QUICK)
    operation.result(60)
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)
    assert watcher.types(operation.id)[-1] == "completed"
    again = client.submit(KIND, QUICK)
    assert again.wait(60) == "completed"
    assert digest(client, operation.id) == digest(client, again.id)
    assert client.fetch_tiles(operation.id, width=8, height=8).rgb
    watcher.close()


def test_a_cancel_reaches_a_worker_on_another_host(client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)
    eventually(lambda: operation.state == "running", what="it runs")
    operation.cancel()
    assert operation.wait(20) == "canceled"


def test_metrics_are_of_all_hosts(running: Runtime, client: Client) -> None:
    client.submit(KIND, QUICK).wait(60)
    found = metrics(running.url)
    assert found['rfm_broker_connections_total{what="welcomed"}'] >= 6
    assert found['rfm_engine_connections_total{what="welcomed"}'] >= 1


def test_a_command_on_a_host_without_gateway_says_where_to_ask(three: Three, tmp_path: Path) -> None:
    env = environment(tmp_path, RFM_RUNTIME_DIR=three.broker.options["runtime_dir"])
    assert "RFM_URL" in two_lines(cli("ps", env=env), 3)[1]
    assert "no gateway is here: ask one on another host" in output("status", env=env)


def test_a_picture_is_rendered_there_by_a_command_here(three: Three, client: Client, tmp_path: Path) -> None:
    """With an address and a token, from a machine that has no part of it."""
    running = three.gateway.running
    env = environment(tmp_path, RFM_URL=running.url, RFM_TOKEN_FILE=str(running.folders.token))
    before = len(client.operations())
    done = cli("render", "seahorse", "--size", "64x48", "-o", str(tmp_path / "x.png"), env=env)
    assert done.returncode == 0, done
    assert (tmp_path / "x.png").stat().st_size > 0
    assert len(client.operations()) == before + 1
    on_the_way = environment(tmp_path, RFM_RUNTIME_DIR=three.broker.options["runtime_dir"])
    assert "RFM_URL" in two_lines(cli("render", "seahorse", "-o", str(tmp_path / "y.png"), env=on_the_way), 3)[1]


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["engine"], "--broker HOST:PORT"),
        (["gateway", "--broker", "127.0.0.1:9"], "--broker-key"),
        (["engine", "--broker", "127.0.0.1:9", "--broker-key", "1" * 64], "--data HOST:PORT"),
        (["broker", "--address", "127.0.0.1:9"], "rfm-runtime keys init"),
        (["broker", "--address", "here"], "broker_address = "),
        (["broker"], "--address HOST:PORT"),
        (["broker", "--with", "engine", "--address", "127.0.0.1:9"], "--data HOST:PORT"),
        (["broker", "--with", "cheese"], "choose engine or gateway"),
        (["engine", "--data", "0.0.0.0:80"], "data_address = "),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path, command: list[str], wanted: str) -> None:
    done = cli(*command, env=environment(tmp_path))
    assert wanted in two_lines(done, 2)[1]


def test_a_port_that_is_taken_is_said(three: Three, tmp_path: Path) -> None:
    with hosts(tmp_path, "other") as (other,):
        address = three.broker.running.settings.broker_address
        env = environment(
            tmp_path, RFM_STATE_DIR=other.options["state_dir"], RFM_RUNTIME_DIR=other.options["runtime_dir"]
        )
        what, _ = two_lines(cli("broker", "--address", address, env=env), 3)
        assert "is taken" in what
