"""A view goes round through every file that can keep it, and its raw data are those of the engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from rfm_runtime import Client
from rfm_runtime.render.files import toml
from rfm_runtime.render.request import validate
from rfm_runtime.testing.runtime import Runtime
from tests.commands import cli, document, environment, output, two_lines

pytestmark = pytest.mark.integration

VIEW = ("--re=-0.7463", "--im=0.1102", "--width=0.02", "--size=96x64", "--max-iter=400", "--rotation=30")
COLOURS = ("--palette=magma", "--density=0.75", "--offset=0.25", "--bailout=100")


@pytest.fixture
def env(running: Runtime, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, RFM_STATE_DIR=running.settings.state_dir, RFM_RUNTIME_DIR=running.settings.runtime_dir)


@pytest.mark.scenario("C10")
def test_a_view_goes_through_every_file(client: Client, env: dict[str, str], tmp_path: Path) -> None:
    beside = ("--raw", "a.npz", "--exr", "a.exr", "--save-params", "a.toml")
    first = document("render", *VIEW, *COLOURS, "-o", "a.png", *beside, env=env, cwd=tmp_path)
    assert first["files"] == ["a.npz", "a.exr", "a.toml"]
    result = client.handle(first["operation"]["operation_id"]).result()

    with np.load(tmp_path / "a.npz", allow_pickle=False) as raw:
        n, mu, request = raw["n"], raw["mu"], validate(str(raw["request"]).encode())
    assert np.array_equal(n, result.n)
    escaped = n >= 0
    assert escaped.any()
    assert not escaped.all()
    assert np.array_equal(mu[escaped], result.n[escaped] + result.nf[escaped].astype(np.float64))
    channels = OpenEXR.File(str(tmp_path / "a.exr")).channels()
    assert np.array_equal(channels["N0"].pixels, np.where(escaped, n + 1024, 2**32 - 1))
    assert np.array_equal(channels["NF"].pixels, np.where(escaped, result.nf, 0))
    assert toml.request_of((tmp_path / "a.toml").read_text(encoding="utf-8")) == request
    assert (request.rotation_deg, request.palette, request.bailout) == (30.0, "magma", 100.0)

    picture = (tmp_path / "a.png").read_bytes()
    # Read and written again, each from the last one.
    for source, name in (("a.png", "b.kfr"), ("b.kfr", "c.toml"), ("c.toml", "d.toml")):
        made = name.partition(".")[0]
        saved = ("--save-params", name, "-o", f"{made}.png")
        done = cli("render", "--like", source, *saved, env=env, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (0, 1), done
        assert (tmp_path / f"{made}.png").read_bytes() == picture, source
    assert (tmp_path / "d.toml").read_text(encoding="utf-8") == (tmp_path / "a.toml").read_text(encoding="utf-8")


def test_options_override_a_file(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "old.kfr").write_text("Re: -1.75\nIm: 0.01\nZoom: 40\nSlopes: 1\nIterations: 99\n", encoding="utf-8")
    done = cli("render", "--like", "old.kfr", "--size=64x32", "--im=0", "--json", env=env, cwd=tmp_path)
    assert done.returncode == 0, done
    assert "not understood: Slopes" in done.stderr
    asked = json.loads(done.stdout)
    assert asked["file"] == "old.png"
    params = json.loads(output("show", asked["operation"]["operation_id"], "--json", env=env))["params"]
    # There the imaginary axis points down.
    assert params["mirror"]
    # 4/Zoom is the height, whatever the size.
    assert (params["re"], params["im"], params["width"], params["max_iter"]) == ("-1.75", "0", "0.2", 99)
    what, _ = two_lines(cli("render", "--like", "old.png", "--raw", "old.npz", env=env, cwd=tmp_path), 2)
    assert "old.png exists" in what


def test_a_preset_as_a_file_of_ones_own(env: dict[str, str], tmp_path: Path) -> None:
    text = output("presets", "--toml", "mini", env=env)
    (tmp_path / "mine.toml").write_text(text + 'size_px = "nothing"\n', encoding="utf-8")
    what, todo = two_lines(cli("render", "--like", "mine.toml", env=env, cwd=tmp_path), 2)
    assert "size_px" in what
    assert todo
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    identifier = output(
        *("render", "--like", "mine.toml", "--size=32x32", "--detach", "--save-params", "kept.toml"),
        env=env,
        cwd=tmp_path,
    ).strip()
    assert identifier
    kept = toml.request_of((tmp_path / "kept.toml").read_text(encoding="utf-8"))
    assert (kept.re, kept.width_px, kept.palette) == ("-1.7548776662", 32, "plasma")


@pytest.mark.scenario("J44")
@pytest.mark.parametrize("option", ["--slopes=1", "--distances"])
def test_pictures_that_take_a_derivative_have_it_in_exr(env: dict[str, str], tmp_path: Path, option: str) -> None:
    text = "re = -0.7463\nim = 0.1102\nwidth = 0.02\nwidth_px = 64\nheight_px = 48\nmax_iter = 400\n"
    (tmp_path / "lit.toml").write_text(text, encoding="utf-8")
    assert cli("render", "--like", "lit.toml", option, "--exr", "lit.exr", env=env, cwd=tmp_path).returncode == 0
    planes = {name: channel.pixels for name, channel in OpenEXR.File(str(tmp_path / "lit.exr")).channels().items()}
    assert set(planes) == {"N", "N0", "NF", "T", "DEX", "DEY"}
    escaped = planes["N0"] != 2**32 - 1
    distance = np.hypot(planes["DEX"], planes["DEY"])
    assert (distance[~escaped] == 0).all()
    assert (distance[escaped] > 0).all()
    assert ((planes["T"] >= 0) & (planes["T"] < 1)).all()
    # Beside what did not escape the set is about a pixel away: an estimate is right within a factor of 2.
    beside = escaped[:, 1:] & ~escaped[:, :-1]
    assert beside.any()
    assert np.median(distance[:, 1:][beside]) < 2.0


def test_an_automatic_limit_is_a_number_in_the_files_of_others(env: dict[str, str], tmp_path: Path) -> None:
    view = ("--re=-0.7463", "--im=0.1102", "--width=0.02", "--size=96x64", "--max-iter=auto")
    files = ("--exr", "a.exr", "--save-params", "a.kfr")
    output("render", *view, "-o", "a.png", *files, env=env, cwd=tmp_path)
    found = _limit(tmp_path / "a.kfr")
    assert found >= 500
    assert OpenEXR.File(str(tmp_path / "a.exr")).header()["Iterations"] == found
    output("render", *view, "-o", "b.png", "--save-params", "b.toml", env=env, cwd=tmp_path)
    assert "max_iter = 0" in (tmp_path / "b.toml").read_text(encoding="utf-8")
    later = cli("render", *view, "--detach", "--save-params", "c.kfr", env=env, cwd=tmp_path)
    assert "has none yet" in two_lines(later, 2)[0]
    assert not (tmp_path / "c.kfr").exists()


def _limit(path: Path) -> int:
    line = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("Iterations:"))
    return int(line.partition(":")[2])
