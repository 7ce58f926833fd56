"""The kinds: parts fill the whole, and words and figures are such that every encoding carries them."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.simulation.kinds import KINDS, Kind, Part, leaves
from rfm_runtime.protocol.limits import DETAILS_LIMIT_BYTES, MESSAGE_LIMIT, NAME_LIMIT


def shares_of(parts: tuple[Part, ...]) -> list[float]:
    below = [share for part in parts if part.parts for share in shares_of(part.parts)]
    return [sum(part.share for part in parts), *below]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_parts_fill_the_whole_one_after_the_other(kind: Kind) -> None:
    for amount in kind.amount:
        parts = kind.parts(amount)
        assert shares_of(parts) == pytest.approx([1.0] * len(shares_of(parts)))
        found = leaves(parts)
        assert (found[0].begin, found[-1].end) == (0.0, 1.0)
        assert all(leaf.begin < leaf.end for leaf in found)
        assert [leaf.end for leaf in found[:-1]] == [leaf.begin for leaf in found[1:]]
        names = [leaf.name for leaf in found]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_words_and_figures_can_be_told(kind: Kind) -> None:
    assert kind.faults
    for amount in kind.amount:
        for done in (0, 1, amount // 2, amount):
            assert 0 < len(kind.message(done, amount)) <= MESSAGE_LIMIT
            assert len(msgspec.json.encode(kind.details(done, amount))) <= DETAILS_LIMIT_BYTES
    assert all(len(title) < NAME_LIMIT - 10 for title in kind.titles)


def test_a_step_in_a_step_is_named_with_what_it_is_in() -> None:
    training = next(kind for kind in KINDS if kind.name == "model_training")
    assert [leaf.name for leaf in leaves(training.parts(3))][2:4] == [
        "epoch 2 of 3 / training",
        "epoch 2 of 3 / validation",
    ]


def test_all_ways_to_tell_progress_are_there() -> None:
    assert {kind.told for kind in KINDS} == {"percent", "counted", "uncounted"}
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 5
