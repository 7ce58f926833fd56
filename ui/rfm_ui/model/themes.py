"""Colours by what they stand for, as #rrggbb. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from rfm_ui.model.lines import Tone
from rfm_ui.model.link import LinkTone

__all__ = ["CONTRAST", "DARK", "LIGHT", "SAFE_DARK", "SAFE_LIGHT", "SYSTEM", "THEMES", "Theme"]


@dataclass(frozen=True, slots=True)
class Theme:
    """name: in settings and commands; title: for people. window, panel, line: what lies behind text, and between; text,
    faint: of text; accent: what is chosen.

    tones: of an operation's state; links: of the connection's.
    """

    name: str
    title: str
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
    title="Dark",
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
        "idle": "#98a2b1",
        "running": "#5aa2ff",
        "waiting": "#e0b341",
        "stale": "#d9974a",
        "good": "#4cc38a",
        "bad": "#ff7272",
        "stopped": "#b58cff",
    },
    links={"good": "#4cc38a", "waiting": "#e0b341", "bad": "#ff7272", "idle": "#98a2b1"},
)

LIGHT: Final = Theme(
    name="light",
    title="Light",
    is_dark=False,
    window="#f4f6f9",
    panel="#ffffff",
    hover="#eef2f7",
    chosen="#dbe8fb",
    line="#d7dde5",
    track="#e3e8ef",
    text="#1a2230",
    faint="#5b6675",
    accent="#1a61c6",
    on_accent="#ffffff",
    tones={
        "idle": "#5d6775",
        "running": "#1a61c6",
        "waiting": "#845b00",
        "stale": "#9a5400",
        "good": "#167042",
        "bad": "#c02f2f",
        "stopped": "#7446c9",
    },
    links={"good": "#167042", "waiting": "#845b00", "bad": "#c02f2f", "idle": "#5d6775"},
)

CONTRAST: Final = Theme(
    name="contrast",
    title="High contrast",
    is_dark=True,
    window="#000000",
    panel="#0a0a0a",
    hover="#1f1f1f",
    chosen="#0b2c5c",
    line="#8c8c8c",
    track="#3d3d3d",
    text="#ffffff",
    faint="#d6d6d6",
    accent="#78c6ff",
    on_accent="#000000",
    tones={
        "idle": "#d0d0d0",
        "running": "#8ccbff",
        "waiting": "#ffe94a",
        "stale": "#ffb566",
        "good": "#5dff9e",
        "bad": "#ffaba2",
        "stopped": "#e6c2ff",
    },
    links={"good": "#5dff9e", "waiting": "#ffe94a", "bad": "#ffaba2", "idle": "#d0d0d0"},
)

# Found by a search for the largest least distance between two states, as four kinds of eyes see them.
SAFE_DARK: Final = replace(
    DARK,
    name="safe-dark",
    title="Colour-blind safe, dark",
    tones={
        "idle": "#a1a0b6",
        "running": "#8595ff",
        "waiting": "#ffff25",
        "stale": "#caad00",
        "good": "#54ffd1",
        "bad": "#f77383",
        "stopped": "#dae0ff",
    },
    links={"good": "#54ffd1", "waiting": "#ffff25", "bad": "#f77383", "idle": "#a1a0b6"},
)

SAFE_LIGHT: Final = replace(
    LIGHT,
    name="safe-light",
    title="Colour-blind safe, light",
    tones={
        "idle": "#3f437b",
        "running": "#5a46ff",
        "waiting": "#1e1a00",
        "stale": "#7c6606",
        "good": "#00746a",
        "bad": "#8b153d",
        "stopped": "#000248",
    },
    links={"good": "#00746a", "waiting": "#1e1a00", "bad": "#8b153d", "idle": "#3f437b"},
)

THEMES: Final = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST, SAFE_DARK, SAFE_LIGHT)}
"""Those that are always there, by name."""

SYSTEM: Final = "system"
"""The name for whichever of them the desktop asks for."""
