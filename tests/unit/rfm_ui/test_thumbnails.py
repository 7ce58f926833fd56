"""Small pictures: all of the view is in them, and each has its own place in the cache."""

from __future__ import annotations

from msgspec.structs import replace

from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.render.request import validate
from rfm_ui.model.thumbnails import THUMBNAIL_PX, cache_name, small


def test_every_preset_has_a_small_picture_of_its_own() -> None:
    pictures = [small(preset.request) for preset in PRESETS.values()]
    for picture in pictures:
        assert (picture.width_px, picture.height_px) == THUMBNAIL_PX
        assert validate(non_defaults(picture)) == picture
    assert len({cache_name(picture) for picture in pictures}) == len(pictures)


def test_other_colours_are_another_picture() -> None:
    view = small(PRESETS["home"].request)
    assert cache_name(view) == cache_name(replace(view))
    assert cache_name(view) != cache_name(replace(view, palette="magma"))
