"""A view is named as a preset or as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.cli.locations import file_params, params_of
from rfm_runtime.errors import BadRequestError, SetupError
from rfm_runtime.render.files import kfp, toml
from rfm_runtime.render.presets import PRESETS

VIEW = {"re": "0.5", "im": "0", "width": "1"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_presets_and_files() -> None:
    Path("view.toml").write_text('re = "0.5"\nim = "0"\nwidth = "1"\n', encoding="utf-8")
    Path("view").write_bytes(Path("view.toml").read_bytes())
    Path("home").write_bytes(Path("view.toml").read_bytes())
    assert params_of("home") == toml.non_defaults(PRESETS["home"].request)
    assert params_of("./home") == VIEW
    assert params_of("view.toml") == params_of("view") == VIEW


def test_what_is_not_understood_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("view.kfr").write_text("Re: 0.5\nIm: 0\nZoom: 4\nRotate: 5\nSlopes: 1\nFlat: 0\n", encoding="utf-8")
    params = file_params(Path("view.kfr"), width_px=100, height_px=100)
    assert (params["width"], params["mirror"]) == ("1", True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "view.kfr: neither turned nor stretched" in said.err
    assert "view.kfr: not understood: Slopes, Flat" in said.err


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("hom", "hom"),
        ("nowhere.toml", "cannot read nowhere.toml"),
        ("empty.toml", "empty.toml: the file is empty"),
        ("broken.toml", "broken.toml: the file is not valid TOML"),
        ("colours.kfp", "colours.kfp has no view"),
        ("picture.jpg", "picture.jpg: files called .jpg"),
        (".", "cannot read ."),
    ],
)
def test_refusals_name_the_file(location: str, said: str) -> None:
    Path("empty.toml").touch()
    Path("broken.toml").write_text("re =", encoding="utf-8")
    Path("picture.jpg").write_bytes(b"\xff\xd8")
    Path("colours.kfp").write_text(kfp.write(PRESETS["home"].request), encoding="utf-8")
    with pytest.raises((BadRequestError, SetupError)) as caught:
        params_of(location)
    assert said in caught.value.message
    assert caught.value.hint
