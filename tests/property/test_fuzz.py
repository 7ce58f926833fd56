"""A small part of `make fuzz`: hostile input is a message or refused, leaves nothing, and faults are found."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.core.sessions.hub import GatewayCore
from tests.fuzz.__main__ import GROWTH_BLOCKS, Wrong, run

pytestmark = pytest.mark.scenario("J1", "J72")

COUNT = 4000


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_input_is_a_message_or_refused_and_nothing_grows(seed: int) -> None:
    outcome = run(COUNT, seed)
    assert outcome.growth_blocks < GROWTH_BLOCKS
    # Enough of it gets through to mean something.
    assert outcome.messages > COUNT / 4
    assert outcome.carried_out > COUNT / 20
    assert outcome.closes > COUNT / 20


def test_the_same_seed_is_the_same_run() -> None:
    first, second = run(500, 3), run(500, 3)
    assert (first.messages, first.refusals, first.closes) == (second.messages, second.refusals, second.closes)


def test_an_exception_that_is_no_refusal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = GatewayCore._request

    def broken(core: GatewayCore, *arguments: Any) -> Any:
        if type(arguments[2]).__name__ == "SubmitMany":
            raise KeyError("a fault that was put here")
        return whole(core, *arguments)

    monkeypatch.setattr(GatewayCore, "_request", broken)
    with pytest.raises(Wrong, match=r"input \d+ of seed 1"):
        run(COUNT, 1)


def test_what_is_kept_of_each_refusal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    whole = GatewayCore._error

    def leaking(core: GatewayCore, *arguments: Any) -> None:
        kept.append((len(kept), [object(), object()]))
        whole(core, *arguments)

    monkeypatch.setattr(GatewayCore, "_error", leaking)
    assert run(COUNT, 1).growth_blocks > GROWTH_BLOCKS
