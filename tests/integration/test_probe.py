"""`rfm-runtime probe`: single points, by the kernels that render them and by the oracle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.commands import cli, two_lines

pytestmark = pytest.mark.scenario("J37")

LOCATIONS = json.loads((Path(__file__).parents[1] / "data" / "locations.json").read_text(encoding="utf-8"))["locations"]
SHALLOW = [one for one in LOCATIONS if one["id"] in ("mandelbrot_home", "seahorse_interior", "burning_ship_armada")]


def probed(*arguments: str) -> list[dict[str, Any]]:
    done = cli("probe", *arguments, "--json", env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    points: list[dict[str, Any]] = json.loads(done.stdout)["points"]
    return points


@pytest.mark.parametrize("place", SHALLOW, ids=[one["id"] for one in SHALLOW])
def test_the_truth_samples_of_a_view_in_a_file(place: dict[str, Any], tmp_path: Path) -> None:
    view = tmp_path / "view.toml"
    texts = {key: place[key] for key in ("formula", "re", "im", "width")}
    samples = place["oracle_samples"]
    if "FS sign" in texts["formula"]:
        # Fractalshades' ships have y' = … - b: c is the conjugate of ours.
        texts["formula"], texts["im"] = texts["formula"].split()[0], f"-{texts['im']}"
        samples = [{**sample, "dy": -sample["dy"]} for sample in samples]
    view.write_text(
        "".join(f'{key} = "{value}"\n' for key, value in texts.items()) + f"max_iter = {place['max_iter']}\n"
    )
    points = " ".join(f"{sample['dx']},{sample['dy']}" for sample in samples)
    answers = probed(str(view), "--points", points, "--bailout", "1000")
    for sample, answer in zip(samples, answers, strict=True):
        assert answer["n"] == sample["n"]
        if sample["n"] < 0:
            assert answer["mu"] is None
            assert answer["interior"] in (True, None)
        else:
            assert answer["mu"] == pytest.approx(sample["mu"], abs=1.5e-6)
            assert answer["interior"] is False
            assert answer["distance"] > 0


def test_the_kernels_and_the_oracle_agree_on_a_preset() -> None:
    points = "0,0 0.3,0.2 -0.45,0.1"
    fast, true = probed("home", "--points", points), probed("home", "--points", points, "--truth")
    assert [one["n"] for one in fast] == [one["n"] for one in true]
    assert (fast[0]["n"], fast[0]["period"]) == (-1, 1)
    for one, other in zip(fast, true, strict=True):
        assert (one["mu"] is None) == (other["mu"] is None)
        if one["mu"] is not None:
            assert one["mu"] == pytest.approx(other["mu"], abs=2e-6)


@pytest.mark.scenario("J46")
def test_a_point_where_newtons_step_is_undefined_never_ends(tmp_path: Path) -> None:
    view = tmp_path / "view.toml"
    view.write_text('formula = "newton"\nre = "0"\nim = "0"\nwidth = "4"\n')
    fast, true = (probed(str(view), "--points", "0,0 0.25,0", *how) for how in ((), ("--truth",)))
    for points in (fast, true):
        assert (points[0]["n"], points[0]["mu"]) == (-1, None)
    assert fast[1]["n"] == true[1]["n"] > 0


def test_a_formula_that_has_to_be_compiled_first_is_waited_for_with_a_word(tmp_path: Path) -> None:
    env = {**os.environ, "RFM_CACHE_DIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    cold, warm = (cli("probe", "armada", "--json", env=env) for _ in range(2))
    assert cold.stderr == "computing; the first point of a formula has it compiled\n"
    assert (warm.stderr, warm.stdout) == ("", cold.stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere"),
        (["home", "--points", "0;1"], "not a pair of numbers"),
        (["home", "--points", ""], "it can have 1 to"),
        (["home", "--bailout", "1"], "--bailout is 1"),
    ],
)
def test_what_cannot_be_probed_is_said(arguments: list[str], says: str) -> None:
    done = cli("probe", *arguments, env=dict(os.environ))
    assert says in two_lines(done, 2)[0]
