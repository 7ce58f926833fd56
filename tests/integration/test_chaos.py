"""`rfm-runtime chaos` as a user has it: everything is killed at random under load, and nothing is lost."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from rfm_runtime.testing.runtime import eventually
from tests.commands import COMMAND, cli, document, environment, output, two_lines
from tests.pages import check_page

pytestmark = [pytest.mark.integration, pytest.mark.fault]

SEED = "678"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where a run makes its folder. Sockets are in it, so its name is short."""
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        yield Path(folder)


@pytest.fixture
def env(tmp_path: Path, temporary: Path) -> dict[str, str]:
    return environment(tmp_path, TMPDIR=str(temporary))


def performed(*command: str, env: dict[str, str], timeout_s: float = 360.0) -> subprocess.CompletedProcess[str]:
    """A run lasts as long as its faults, and as what they have left to do."""
    return subprocess.run(
        [*COMMAND, *command, "--json"], env=env, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def check_promises(run: dict[str, Any]) -> None:
    """What J30 and F13 ask of a run, whatever happened in it."""
    assert (run["lost"], run["doubled"], run["violations"]) == (0, 0, [])
    assert run["operations"] >= run["submitted"] > 5
    assert run["reported"] > 5
    assert sum(run["outcomes"].values()) == run["operations"]
    assert {"near", "far", "dropping", "slow", "client-near", "client-far"} <= run["events"].keys()
    assert min(run["events"]["near"], run["events"]["client-near"]) > 50
    assert all(one["ended_s"] is not None for one in run["happened"])


@pytest.mark.timeout(400)
@pytest.mark.scenario("F13", "J30")
def test_a_runtime_that_is_killed_frozen_and_cut_off_at_random_loses_and_doubles_nothing(
    env: dict[str, str], tmp_path: Path, temporary: Path
) -> None:
    page = tmp_path / "chaos.html"
    options = ["chaos", "--seconds", "20", "--seed", SEED, "--faults", "kill,freeze,network,clock,descriptors"]
    planned = document(*options, "--plan", env=env)
    done = performed(*options, "--report", str(page), env=env)
    assert done.returncode == 0, done
    run = json.loads(done.stdout)
    check_promises(run)
    assert done.stderr == ""
    assert [{key: one[key] for key in planned[0]} for one in run["happened"]] == planned
    assert sum(one["note"].startswith("not done") for one in run["happened"]) < len(planned) / 2
    assert "Nothing was lost" in check_page(page.read_text(encoding="utf-8")).text
    assert list(temporary.iterdir()) == [], "a run in which all went well leaves nothing"


@pytest.mark.timeout(400)
@pytest.mark.scenario("F7", "J30")
def test_a_disk_of_its_own_is_filled_where_that_is_allowed(env: dict[str, str], temporary: Path) -> None:
    done = performed("chaos", "--seconds", "8", "--seed", "1", "--faults", "disk", env=env)
    if done.returncode == 2:
        assert "leave `disk` out" in two_lines(done, 2)[1]
    else:
        assert done.returncode == 0, done
        run = json.loads(done.stdout)
        assert run["violations"] == []
        assert [one["note"] for one in run["happened"]] == [""] * len(run["happened"]) != []
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.scenario("F13")
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_ten_minutes_of_everything(env: dict[str, str], seed: str) -> None:
    done = performed("chaos", "--seconds", "600", "--seed", seed, env=env, timeout_s=1100)
    assert done.returncode == 0, done
    check_promises(json.loads(done.stdout))


@contextmanager
def under_load(env: dict[str, str], temporary: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run of five minutes that has begun; at the end none of its processes and files is left."""
    started = subprocess.Popen(
        [*COMMAND, "chaos", "--seconds", "300", "--faults", "freeze,starve", "--seed", SEED, *options],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        [folder] = eventually(lambda: list(temporary.glob("rfm-chaos-*")), timeout_s=20, what="it begins")
        record = folder / "records" / "submitter-near.jsonl"
        eventually(lambda: record.exists() and record.stat().st_size > 0, timeout_s=60, what="it is under load")
        family = psutil.Process(started.pid).children(recursive=True)
        assert len(family) > 6
        yield started
    finally:
        started.kill()
        started.communicate()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    assert list(temporary.iterdir()) == []


@pytest.mark.timeout(300)
@pytest.mark.scenario("J30")
def test_ctrl_c_ends_the_faults_and_what_ran_so_far_is_checked(
    env: dict[str, str], tmp_path: Path, temporary: Path
) -> None:
    page = tmp_path / "chaos.html"
    with under_load(env, temporary, "--report", str(page)) as run:
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=240)
        assert run.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted: what ran so far settles and is checked" in err
    assert re.search(r"^interrupted  after \d", out, re.MULTILINE), out
    assert "lost 0, doubled 0" in out
    text = check_page(page.read_text(encoding="utf-8")).text
    assert "interrupted after" in text
    assert "Nothing was lost" in text


@pytest.mark.scenario("J30")
def test_a_second_ctrl_c_stops_everything_it_started_at_once(env: dict[str, str], temporary: Path) -> None:
    with under_load(env, temporary) as run:
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        assert any("Ctrl-C again" in line for line in run.stderr)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 130, err
    assert "Traceback" not in err


@pytest.mark.scenario("J30")
def test_its_plan_is_printed_and_follows_from_the_seed(env: dict[str, str]) -> None:
    once = output("chaos", "--plan", "--seed", SEED, env=env)
    assert once == output("chaos", "--plan", "--seed", SEED, env=env)
    assert once != output("chaos", "--plan", "--seed", "12", env=env)
    assert "killed" in once
    kinds = {one["kind"] for one in document("chaos", "--plan", "--seed", SEED, "--faults", "network", env=env)}
    assert kinds == {"network"}


@pytest.mark.scenario("J30", "I5")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--faults", "kill,fire"], "no kind 'fire'"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--seconds", "1"], "--seconds is 1"),
        (["--seed", "-1"], "--seed"),
        (["--report", "/nowhere/chaos.html"], "/nowhere"),
    ],
)
def test_a_bad_option_is_two_lines(env: dict[str, str], options: list[str], said: str) -> None:
    what, _ = two_lines(cli("chaos", *options, env=env), 2)
    assert said in what


@pytest.mark.scenario("J30", "I4")
def test_a_report_that_exists_is_kept(env: dict[str, str], tmp_path: Path, temporary: Path) -> None:
    page = tmp_path / "chaos.html"
    page.write_text("mine", encoding="utf-8")
    two_lines(cli("chaos", "--report", str(page), env=env), 2)
    assert page.read_text(encoding="utf-8") == "mine"
    assert list(temporary.iterdir()) == []


@pytest.mark.scenario("J30", "I5")
def test_a_folder_whose_name_is_too_long_for_sockets_is_said_with_what_to_do(
    env: dict[str, str], tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    what, hint = two_lines(cli("chaos", env={**env, "TMPDIR": str(deep)}), 2)
    assert "too long" in what
    assert "TMPDIR" in hint
