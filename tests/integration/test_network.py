"""Hosts in network namespaces, cables pulled in the middle of a render: nothing is lost, nothing done twice."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import Client
from rfm_runtime.app.daemon import start_daemon
from rfm_runtime.cli.status import readiness
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.errors import UnavailableError
from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.testing.hosts import Host, introduce
from rfm_runtime.testing.network import CANNOT_MAKE_NETWORKS, Network, can_make_networks, network
from rfm_runtime.testing.runtime import eventually
from tests.whole import KIND, QUICK, SECONDS, Recorder, digest, reached

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not can_make_networks(), reason=CANNOT_MAKE_NETWORKS),
]

BROKER_PORT, DATA_PORT, WATCHERS_PORT = 8770, 8780, 8765

FEED_LOST = "no word from the broker"


class Site:
    """A network with hosts that know each other's keys. `start` starts a part of the runtime on one of them."""

    def __init__(self, folder: Path, wires: Network) -> None:
        self.wires = wires
        self.folder = folder
        self.hosts = {
            name: Host(folder, name, lambda settings, space=space: space.run(partial(start_daemon, settings)))
            for name, space in wires.hosts.items()
        }
        introduce(*self.hosts.values())
        self.main = next(iter(wires.hosts))

    def start(self, name: str, parts: str, **settings: Any) -> None:
        there: dict[str, Any] = {"broker_address": f"{self.wires.addresses[self.main]}:{BROKER_PORT}", "node": name}
        if name != self.main:
            there["broker_key"] = self.hosts[self.main].key
        if parts.endswith("engine"):
            there["data_address"] = f"{self.wires.addresses[name]}:{DATA_PORT}"
        self.hosts[name].start(parts, drain_timeout_s=1.0, **there, **settings)

    def logs(self) -> str:
        return "\n".join(host.running.logs() for host in self.hosts.values() if host.is_running)

    def close(self) -> None:
        # The broker last: whoever has something to say to it still can.
        for host in reversed(self.hosts.values()):
            host.close()


@contextlib.contextmanager
def site(folder: Path, *names: str) -> Iterator[Site]:
    with network(*names) as wires:
        made = Site(folder, wires)
        try:
            yield made
            assert "Traceback" not in made.logs(), made.logs()
        finally:
            for name in names:
                wires.plug(name)
            made.close()


def whole(watcher: Recorder, operation_id: str) -> list[str]:
    """What a watcher saw of an operation whose events are all that there were: each once, none missing."""
    watcher.check_story(operation_id)
    seqs = [event.seq for event in watcher.events(operation_id)]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    return watcher.types(operation_id)


# --- broker and engine here, gateways there, watchers elsewhere ----------------------------------------


@pytest.mark.scenario("J67", "D2", "D14")
@pytest.mark.parametrize("cut", ["main", "front"])
def test_a_cut_between_broker_and_gateway_costs_nothing_but_time(tmp_path: Path, cut: str) -> None:
    """CURVE between the hosts, TLS to the watcher."""
    with site(tmp_path, "main", "front", "desk") as at:
        front, address = at.wires.hosts["front"], at.wires.addresses["front"]
        ca = CertificateAuthority(tmp_path / "ca", dt.datetime.now(dt.UTC))
        ca.init([address])
        at.start("main", "broker+engine", workers=1)
        tls = {"tls_certificate": str(ca.server), "tls_key": str(ca.server_key)}
        at.start("front", "gateway", host=address, port=WATCHERS_PORT, **tls)
        running = at.hosts["front"].running
        assert running.url == f"wss://{address}:{WATCHERS_PORT}"
        there = {"ca_file": str(ca.certificate), "initial_delay": 0.05, "max_delay": 0.5}
        watcher = at.wires.hosts["desk"].run(lambda: Recorder(running, **there))
        nearby = front.run(lambda: Client(url=running.url, token=running.info.token, **there))
        with nearby, contextlib.closing(watcher):
            operation = watcher.client.submit(KIND, SECONDS)
            reached(operation, "tiles")
            at.wires.pull(cut)
            # Longer than ZeroMQ takes to give a connection up.
            why = eventually(lambda: front.run(partial(not_ready, running.info)), timeout_s=20, what="no feed")
            assert FEED_LOST in why
            # Longer than it may go on without knowing whom it has to keep out, too.
            eventually(
                lambda: lost_s(front.run(partial(not_ready, running.info))) > 10.5, timeout_s=30, what="10 s of it"
            )
            with pytest.raises(UnavailableError, match="has not heard of the broker"):
                nearby.submit(KIND, QUICK)
            with pytest.raises(UnavailableError):
                front.run(lambda: Client(url=running.url, token=running.info.token, **there, max_retries=0).close())
            at.wires.plug(cut)
            watcher.await_end(operation.id, timeout_s=120)
            assert whole(watcher, operation.id) == ["accepted", "queued", "started", "completed"]
            eventually(lambda: not front.run(partial(not_ready, running.info)), what="it is ready again")
            again = watcher.client.submit(KIND, SECONDS)
            assert again.wait(120) == "completed"
            assert digest(watcher.client, operation.id) == digest(watcher.client, again.id)


def not_ready(info: ConnectionInfo) -> str:
    """Why not, as /readyz says; "" if it is."""
    ready, why = readiness(info)
    return "" if ready else why


def lost_s(why: str) -> float:
    """For how long it has heard nothing, by what it says."""
    found = re.search(r" for ([0-9.]+) s", why)
    return 0.0 if found is None else float(found[1])


# --- broker and gateway here, engine there --------------------------------------------------------------


@pytest.mark.scenario("J68")
def test_an_engine_that_is_cut_off_for_less_than_its_lease_goes_on(tmp_path: Path) -> None:
    with site(tmp_path, "main", "east") as at:
        at.start("main", "broker+gateway")
        at.start("east", "engine", workers=1)
        running = at.hosts["main"].running
        watcher = at.wires.hosts["main"].run(lambda: Recorder(running))
        with contextlib.closing(watcher):
            operation = watcher.client.submit(KIND, SECONDS)
            reached(operation, "tiles")
            at.wires.pull("east")
            eventually(lambda: watcher.client.operation(operation.id).stale, timeout_s=20, what="its silence is seen")
            at.wires.plug("east")
            watcher.await_end(operation.id, timeout_s=120)
            assert whole(watcher, operation.id) == ["accepted", "queued", "started", "completed"]
            assert watcher.client.operation(operation.id).generation == 1
            again = watcher.client.submit(KIND, SECONDS)
            assert again.wait(120) == "completed"
            assert digest(watcher.client, operation.id) == digest(watcher.client, again.id)


@pytest.mark.scenario("J68")
def test_an_engine_that_is_cut_off_for_longer_is_given_up_and_its_work_goes_on_elsewhere(tmp_path: Path) -> None:
    """What it says for its claim when it is back changes nothing any more."""
    with site(tmp_path, "main", "east", "west") as at:
        at.start("main", "broker+gateway", lease_s=2.0)
        at.start("east", "engine", workers=1)
        running = at.hosts["main"].running
        watcher = at.wires.hosts["main"].run(lambda: Recorder(running))
        with contextlib.closing(watcher):
            operation = watcher.client.submit(KIND, SECONDS)
            reached(operation, "tiles")
            at.wires.pull("east")
            at.start("west", "engine", workers=1)
            eventually(lambda: "requeued" in watcher.types(operation.id), timeout_s=30, what="it is given up")
            reached(operation, "tiles")
            at.wires.plug("east")
            watcher.await_end(operation.id, timeout_s=120)
            story = whole(watcher, operation.id)
            assert story[:3] == ["accepted", "queued", "started"]
            assert story[-1] == "completed"
            assert story.count("requeued") == 1
            assert watcher.client.operation(operation.id).generation == 2
            assert digest(watcher.client, operation.id)
