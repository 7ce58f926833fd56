"""Which programs speak and play, and with what; the tones themselves."""

from __future__ import annotations

import io
import struct
import wave
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.notifying.words import Tone
from rfm_ui.model.speaking import SAID_LIMIT, VOICES, Line, players, voice
from rfm_ui.model.tones import RATE_HZ, wav

pytestmark = pytest.mark.scenario("J120")


def there(*names: str):
    return lambda name: f"/usr/bin/{name}" if name in names else ""


def test_the_voice_of_the_desktop_comes_first() -> None:
    assert voice(there("spd-say", "espeak-ng"), "x") == (
        "/usr/bin/spd-say", ["--wait", "--application-name", "rfm-runtime", "--", "x"]
    )  # fmt: skip
    assert voice(there("espeak-ng"), "photos: done") == ("/usr/bin/espeak-ng", ["--", "photos: done"])
    assert voice(there(), "x") is None
    assert voice(there("espeak-ng"), "$()") is None


@given(st.text(max_size=400))
def test_whatever_is_to_be_said_is_one_argument_of_words(text: str) -> None:
    found = voice(there("espeak-ng"), text)
    if found is not None:
        options, said = found[1][:-1], found[1][-1]
        assert tuple(options) == dict(VOICES)["espeak-ng"]
        assert not set(said) & set('-$`|&<>\\"\n;{}/')


def test_players_are_tried_in_turn() -> None:
    assert players(there("aplay", "paplay"), "/t/good.wav") == [
        ("/usr/bin/paplay", ["/t/good.wav"]),
        ("/usr/bin/aplay", ["-q", "/t/good.wav"]),
    ]
    assert players(there(), "/t/good.wav") == []


def test_one_is_said_after_the_other_and_of_a_flood_how_many_there_were() -> None:
    line = Line()
    for number in range(SAID_LIMIT + 7):
        line.put(f"n{number}")
    assert [line.take() for _ in range(SAID_LIMIT + 2)] == ["n0", "n1", "n2", "and 7 more", None]
    line.put("x")
    line.clear()
    assert line.take() is None


@pytest.mark.parametrize("tone", get_args(Tone))
def test_a_tone_is_short_not_loud_and_does_not_click(tone: Tone) -> None:
    with wave.open(io.BytesIO(wav(tone))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        count = file.getnframes()
        samples = struct.unpack(f"<{count}h", file.readframes(count))
    assert 0.1 < count / RATE_HZ < 0.6
    assert 3000 < max(map(abs, samples)) < 12_000
    assert abs(samples[0]) < 50
    assert abs(samples[-1]) < 50
    # From one sample to the next no more than the highest note makes of it.
    assert max(abs(a - b) for a, b in pairwise(samples)) < 4500
