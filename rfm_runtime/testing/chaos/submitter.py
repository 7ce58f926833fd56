"""Somebody who submits, repeats, pauses, re-prioritises and cancels, as a seed says; writes down what he was told.

Lives in the harness's event loop. An operation is his from the moment its submission is answered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.ids import ulid
from rfm_runtime.errors import RfmError
from rfm_runtime.testing.chaos.record import Record
from rfm_runtime.testing.chaos.watchers import Where

__all__ = ["Submitter"]

KIND = "render.escape_time"

QUICK = {"re": "-0.7463", "im": "0.1102", "width": "0.005", "width_px": 160, "height_px": 100, "max_iter": 500}
"""Milliseconds of a core. All are small: hundreds of them have to fit on a small disk."""

LONGER = {**QUICK, "re": "-1.7548776662", "im": "0", "width": "0.07", "width_px": 400, "height_px": 225}
LONGER |= {"tile_px": 32, "max_iter": 160_000, "interior_tests": False}
"""A second of a core, many tiles."""

ENDLESS = {**QUICK, "re": "-0.1", "im": "0.1", "width": "0.01", "max_iter": 1_000_000_000, "interior_tests": False}
"""Nobody waits for its end."""

PAUSE_S = (0.2, 1.2)
"""Between two submissions."""

REQUEST_S = 20.0
AGAIN_S = 0.5
IN_HAND = 12
"""Operations that have not ended; nothing is submitted beside them."""


class Submitter:
    """One of them. `run` works until `stop`; `finish` waits until all that was accepted has ended."""

    def __init__(self, where: Where, record: Record, seed: int) -> None:
        self._where = where
        self._record = record
        self._rng = random.Random(seed)
        self._stopping = asyncio.Event()
        self._stories: set[asyncio.Task[None]] = set()
        self._client: AsyncClient | None = None
        self.accepted = 0
        self.outcomes: dict[str, str] = {}

    async def run(self) -> None:
        """Submit until told to stop."""
        while not self._stopping.is_set():
            try:
                async with self._connect() as self._client:
                    await self._submit_all(self._client)
                    if self._stories:
                        await asyncio.wait(self._stories)
            except RfmError as error:
                self._record.write("trouble", why=error.message)
                await asyncio.sleep(AGAIN_S)
            finally:
                await self._leave()

    def stop(self) -> None:
        """Submit nothing more, and cancel what does not end by itself."""
        self._stopping.set()

    def _connect(self) -> AsyncClient:
        async def fresh() -> str:
            await asyncio.sleep(AGAIN_S)
            return self._where.token()

        return AsyncClient(self._where.url(), self._where.token(), get_token=fresh, max_delay=1.0, name="chaos")

    async def _submit_all(self, client: AsyncClient) -> None:
        while not self._stopping.is_set():
            if len(self._stories) < IN_HAND:
                story = asyncio.create_task(self._story(client, ulid(), ulid()))
                self._stories.add(story)
                story.add_done_callback(self._stories.discard)
            await self._pause(*PAUSE_S)

    async def _leave(self) -> None:
        for story in self._stories:
            story.cancel()
        await asyncio.gather(*self._stories, return_exceptions=True)

    async def _pause(self, low_s: float, high_s: float) -> None:
        try:
            async with asyncio.timeout(low_s + (high_s - low_s) * self._rng.random()):
                await self._stopping.wait()
        except TimeoutError:
            return

    # --- one operation ----------------------------------------------------------------------

    async def _story(self, client: AsyncClient, operation_id: str, key: str) -> None:
        character = self._rng.random()
        params = QUICK if character < 0.45 else LONGER if character < 0.75 else ENDLESS
        priority = int(self._rng.random() * 7) - 3
        await self._submitted(client, params, operation_id, key, priority)
        if self._rng.random() < 0.25:
            # Somebody who did not hear the answer; his second try has another id, and the same key.
            await self._submitted(client, params, ulid(), key, priority)
        if params is LONGER and self._rng.random() < 0.3:
            await self._paused(client, operation_id)
        if self._rng.random() < 0.2:
            await self._asked("steer", lambda: client.set_priority(operation_id, priority + 1))
        if params is ENDLESS:
            await self._pause(0.2, 5.0)
            await self._canceled(client, operation_id)
        await self._ended(client, operation_id)

    async def _submitted(
        self, client: AsyncClient, params: dict[str, Any], operation_id: str, key: str, priority: int
    ) -> None:
        """Until it is answered: whoever is not, asks again with the same key."""

        async def submit() -> None:
            handle = await client.submit(
                KIND,
                params,
                name=f"chaos {key[-6:]}",
                priority=priority,
                labels={"chaos": "yes"},
                operation_id=operation_id,
                request_key=key,
                timeout_s=REQUEST_S,
            )
            self._record.write("accepted", id=handle.id, key=key, asked=operation_id)
            self.accepted += handle.id == operation_id

        await self._asked("submit", submit, for_ever=True)

    async def _paused(self, client: AsyncClient, operation_id: str) -> None:
        await self._asked("steer", lambda: client.pause(operation_id))
        await self._pause(0.2, 2.0)
        await self._asked("steer", lambda: client.resume(operation_id), for_ever=True)

    async def _canceled(self, client: AsyncClient, operation_id: str) -> None:
        async def cancel() -> None:
            state = await client.cancel(operation_id)
            self._record.write("cancel", id=operation_id, state=state)

        await self._asked("cancel", cancel, for_ever=True)

    async def _ended(self, client: AsyncClient, operation_id: str) -> None:
        async def wait() -> None:
            state = await client.wait(operation_id)
            self._record.write("outcome", id=operation_id, state=state)
            self.outcomes[operation_id] = state

        await self._asked("wait", wait, for_ever=True)

    async def _asked(self, what: str, request: Callable[[], Awaitable[None]], *, for_ever: bool = False) -> None:
        """Repeated while the runtime is away, which is safe; what it refuses for good is written down and left."""
        while True:
            try:
                await request()
                return
            except RfmError as error:
                if not error.temporary or not for_ever:
                    self._record.write("refused", what=what, code=error.code, why=error.message)
                    return
                await asyncio.sleep(AGAIN_S)
