"""Presets: all of them rendered, as the gallery of the docs is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rfm_runtime import Client
from rfm_runtime.client.presets import preset_params
from rfm_runtime.engine.frames import folder_name
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.image_metadata import from_text
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.commands import cli, document, environment, two_lines
from tests.whole import KIND

pytestmark = pytest.mark.integration

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


@pytest.fixture
def env(running: Runtime, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, RFM_STATE_DIR=running.settings.state_dir, RFM_RUNTIME_DIR=running.settings.runtime_dir)


@pytest.mark.scenario("J43")
def test_every_preset_has_a_thumbnail_with_colours(env: dict[str, str], tmp_path: Path) -> None:
    made = document("presets", "--thumbnails", "small", "--size", "64x40", env=env, cwd=tmp_path)
    assert made["files"] == [f"small/{name}.png" for name in PRESETS]
    for name, preset in PRESETS.items():
        with Image.open(tmp_path / "small" / f"{name}.png") as picture:
            picture.load()
            pixels = np.asarray(picture.convert("RGB"))
            request = from_text(picture.text)
        assert (picture.size, request.samples, request.re) == ((64, 40), 8, preset.request.re)
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, name
        assert 12 < pixels.mean() < 235, f"{name} is all dark or all light"
    again = cli("presets", "--thumbnails", "small", env=env, cwd=tmp_path)
    assert "exists and was kept" in two_lines(again, 2)[0]


@pytest.mark.scenario("J43")
def test_the_gallery_of_the_docs_has_every_preset_and_they_are_of_all_families() -> None:
    page = (GALLERY.parent / "gallery.md").read_text(encoding="utf-8")
    for name, preset in PRESETS.items():
        assert f"gallery/{name}.png" in page
        assert preset.title in page
        with Image.open(GALLERY / f"{name}.png") as picture:
            picture.load()
            shown = from_text(picture.text)
        # A picture of what the preset is now.
        wanted = {"width_px": shown.width_px, "height_px": shown.height_px, "samples": shown.samples}
        assert shown == type(shown)(**{**preset_params(name), **wanted}), f"{name}: render the gallery again"
    assert len(PRESETS) >= 24
    assert {preset.request.formula for preset in PRESETS.values()} == set(FORMULAS)


@pytest.mark.scenario("J40")
def test_a_render_that_does_not_say_how_many_iterations_gets_them_and_its_picture_says(client: Client) -> None:
    view = {"re": "-0.7452", "im": "0.113", "width": "0.0075", "width_px": 160, "height_px": 100}
    operation = client.submit(KIND, {**view, "max_iter": 0})
    result = operation.result(60)
    said = result.request
    assert said.max_iter >= 500
    told = client.submit(KIND, {**view, "max_iter": said.max_iter}).result(60)
    np.testing.assert_array_equal(result.n, told.n)


@pytest.mark.scenario("J40")
def test_an_assignment_that_is_repeated_meanwhile_takes_nothing_back(running: Runtime, client: Client) -> None:
    view = {"re": "-0.7452", "im": "0.113", "width": "0.0075", "width_px": 80, "height_px": 50, "max_iter": 0}
    # Its frame cannot be opened until the broker has said the assignment again.
    folder = running.folders.frames / folder_name("in-the-way")
    (folder / "frame.json").mkdir(parents=True)
    operation = client.submit(KIND, view, operation_id="in-the-way")
    # The broker repeats it every second; the third try comes one and a half after the first.
    eventually(lambda: running.logs().count('"frame_not_opened"') >= 3, what="it is tried for longer than that")
    (folder / "frame.json").rmdir()
    assert operation.result(60).request.max_iter >= 500
