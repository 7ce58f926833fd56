"""A request as text chunks inside a PNG, so that the picture can be rendered again, and back."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.request import RenderRequest, validate

__all__ = ["REQUEST_KEY", "from_text", "to_text"]

REQUEST_KEY = "rfm-request"


def to_text(request: RenderRequest) -> dict[str, str]:
    """Chunks to embed, all Latin-1: `Software` for people, the request as JSON for `from_text`."""
    return {"Software": "rfm-runtime", REQUEST_KEY: msgspec.json.encode(request).decode("ascii")}


def from_text(text: Mapping[str, str]) -> RenderRequest:
    """The request a picture was rendered from, validated. Raises BadRequestError without (valid) chunks."""
    found = text.get(REQUEST_KEY)
    if found is None:
        raise BadRequestError(
            f"the image has no text chunk {REQUEST_KEY!r}",
            hint="only PNG files written by rfm-runtime carry their parameters",
        )
    return validate(found.encode())
