"""Short tones as files of sound, made here: two notes, rising where all is well, falling where it is not. Pure."""

from __future__ import annotations

import io
import math
import struct
import wave
from functools import cache
from typing import Final

from rfm_runtime.core.notifying.words import Tone

__all__ = ["RATE_HZ", "wav"]

RATE_HZ: Final = 22_050
NOTE_S = 0.16
LOUDNESS = 0.28
"""Of full scale: it is to be heard, and nobody is to be startled."""

FADE_S = 0.012
"""At both ends of a note, which would click without."""

NOTES_HZ: Final[dict[Tone, tuple[float, ...]]] = {
    "good": (587.33, 880.0),
    "bad": (523.25, 349.23, 349.23),
    "waiting": (659.26, 659.26),
    "idle": (698.46,),
}


@cache
def wav(tone: Tone) -> bytes:
    """A WAV file: one channel of 16 bits."""
    samples: list[int] = []
    count = round(RATE_HZ * NOTE_S)
    fade = RATE_HZ * FADE_S
    for hertz in NOTES_HZ[tone]:
        for place in range(count):
            turn = 2.0 * math.pi * hertz * place / RATE_HZ
            # An octave above it, and dying away: a bell rather than a buzzer.
            value = (math.sin(turn) + 0.35 * math.sin(2.0 * turn)) / 1.35 * math.exp(-4.0 * place / count)
            edge = min(1.0, place / fade, (count - place) / fade)
            samples.append(round(32_767 * LOUDNESS * edge * value))
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return written.getvalue()
