"""Colours of bars that have letters upon them. Pure; colours as #rrggbb."""

from __future__ import annotations

from typing import NamedTuple

from rfm_ui.model.own_theme import contrast
from rfm_ui.model.themes import Theme

__all__ = ["Bar", "bar", "mixed"]

SHARES = tuple(share / 20 for share in range(15, 3, -1))
"""Of the tone in what is done of a bar, the rest is the panel below: the first that letters can be read upon."""

PALE = 0.4
"""Of that, in what is not done."""

READABLE = 4.5


class Bar(NamedTuple):
    """pale: of what is not done; full: of what is."""

    pale: str
    full: str


def mixed(ground: str, over: str, share: float) -> str:
    """`over`, of which `share` (0–1) covers the ground."""
    ends = ((int(ground[k : k + 2], 16), int(over[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(one + (other - one) * share):02x}" for one, other in ends)


def bar(theme: Theme, tone: str, least: float = READABLE) -> Bar:
    """Of a tone, upon the panel: as deep as letters allow, whose contrast is `least` at least where that can be."""
    share = next((k for k in SHARES if contrast(theme.text, mixed(theme.panel, tone, k)) >= least), SHARES[-1])
    return Bar(mixed(theme.panel, tone, PALE * share), mixed(theme.panel, tone, share))
