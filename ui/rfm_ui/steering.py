"""What is wished of operations, asked of a runtime: many at a time, no faster than it takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.actions import Wish, priority_after

__all__ = ["Outcome", "Refusal", "carry_out"]

AT_ONCE = 16
"""Requests under way: more would only wait at the server's limit, and time out there."""

EVERY = 64
"""Answers between two words of how far it is."""

Refusal = tuple[Operation, RfmError]


@dataclass(slots=True)
class Outcome:
    """refused: with why. unsent: nobody was asked for these, since the connection has gone meanwhile."""

    refused: list[Refusal] = field(default_factory=list)
    unsent: list[Operation] = field(default_factory=list)


async def carry_out(
    client: AsyncClient, wish: Wish, operations: Sequence[Operation], answered: Callable[[int], object] = lambda _: None
) -> Outcome:
    """Ask for it, of each. A refusal of one keeps nothing from the others.

    answered: told now and then how many were asked, in the client's thread.
    """
    outcome = Outcome()
    asked = 0
    waiting = iter(operations)

    async def some() -> None:
        nonlocal asked
        for operation in waiting:
            if client.state not in ("live", "stale"):
                # Each would wait in vain for as long as a request may.
                outcome.unsent.append(operation)
                continue
            try:
                await _ask(client, wish, operation)
            except RfmError as error:
                outcome.refused.append((operation, error))
            asked += 1
            if asked % EVERY == 0:
                answered(asked)

    await asyncio.gather(*(some() for _ in range(min(AT_ONCE, len(operations)))))
    return outcome


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
