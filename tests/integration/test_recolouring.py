"""Other colours of what is there: finished renders, and parts of those that are under way."""

from __future__ import annotations

import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from rfm_runtime import Client
from rfm_runtime.engine.frames import folder_name
from rfm_runtime.errors import BadRequestError, InternalError, UnknownOperationError
from rfm_runtime.render.image_metadata import from_text
from rfm_runtime.render.request import validate
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.commands import cli, document, environment, two_lines
from tests.whole import ENDLESS, KIND

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J39")]

VIEW: dict[str, Any] = {
    "re": "-0.7463", "im": "0.1102", "width": "0.02", "width_px": 320, "height_px": 200, "max_iter": 500,
}  # fmt: skip
GREY = (38, 38, 38)


def picture(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def text_of(content: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image.text


@pytest.mark.parametrize(
    ("first", "look"),
    [
        ({}, {"palette": "magma", "density": 1.5, "offset": 0.25, "interior": "#204060"}),
        ({}, {"colouring": "histogram", "bits": 16}),
        ({"slopes": 1.0, "samples": 4}, {"slopes": -0.5, "light_azimuth_deg": 30.0, "palette": "#102030,#ffeecc"}),
        ({"colouring": "distance", "samples": 2}, {"colouring": "field_lines", "dither": True}),
        pytest.param({"distances": True}, {"slopes": 1.0, "colouring": "distance"}, marks=pytest.mark.scenario("J44")),
    ],
)
def test_a_finished_render_is_coloured_again_as_if_it_had_been_rendered_so(
    client: Client, first: dict[str, Any], look: dict[str, Any]
) -> None:
    operation = client.submit(KIND, {**VIEW, **first})
    again = operation.recolour(**look)
    assert from_text(text_of(again)) == validate({**VIEW, **first, **look})
    if "samples" not in first:
        rendered = client.submit(KIND, {**VIEW, **first, **look})
        assert (picture(again) == picture(rendered.result(arrays=False).files["image.png"])).all()
    assert again == operation.recolour(**look)
    # What it was is what it is.
    assert from_text(text_of(operation.result(arrays=False).files["image.png"])) == validate({**VIEW, **first})


def test_the_newest_few_pictures_of_a_frame_are_kept(client: Client, running: Runtime) -> None:
    operation = client.submit(KIND, VIEW)
    for number in range(10):
        operation.recolour(offset=number / 10)
    folder = running.folders.artifacts / folder_name(operation.id)
    assert len(list(folder.glob("recoloured-*.png"))) == len(list(folder.glob("recoloured-*.json"))) == 8
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_what_a_killed_helper_left_goes_with_the_next_picture(client: Client, running: Runtime) -> None:
    operation = client.submit(KIND, VIEW)
    operation.outcome()
    folder = running.folders.artifacts / folder_name(operation.id)
    old, young = (folder / f".recoloured-{name}.png.1" for name in ("old", "young"))
    for left, age_s in ((old, 1000), (young, 0)):
        left.write_bytes(b"half")
        os.utime(left, (time.time() - age_s, time.time() - age_s))
    operation.recolour(palette="magma")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_helper_that_dies_is_an_error_and_the_next_one_does_it(client: Client, running: Runtime) -> None:
    operation = client.submit(KIND, {**VIEW, "width_px": 3000, "height_px": 2000, "max_iter": 50})
    operation.outcome()
    engine = running.processes()["engine-0"]
    workers = {process.pid for process in engine.children(recursive=True)}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(operation.recolour, palette="magma")

        def helper() -> psutil.Process | None:
            return next((one for one in engine.children(recursive=True) if one.pid not in workers), None)

        eventually(helper, what="a helper is there").kill()
        with pytest.raises(InternalError, match="has died"):
            asked.result(30)
    assert picture(operation.recolour(palette="magma")).shape == (2000, 3000, 3)


def test_what_cannot_be_coloured_is_refused_and_says_why(client: Client) -> None:
    operation = client.submit(KIND, VIEW)
    operation.outcome()
    for look, said in (
        ({"width": "0.1"}, "not a matter of colours"),
        ({"pallete": "magma"}, "palette"),
        ({"palette": "viridos"}, "viridis"),
        ({"slopes": 1.0}, "no distances"),
        ({"density": 1e9}, "density"),
    ):
        with pytest.raises(BadRequestError) as refused:
            operation.recolour(**look)
        assert said in f"{refused.value.message} {refused.value.hint}"
    with pytest.raises(UnknownOperationError):
        client.recolour("no-such-operation", palette="magma")
    begun = client.submit(KIND, ENDLESS)
    eventually(lambda: begun.state == "running", what="it runs")
    with pytest.raises(BadRequestError, match="running"):
        client.recolour(begun.id, palette="magma")
    begun.cancel()


def test_the_pixels_of_a_finished_render_in_parts_are_its_picture(client: Client) -> None:
    operation = client.submit(KIND, VIEW)
    whole = picture(operation.result(arrays=False).files["image.png"])
    part = client.fetch_tiles(operation.id, x=64, y=10, width=256, height=190)
    assert (part.x, part.y, part.width, part.height) == (64, 10, 256, 190)
    pixels = np.frombuffer(part.rgb, np.uint8).reshape(190, 256, 3)
    assert (pixels == whole[10:200, 64:320]).all()
    coarse = client.fetch_tiles(operation.id, width=320, height=200, step=8)
    assert (np.frombuffer(coarse.rgb, np.uint8).reshape(25, 40, 3) == whole[::8, ::8]).all()
    for place, said in (
        ({"x": 300, "width": 21, "height": 1}, "not all in the frame"),
        ({"width": 65_536, "height": 2}, "65536 are the limit"),
    ):
        with pytest.raises(BadRequestError, match=said):
            client.fetch_tiles(operation.id, **place)


def test_a_render_under_way_shows_what_is_computed_and_grey_where_nothing_is(client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)

    def seen() -> list[np.ndarray] | None:
        try:
            part = client.fetch_tiles(operation.id, width=ENDLESS["width_px"], height=ENDLESS["height_px"], step=8)
        except (BadRequestError, UnknownOperationError):
            # Accepted, and not in an engine's hands yet.
            return None
        return list(np.frombuffer(part.rgb, np.uint8).reshape(-1, 3))

    pixels = eventually(seen, what="its frame is there")
    assert (np.array(pixels) == GREY).all(axis=1).any()
    operation.cancel()
    assert operation.wait(10) == "canceled"


def test_from_the_command_line(client: Client, running: Runtime, tmp_path: Path) -> None:
    env = environment(tmp_path, RFM_STATE_DIR=running.settings.state_dir, RFM_RUNTIME_DIR=running.settings.runtime_dir)
    operation = client.submit(KIND, VIEW)
    said = document("recolour", operation.id, "--wait", "--palette", "turbo", "-o", "a.png", env=env, cwd=tmp_path)
    assert said["file"] == "a.png"
    content = (tmp_path / "a.png").read_bytes()
    assert len(content) == said["size_bytes"]
    assert json.loads(text_of(content)["rfm-request"])["palette"] == "turbo"
    kept = cli("recolour", operation.id, "--palette", "magma", "-o", "a.png", env=env, cwd=tmp_path)
    what, _ = two_lines(kept, 2)
    assert "exists and was kept" in what
    nothing = cli("recolour", operation.id, "-o", "b.png", env=env, cwd=tmp_path)
    what, hint = two_lines(nothing, 2)
    assert "no colours are named" in what
    assert "--palette" in hint
