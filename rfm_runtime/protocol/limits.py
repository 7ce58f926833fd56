"""Size limits of both protocols, each with its unit and the reason for its value."""

from __future__ import annotations

__all__ = [
    "ARTIFACT_HTTP_LIMIT_BYTES",
    "BATCH_LIMIT",
    "CHUNK_LIMIT_BYTES",
    "DETAILS_LIMIT_BYTES",
    "ID_LIMIT",
    "INBOUND_LIMIT_BYTES",
    "INTERNAL_LIMIT_BYTES",
    "LABELS_LIMIT",
    "LABEL_LIMIT",
    "MESSAGE_LIMIT",
    "NAME_LIMIT",
    "OUTBOUND_LIMIT_BYTES",
    "PAGE_LIMIT",
    "PAGE_LIMIT_BYTES",
    "PARAMS_DEPTH",
    "PARAMS_LIMIT_BYTES",
    "PIXELS_LIMIT",
    "PRIORITY_MAX",
    "PRIORITY_MIN",
    "PROGRESS_LIMIT_BYTES",
]

INBOUND_LIMIT_BYTES = 64 * 1024
"""One WebSocket message from a watcher; a deep-zoom request with 10,000 digits fits four times."""

OUTBOUND_LIMIT_BYTES = 4 * 1024 * 1024
"""One WebSocket message to a client; a page of operations stays far below."""

BATCH_LIMIT = 64
"""Envelopes in one inbound message."""

PARAMS_LIMIT_BYTES = 48 * 1024
"""Encoded parameters of one submission: below the inbound limit with room for the envelope."""

PARAMS_DEPTH = 6
"""Lists and objects inside each other below a field of `params`. The decoder's type doubles with each level."""

DETAILS_LIMIT_BYTES = 8 * 1024
"""Encoded `details` of a progress message: they are kept once per operation and sent many times."""

CHUNK_LIMIT_BYTES = 256 * 1024
"""One chunk of an artefact: small enough that a command never waits long behind it."""

PIXELS_LIMIT = 65_536
"""Of one answer to `fetch_tiles`: 192 KiB."""

ARTIFACT_HTTP_LIMIT_BYTES = 8 * 1024 * 1024
"""Largest artefact served by one HTTP answer; `fetch_artifact` has no such limit."""

PROGRESS_LIMIT_BYTES = 64 * 1024
"""One message on `ingest`."""

INTERNAL_LIMIT_BYTES = 16 * 1024 * 1024
"""One message on `command`, `control`, `feed` or `data`."""

PAGE_LIMIT = 500
"""Operations in one page of a snapshot or listing."""

PAGE_LIMIT_BYTES = 512 * 1024
"""One page of operations or events in MessagePack; the same in JSON, escaped at worst, is within the outbound limit."""

ID_LIMIT = 128
NAME_LIMIT = 256
MESSAGE_LIMIT = 2048
LABELS_LIMIT = 32
LABEL_LIMIT = 256
PRIORITY_MIN = -100
PRIORITY_MAX = 100
