"""Identifiers: unique, sorted by time, and such that every part of the runtime takes them."""

from __future__ import annotations

import time

import msgspec

from rfm_runtime.client.ids import ALPHABET, ulid
from rfm_runtime.protocol.operation import OperationId


def moment_ms(text: str) -> int:
    """The time in an identifier: its first ten characters, 5 bits each."""
    value = 0
    for character in text[:10]:
        value = value << 5 | ALPHABET.index(character)
    return value


def test_the_alphabet_is_crockfords() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 32
    assert sorted(ALPHABET) == list(ALPHABET)
    assert not set("ILOU") & set(ALPHABET)


def test_an_identifier_says_when_it_was_made() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = moment_ms(ulid())
    assert before_ms <= made <= time.time_ns() // 1_000_000


def test_identifiers_of_later_milliseconds_sort_behind() -> None:
    first = last = ulid()
    while moment_ms(last) == moment_ms(first):
        last = ulid()
    assert last > first


def test_ten_thousand_at_once_differ_in_their_random_part() -> None:
    made = [ulid() for _ in range(10_000)]
    assert len({one[10:] for one in made}) == len(made)
    # Each of the 80 bits is random: all 32 values occur at each of the 16 places.
    assert all(len({one[place] for one in made}) == 32 for place in range(10, 26))


def test_an_identifier_is_an_operation_id() -> None:
    made = ulid()
    assert len(made) == 26
    assert set(made) <= set(ALPHABET)
    assert msgspec.convert(made, OperationId) == made
