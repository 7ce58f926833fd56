"""Parts that are started before the broker they belong to: the command is over when they are up, and they wait."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from tests.commands import cli, document, environment, output

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J66", "D12")]


@pytest.fixture
def stopped() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_gateway_and_an_engine_are_started_wait_and_go_on_by_themselves(tmp_path: Path, stopped: ExitStack) -> None:
    names = ("broker", "gateway", "engine")
    hosts = {name: environment(tmp_path / name, RFM_WORKERS="1") for name in names}
    keys = {name: output("keys", "init", env=hosts[name]).strip() for name in names}
    for name in ("gateway", "engine"):
        output("keys", "allow", name, keys[name], env=hosts["broker"])
    output("keys", "allow", "gateway", keys["gateway"], env=hosts["engine"])
    first = free_ports(5)
    address = f"127.0.0.1:{first}"
    there = ("--broker", address, "--broker-key", keys["broker"], "--daemon")

    stopped.callback(cli, "stop", "--now", env=hosts["gateway"])
    started = cli("gateway", *there, env=hosts["gateway"])
    assert started.returncode == 0, started
    assert f"waiting for the broker at {address}" in started.stderr
    assert "started at ws://127.0.0.1:" in started.stderr
    assert "ready at" not in started.stderr
    # It is there, can be asked, and can be stopped.
    waiting = cli("status", "--json", env=hosts["gateway"])
    assert (waiting.returncode, json.loads(waiting.stdout)["ready"]) == (6, False), waiting
    assert cli("gateway", *there, env=hosts["gateway"]).returncode != 0, "it runs already"
    stopped_once = document("stop", env=hosts["gateway"])
    assert stopped_once["stopped"]
    assert cli("gateway", *there, env=hosts["gateway"]).returncode == 0

    stopped.callback(cli, "stop", "--now", env=hosts["engine"])
    told = document("engine", *there, "--data", f"127.0.0.1:{first + 4}", env=hosts["engine"])
    assert told["ready"] is False
    assert told["detail"].startswith(f"waiting for the broker at {address}")

    stopped.callback(cli, "stop", "--now", env=hosts["broker"])
    output("broker", "--address", address, "--daemon", env=hosts["broker"])
    eventually(
        lambda: cli("status", env=hosts["gateway"]).returncode == 0, timeout_s=30, what="the gateway has found it"
    )
    picture = tmp_path / "x.png"
    output("render", "seahorse", "--size", "32x24", "-o", str(picture), env=hosts["gateway"])
    assert picture.stat().st_size > 0


def test_a_gateway_for_others_says_in_words_that_it_has_not_heard_of_the_broker(
    tmp_path: Path, stopped: ExitStack
) -> None:
    """With names for others its /readyz wants a token, and answers like every other request."""
    env = environment(tmp_path, RFM_ALLOWED_HOSTS="render.example.org")
    key = output("keys", "init", env=environment(tmp_path / "broker")).strip()
    output("keys", "init", env=env)
    there = ("--broker", f"127.0.0.1:{free_ports(4)}", "--broker-key", key, "--daemon")
    stopped.callback(cli, "stop", "--now", env=env)
    assert cli("gateway", *there, env=env).returncode == 0
    asked = cli("status", env=env)
    assert asked.returncode == 6, asked
    assert "{" not in asked.stdout
    assert "not ready: this gateway has not heard of the broker" in asked.stdout
