"""A theme of somebody's own, from a TOML file: the colours that it names, the rest of the one it is based on. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final

from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError
from rfm_ui.model.themes import SYSTEM, THEMES, Theme

__all__ = ["contrast", "luminance", "of_toml", "problems", "to_toml"]

COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}\Z")
PLAIN: Final = ("window", "panel", "hover", "chosen", "line", "track", "text", "faint", "accent", "on_accent")
TABLES: Final = ("tones", "links")
READABLE: Final = 4.5
"""Contrast of letters, by WCAG 2 at AA."""


def of_toml(name: str, text: str) -> Theme:
    """The theme `name` that a file says. Raises BadRequestError with the line, and what to do."""
    if name in THEMES or name == SYSTEM:
        raise BadRequestError(f"{name} is the name of a theme that is there", hint="give the file another name")
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Also of a number with thousands of digits, and of brackets in brackets.
        raise BadRequestError(f"{name}.toml is no TOML: {error}", hint='write it as panel = "#1b1f26"') from None
    base = said.pop("base", "dark")
    if base not in THEMES:
        raise _wrong(name, text, "base", f"there is no theme {base!r}", f"choose one of {', '.join(THEMES)}")
    title = said.pop("title", name)
    if not isinstance(title, str) or not title.strip() or printable(title) != title or len(title) > 60:
        raise _wrong(name, text, "title", "the title is no name", "give it 1 to 60 characters that can be printed")
    theme = THEMES[base]
    changes: dict[str, Any] = {}
    for table in TABLES:
        found = said.pop(table, {})
        if not isinstance(found, dict):
            raise _wrong(name, text, table, f"{table} is no table", f"write [{table}], and colours below it")
        changes[table] = {**getattr(theme, table), **_colours(name, text, found, tuple(getattr(theme, table)))}
    changes |= _colours(name, text, said, PLAIN)
    theme = replace(theme, name=name, title=title.strip(), **changes)
    return replace(theme, is_dark=luminance(theme.window) < luminance(theme.text))


def to_toml(theme: Theme) -> str:
    """A file to begin with: all that a theme has."""
    lines = [f'title = "My own, after {theme.title}"', f'base = "{theme.name}"', ""]
    lines += [f'{name} = "{getattr(theme, name)}"' for name in PLAIN]
    for table in TABLES:
        lines += ["", f"[{table}]", *(f'{name} = "{colour}"' for name, colour in getattr(theme, table).items())]
    return "\n".join(lines) + "\n"


def problems(theme: Theme) -> list[str]:
    """What can hardly be read in it, for people."""
    letters = {"text": theme.text, "faint": theme.faint, **{f"tones.{n}": c for n, c in theme.tones.items()}}
    found = []
    for name, colour in letters.items():
        least = min(contrast(colour, getattr(theme, ground)) for ground in ("window", "panel", "chosen"))
        if least < READABLE:
            found.append(f"{name} has a contrast of {least:.1f}, {READABLE} is readable")
    return found


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, 0–1 (WCAG 2)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1–21 (WCAG 2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _colours(name: str, text: str, found: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, str]:
    for key, value in found.items():
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose some of {', '.join(known)}"
            raise _wrong(name, text, key, f"nothing is called {printable(key)!r}", hint)
        if not isinstance(value, str) or COLOUR.match(value) is None:
            raise _wrong(name, text, key, f"{key} is no colour", 'write it as "#rrggbb", e.g. "#5aa2ff"')
    return dict(found)


def _wrong(name: str, text: str, key: str, what: str, hint: str) -> BadRequestError:
    return BadRequestError(f"{name}.toml{_line(text, key)}: {what}", hint=hint)


def _line(text: str, key: str) -> str:
    wanted = re.compile(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[=\]]""")
    for number, line in enumerate(text.splitlines(), 1):
        if wanted.match(line):
            return f", line {number}"
    return ""
