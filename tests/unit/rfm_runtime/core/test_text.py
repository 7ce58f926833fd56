"""Durations, times left, numbers and ids as people read them in every face."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.text import duration, number, printable, short_ids, shortened, time_left


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (0.421, "0.42 s"),
        (9.994, "9.99 s"),
        (9.999, "10.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (245, "4 m 05 s"),
        (3599.6, "1 h 00 m"),
        (11_520, "3 h 12 m"),
        (47 * 3600 + 3599, "47 h 59 m"),
        (48 * 3600, "2 d 00 h"),
        (51 * 3600, "2 d 03 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (950, "950"),
        (999.6, "1 k"),
        (12_340, "12.3 k"),
        (999_900, "1 M"),
        (4.05e9, "4.05 G"),
        (2.5e12, "2.5 T"),
        (1e15, "1e+03 T"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_printable_keeps_text_and_drops_commands() -> None:
    assert printable("Süd [bold]") == "Süd [bold]"
    assert printable("a\x1b[2Jb\nc\td\x07") == "a?[2Jb?c?d?"


@given(st.text(), st.integers(1, 30))
def test_shortened_never_exceeds_its_width(text: str, width: int) -> None:
    short = shortened(text, width)
    assert len(short) <= width
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


@given(st.lists(st.text("AB01", min_size=1, max_size=14), unique=True))
def test_short_ids_tell_operations_apart(ids: list[str]) -> None:
    short = short_ids(ids)
    assert list(short) == ids
    assert len(set(short.values())) == len(ids)
    assert all(one.endswith(end) for one, end in short.items())


def test_short_ids_are_as_short_as_they_may_be() -> None:
    assert short_ids([]) == {}
    assert short_ids(["01M88D04664VEF04EDPRQ4AG21"]) == {"01M88D04664VEF04EDPRQ4AG21": "PRQ4AG21"}
    assert list(short_ids(["frame-1-00000001", "frame-2-00000001"]).values()) == ["1-00000001", "2-00000001"]


@pytest.mark.parametrize(
    ("p50_s", "p90_s", "text"),
    [(245.0, 250.0, "4 m 05 s left"), (12.3, 62.0, "12.3 s–1 m 02 s left"), (0.1, 0.6, "0.10 s left")],
)
def test_what_is_not_sure_is_a_range(p50_s: float, p90_s: float, text: str) -> None:
    assert time_left(p50_s, p90_s) == text
