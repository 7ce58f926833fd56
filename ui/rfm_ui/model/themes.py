"""Colours by what they stand for, as #rrggbb. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rfm_ui.model.lines import Tone
from rfm_ui.model.link import LinkTone

__all__ = ["DARK", "LIGHT", "THEMES", "Theme"]


@dataclass(frozen=True, slots=True)
class Theme:
    """window, panel, line: what lies behind text, and between; text, faint: of text; accent: what is chosen.

    tones: of an operation's state; links: of the connection's.
    """

    name: str
    is_dark: bool
    window: str
    panel: str
    hover: str
    chosen: str
    line: str
    track: str
    text: str
    faint: str
    accent: str
    on_accent: str
    tones: Mapping[Tone, str]
    links: Mapping[LinkTone, str]


DARK: Final = Theme(
    name="dark",
    is_dark=True,
    window="#14171c",
    panel="#1b1f26",
    hover="#232932",
    chosen="#26364d",
    line="#2c333d",
    track="#2a313b",
    text="#e6e9ee",
    faint="#9aa4b2",
    accent="#5aa2ff",
    on_accent="#0b1320",
    tones={
        "idle": "#7f8a99",
        "running": "#5aa2ff",
        "waiting": "#e0b341",
        "stale": "#c98a3a",
        "good": "#4cc38a",
        "bad": "#ff6b6b",
        "stopped": "#b58cff",
    },
    links={"good": "#4cc38a", "waiting": "#e0b341", "bad": "#ff6b6b", "idle": "#7f8a99"},
)

LIGHT: Final = Theme(
    name="light",
    is_dark=False,
    window="#f4f6f9",
    panel="#ffffff",
    hover="#eef2f7",
    chosen="#dbe8fb",
    line="#d7dde5",
    track="#e3e8ef",
    text="#1a2230",
    faint="#5b6675",
    accent="#1f6fde",
    on_accent="#ffffff",
    tones={
        "idle": "#77818f",
        "running": "#1f6fde",
        "waiting": "#9a6b00",
        "stale": "#a45a00",
        "good": "#1a7f4b",
        "bad": "#c93333",
        "stopped": "#7446c9",
    },
    links={"good": "#1a7f4b", "waiting": "#9a6b00", "bad": "#c93333", "idle": "#77818f"},
)

THEMES: Final = {theme.name: theme for theme in (DARK, LIGHT)}
