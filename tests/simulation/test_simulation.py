"""Whole systems on a simulated network, clock and disk: the invariants hold, broken rules are found, traces replay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from rfm_runtime.testing.simulation.mutants import MUTANTS
from rfm_runtime.testing.simulation.runner import load, narrated, plain, run, save, shrink
from rfm_runtime.testing.simulation.schedule import NAMES, NUMBER_LIMIT, Config, make

numbers = st.integers(0, NUMBER_LIMIT - 1)
steps = st.lists(st.tuples(st.sampled_from(NAMES), numbers, numbers), max_size=70)
configs = st.builds(
    Config,
    history_events=st.sampled_from([12, 40, 1000]),
    finished_keep=st.sampled_from([3, 100]),
    lease_s=st.sampled_from([6.0, 40.0]),
)


@pytest.mark.scenario("J34")
@pytest.mark.timeout(600)
@settings(max_examples=300, deadline=None)
@given(history=steps, config=configs)
@example(history=[], config=Config())
def test_whatever_happens_nothing_is_lost(history, config):
    violation = run(plain(history, config))
    assert violation is None, "\n".join(narrated(violation.schedule))


@pytest.mark.scenario("J34")
def test_five_hundred_seeds_hold():
    violations = [violation for seed in range(500) if (violation := run(make(seed))) is not None]
    assert violations == [], "\n".join(narrated(shrink(violations[0]).schedule))


@pytest.mark.scenario("J34")
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_rule_broken_on_purpose_is_found_made_small_and_replayed(name, tmp_path):
    with MUTANTS[name]():
        violation = next((found for seed in range(1000) if (found := run(make(seed))) is not None), None)
        assert violation is not None, "not found within a thousand schedules"
        smallest = shrink(violation)
        assert smallest.rule == violation.rule
        assert len(smallest.schedule.steps) <= min(20, len(violation.schedule.steps))
        again = run(load(save(tmp_path, smallest)))
        assert again is not None
        assert (again.rule, again.detail) == (smallest.rule, smallest.detail)
        assert smallest.rule in "\n".join(narrated(smallest.schedule))
    assert run(smallest.schedule) is None, "it is no history that fails without the mutant"


def test_a_seed_is_one_history():
    for seed in range(20):
        schedule = make(seed)
        assert schedule == make(seed)
        assert list(narrated(schedule)) == list(narrated(schedule))
    assert make(1).steps != make(2).steps


def test_every_kind_of_step_does_something():
    """A fault that never happens proves nothing."""
    idle = set(NAMES)
    for seed in range(200):
        for line in narrated(make(seed)):
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[1] in idle and words[2] != "nothing to do":
                idle.discard(words[1])
    assert not idle


def test_steps_can_be_left_out():
    schedule = make(7)
    for missing in range(0, len(schedule.steps), 9):
        assert run(plain(schedule.steps[:missing] + schedule.steps[missing + 1 :], schedule.config)) is None


@pytest.mark.integration
def test_the_command_says_what_it_did(tmp_path: Path):
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-P", "-m", "rfm_runtime.testing.simulation", *arguments]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False)

    good = command("run", "--seeds", "50", "--jobs", "2")
    assert good.returncode == 0, good.stderr
    assert "50 schedules (seeds 0 to 49)" in good.stdout
    assert "0 violations" in good.stdout
    bad = command("run", "--seeds", "20", "--jobs", "1", "--mutant", "publish before journal")
    assert bad.returncode == 1
    assert "published but not on disk" in bad.stdout
    written = sorted((tmp_path / "out" / "simulation").glob("*.json"))
    assert written
    assert command("replay", str(written[0])).returncode == 0
    assert command("replay", str(written[0]), "--mutant", "publish before journal").returncode == 1
    assert "there is no mutant 'nonsense'" in command("run", "--mutant", "nonsense").stderr
