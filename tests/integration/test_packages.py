"""Formulas of installed packages: what a package needs to have, and what one that is faulty does to nobody else."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from rfm_runtime import Client
from rfm_runtime.errors import BadRequestError
from rfm_runtime.testing.runtime import runtime
from tests.commands import cli, document, environment, two_lines
from tests.whole import KIND

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J42")]

MODULE = '''
from rfm_kernels.formulas import Formula, product, squared


def step(z, c, _p):
    """z² + c, by a package."""
    x, y = squared(z)
    return x + c[0], y + c[1]


def remembering(z, c, p):
    """z² + c + p·z"""
    x, y = squared(z)
    more = product(p, z)
    return x + c[0] + more[0], y + c[1] + more[1]


def branching(z, c, _p):
    """A branch, which no step may have."""
    x, y = squared(z)
    if x > y:
        x, y = y, x
    return x + c[0], y + c[1]


twin = Formula(step)
branches = Formula(branching)
leaning = Formula(remembering, parameters=2)
no_formula = 5


def before(z, c, p):
    """The Phoenix, by a package."""
    x, y = squared(z[:2])
    more = product(p, z[2:])
    return x + c[0] + more[0], y + c[1] + more[1], z[0], z[1]


remembers = Formula(before, words=4, parameters=2)
no_words = Formula(before, words=3, parameters=2)
no_degree = Formula(step, degree=float("nan"))
'''

ENTRIES = """
[rfm_runtime.formulas]
twin = theirs.formulas:twin
branches = theirs.formulas:branches
leaning = theirs.formulas:leaning
broken = theirs.formulas:not_there
wrong = theirs.formulas:no_formula
remembers = theirs.formulas:remembers
no_words = theirs.formulas:no_words
no_degree = theirs.formulas:no_degree
asserts = theirs.asserts:formula
leaves = theirs.leaves:formula
mandelbrot = theirs.formulas:leaning
"""

VIEW = {"re": "-0.6", "im": "0.1", "width": "3", "width_px": 80, "height_px": 50, "max_iter": 200}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As pip leaves one behind."""
    site = tmp_path / "site"
    (site / "theirs").mkdir(parents=True)
    (site / "theirs" / "__init__.py").touch()
    (site / "theirs" / "formulas.py").write_text(MODULE, encoding="utf-8")
    (site / "theirs" / "asserts.py").write_text("assert False, 'never'", encoding="utf-8")
    (site / "theirs" / "leaves.py").write_text("import sys\nsys.exit('by itself')", encoding="utf-8")
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRIES))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_packages_formula_is_rendered_listed_probed_and_not_taken_for_ours(package: Path, tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=1.0) as running:
        with Client(url=running.url, token=running.info.token) as client:
            twin, ours, leaning, upright, remembers, phoenix = (
                client.submit(KIND, {**VIEW, **more}).result(120)
                for more in (
                    {"formula": "twin"},
                    {"formula": "mandelbrot"},
                    {"formula": "leaning", "p": "0.1-0.2i"},
                    {"formula": "leaning"},
                    {"formula": "remembers", "p": "-0.5"},
                    {"formula": "phoenix", "p": "-0.5"},
                )
            )
            np.testing.assert_array_equal(twin.n, ours.n)
            np.testing.assert_array_equal(upright.n, ours.n)
            assert (leaning.n != ours.n).any()
            np.testing.assert_array_equal(remembers.n, phoenix.n)
            for name, said in (
                ("broken", "not_there"),
                ("wrong", "cannot be loaded"),
                ("asserts", "AssertionError: never"),
                ("leaves", "SystemExit: by itself"),
                ("no_words", "3 words"),
                ("no_degree", "degree"),
                ("twinn", "twin"),
            ):
                with pytest.raises(BadRequestError) as refused:
                    client.submit(KIND, {**VIEW, "formula": name})
                assert said in f"{refused.value.message} {refused.value.hint}"
            branches = client.submit(KIND, {**VIEW, "formula": "branches"})
            assert branches.wait(120) == "failed"
            assert branches.info is not None
            assert branches.info.error is not None
            line = 1 + MODULE.splitlines().index("    if x > y:")
            assert f"formulas.py, line {line}: TypeError" in branches.info.error.message
            assert "no branches" in (branches.info.error.hint or "")
            with pytest.raises(BadRequestError, match="power means nothing"):
                client.submit(KIND, {**VIEW, "power": 3})
        env = environment(tmp_path, PYTHONPATH=str(package))
        listed = document("formulas", env=env)
        names = {one["name"] for one in listed["formulas"]}
        assert {"twin", "leaning", "remembers", "mandelbrot"} <= names
        assert not names & {"broken", "wrong", "asserts", "leaves", "no_words", "no_degree"}
        view = tmp_path / "view.toml"
        view.write_text('formula = "twin"\nre = "-0.6"\nim = "0.1"\nwidth = "3"\nmax_iter = 200\n')
        probed = document("probe", str(view), "--points", "0.4,0.2", env=env)
        view.write_text('re = "-0.6"\nim = "0.1"\nwidth = "3"\nmax_iter = 200\n')
        assert probed == document("probe", str(view), "--points", "0.4,0.2", env=env)
        view.write_text('formula = "twin"\nre = "-0.6"\nim = "0.1"\nwidth = "3"\nmax_iter = 200\n')
        what, _ = two_lines(cli("probe", str(view), "--truth", env=env), 2)
        assert "the oracle does not know" in what
