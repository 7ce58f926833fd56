"""What is wished of operations, asked of a runtime: many at a time, no faster than it takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.actions import Wish, priority_after

__all__ = ["Refusal", "carry_out"]

AT_ONCE = 16
"""Requests under way: more would only wait at the server's limit, and time out there."""

EVERY = 64
"""Answers between two words of how far it is."""

Refusal = tuple[Operation, RfmError]


async def carry_out(
    client: AsyncClient, wish: Wish, operations: Sequence[Operation], answered: Callable[[int], object] = lambda _: None
) -> list[Refusal]:
    """Ask for it, of each; those that refused, and why. A refusal of one keeps nothing from the others.

    answered: told now and then how many were asked, in the client's thread.
    """
    refused: list[Refusal] = []
    asked = 0
    waiting = iter(operations)

    async def some() -> None:
        nonlocal asked
        for operation in waiting:
            try:
                await _ask(client, wish, operation)
            except RfmError as error:
                refused.append((operation, error))
            asked += 1
            if asked % EVERY == 0:
                answered(asked)

    await asyncio.gather(*(some() for _ in range(min(AT_ONCE, len(operations)))))
    return refused


async def _ask(client: AsyncClient, wish: Wish, operation: Operation) -> None:
    operation_id = operation.operation_id
    match wish.verb:
        case "cancel":
            await client.cancel(operation_id)
        case "pause":
            await client.pause(operation_id)
        case "resume":
            await client.resume(operation_id)
        case "retry":
            await client.retry(operation_id)
        case "prioritise":
            await client.set_priority(operation_id, priority_after(wish, operation))
