"""A runtime that pages of another origin use, and that has a secret in its environment: who gets what."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from rfm_runtime import JWTAuthenticator
from rfm_runtime.security.authority import SECRET_VARIABLE
from rfm_runtime.testing.runtime import runtime
from tests.commands import cli, environment, two_lines

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G12", "J54")]


def test_an_allowed_origin_closes_metrics_and_gateways_alone_have_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "s" * 40)
    with runtime(tmp_path, workers=1, allowed_origins=["https://board.example"], drain_timeout_s=1.0) as running:
        where = urlsplit(running.url)
        for path, token, status in (
            ("/metrics", "", 401),
            ("/readyz", "", 401),
            ("/healthz", "", 200),
            ("/metrics", running.info.token, 200),
        ):
            asked = http.client.HTTPConnection(str(where.hostname), where.port, timeout=10)
            # As a proxy on this machine asks.
            asked.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            assert asked.getresponse().status == status, path
            asked.close()
        # Whether it is ready is not for a reporter to know, which is another thing than not being ready.
        reporter = {"RFM_URL": running.url, "RFM_TOKEN": JWTAuthenticator("s" * 40).issue("rep", ["reporter"])}
        what, todo = two_lines(cli("status", env=environment(tmp_path / "elsewhere") | reporter), 5)
        assert "rep (reporter) may not" in what
        assert todo
        supervisor = psutil.Process(running.info.pid)
        has = {
            process.cmdline()[process.cmdline().index("--name") + 1]: SECRET_VARIABLE in process.environ()
            for process in supervisor.children()
            if "--name" in process.cmdline()
        }
        assert has == {name: name.startswith("gateway") for name in has}
        assert {name.partition("-")[0] for name in has} == {"broker", "engine", "gateway"}
        below = [process for child in supervisor.children() for process in child.children(recursive=True)]
        assert below, "workers"
        assert not any(SECRET_VARIABLE in process.environ() for process in below)
