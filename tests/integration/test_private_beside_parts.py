"""A host that has a part of a runtime by its settings still has runtimes of its own for single commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import cli, environment, output

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J66")]


def test_a_private_runtime_is_all_here_whatever_part_the_settings_say(tmp_path: Path) -> None:
    env = environment(
        tmp_path, RFM_PARTS="engine", RFM_BROKER_ADDRESS="192.0.2.1:8770", RFM_DATA_ADDRESS="192.0.2.2:8780"
    )
    picture = tmp_path / "x.png"
    done = cli("render", "seahorse", "--size", "64x48", "-o", str(picture), env=env)
    assert done.returncode == 0, done
    assert picture.stat().st_size > 0
    assert "engine" in output("config", "show", env=env)
