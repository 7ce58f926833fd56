"""Events and progress with their bytes: encoded once per encoding, shared by every session."""

from __future__ import annotations

import msgspec

from rfm_runtime.protocol.operation import Operation, OperationEvent, ProgressUpdate
from rfm_runtime.protocol.wire import Encoding, encode

__all__ = ["EncodedEvent", "EncodedProgress"]


class EncodedEvent:
    """An event of the ring.

    about: its operation as it was then, None if that is not known here. Who may see an event has to be known for as
    long as the ring has it, and the operation may be forgotten before.
    """

    __slots__ = ("_bytes", "about", "event")

    def __init__(self, event: OperationEvent, about: Operation | None) -> None:
        self.event = event
        self.about = about
        self._bytes: dict[tuple[Encoding, bool], bytes] = {}

    def bytes_for(self, encoding: Encoding, *, tiles: bool) -> bytes:
        """The envelope, with or without the map of tiles in the final progress."""
        final = self.event.final
        tiles = tiles and final is not None and final.tiles is not None
        found = self._bytes.get((encoding, tiles))
        if found is None:
            event = self.event
            if not tiles and final is not None and final.tiles is not None:
                event = msgspec.structs.replace(event, final=msgspec.structs.replace(final, tiles=None))
            found = self._bytes[encoding, tiles] = encode(event, encoding, ts=event.ts_ms)
        return found


class EncodedProgress:
    """The newest progress of an operation."""

    __slots__ = ("_bytes", "update")

    def __init__(self, update: ProgressUpdate) -> None:
        self.update = update
        self._bytes: dict[tuple[Encoding, bool], bytes] = {}

    def bytes_for(self, encoding: Encoding, *, tiles: bool) -> bytes:
        """The envelope, with or without the map of tiles."""
        tiles = tiles and self.update.tiles is not None
        found = self._bytes.get((encoding, tiles))
        if found is None:
            update = self.update if tiles else msgspec.structs.replace(self.update, tiles=None)
            found = self._bytes[encoding, tiles] = encode(update, encoding, ts=update.measured_at_ms)
        return found
