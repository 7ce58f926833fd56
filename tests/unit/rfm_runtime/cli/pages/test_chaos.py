"""The page of a chaos run: it needs nothing else, escapes what others wrote, and says what the verdict says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from rfm_runtime.cli.pages.chaos import chaos_page
from rfm_runtime.core.pages.words import Local
from rfm_runtime.testing.chaos.checker import Verdict, Violation
from rfm_runtime.testing.chaos.harness import Happened, Outcome, Sample
from rfm_runtime.testing.chaos.plan import plan
from tests.pages import Page, check_page
from tests.past import NOW_MS

pytestmark = pytest.mark.scenario("J30")

HOSTILE = "</td><script>alert(1)</script>"


def outcome(*violations: Violation) -> Outcome:
    happened = [Happened(one, one.at_s, one.at_s + one.lasts_s, "pid 7") for one in plan(5, 300.0)]
    happened[3].note = "not done: it was not there"
    happened[-1].ended_s = None
    samples = [Sample(float(i), 2 * i, 9 * i, 0.1, {"broker": 80 * 2**20}, {"broker": 30}) for i in range(300)]
    verdict = Verdict(611, {"completed": 600, "failed": 11}, {"near": 2744, HOSTILE: 3}, 598, 13, violations)
    return Outcome(verdict, happened, samples, 312.0, 12.0)


def written(made: Outcome) -> Page:
    return check_page(chaos_page(made, seed=5, seconds=300.0, local=Local(UTC), now_ms=NOW_MS).markup)


def test_a_run_in_which_nothing_was_lost() -> None:
    made = outcome()
    page = written(made)
    assert "Nothing was lost" in page.text
    assert "Broken promises" not in page.text
    assert "--seed 5" in page.text
    assert "2,744" in page.text
    assert f"{len(made.happened) - 1} faults met a runtime" in page.text
    assert HOSTILE in page.text
    # Each fault that was done has its mark.
    marks = [one for one in page.all("rect") if one.get("height") == "0.6"]
    assert len(marks) == len(made.happened) - 1


def test_a_run_with_violations_says_which_promises_were_broken() -> None:
    page = written(outcome(Violation(1, "lost", "journal", "op-1", HOSTILE)))
    assert "Promises were broken" in page.text
    assert "1 violation" in page.text
    assert HOSTILE in page.text


def test_a_run_that_was_over_at_once() -> None:
    made = Outcome(Verdict(0, {}, {}, 0, 0, ()), [], [], 0.0, 0.0)
    assert "0 faults" in written(made).text


def test_a_run_that_was_interrupted_says_so_and_how_long_it_was() -> None:
    page = written(replace(outcome(), interrupted_s=12.5))
    assert "interrupted after 12.5\N{NO-BREAK SPACE}s of 5\N{NO-BREAK SPACE}m" in page.text
    assert "It was interrupted" in page.text
    assert "interrupted" not in written(outcome()).text


def test_no_mark_of_an_axis_is_rounded_to_another() -> None:
    """An axis of 0, 0.5 and 1 said 0, 0 and 1."""
    markup = chaos_page(outcome(), seed=5, seconds=300.0, local=Local(UTC), now_ms=NOW_MS).markup
    for label in ("0 s", "0.5 s", "1 s"):
        assert markup.count(f">{label}</span>") > 0
