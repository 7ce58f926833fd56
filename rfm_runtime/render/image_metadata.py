"""A request as text chunks inside a PNG, so that the picture can be rendered again, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.request import RenderRequest, validate

__all__ = ["HOLES_KEY", "REQUEST_KEY", "from_text", "to_text"]

REQUEST_KEY = "rfm-request"

HOLES_KEY = "rfm-holes"


def to_text(request: RenderRequest, holes: Sequence[tuple[int, int, int, int]] = ()) -> dict[str, str]:
    """Chunks to embed, all Latin-1: `Software` for people, the request as JSON for `from_text`.

    holes: x, y, width, height in pixels of what could not be computed; as JSON, and only if there are any.
    """
    text = {"Software": "rfm-runtime", REQUEST_KEY: msgspec.json.encode(request).decode("ascii")}
    return text | ({HOLES_KEY: msgspec.json.encode(holes).decode("ascii")} if holes else {})


def from_text(text: Mapping[str, str]) -> RenderRequest:
    """The request a picture was rendered from, validated. Raises BadRequestError without (valid) chunks."""
    found = text.get(REQUEST_KEY)
    if found is None:
        raise BadRequestError(
            f"the image has no text chunk {REQUEST_KEY!r}",
            hint="only PNG files written by rfm-runtime carry their parameters",
        )
    return validate(found.encode())
