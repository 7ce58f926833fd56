"""HTML as values. A string is always text and gets escaped; only `Html` is markup, and only `tag` makes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files

__all__ = ["POLICY", "Child", "Html", "foreign", "join", "page", "readable", "tag", "words"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Of a page: it can load nothing and send nothing, whatever somebody called his operation."""

UNREADABLE = re.compile(
    # Controls, halves of characters and non-characters are no HTML. Overrides of the writing direction would outlive
    # the name that they are in, and let it look like another one.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
VOID = frozenset({"link", "meta", "path", "polyline", "rect", "line"})


@dataclass(frozen=True, slots=True)
class Html:
    """Markup."""

    markup: str


Child = Html | str | None


def readable(text: str) -> str:
    """The text, with a sign for each character that no page may contain."""
    return UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """An element. `class_` is written class, `aria_label` aria-label; an attribute that is None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(readable(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not children:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(*children).markup}</{name}>")


def join(*children: Child) -> Html:
    """One after another."""
    return Html(
        "".join(
            child.markup if isinstance(child, Html) else escape(readable(child), quote=False)
            for child in children
            if child is not None
        )
    )


def foreign(text: str) -> Html:
    """What somebody else wrote: in its own direction, which ends with it."""
    return tag("bdi", text)


def words(text: str) -> Html:
    """As `foreign`, of sentences: in a table they get room for some words a line."""
    return tag("bdi", text, class_="words")


def page(title: str, *body: Child) -> Html:
    """A whole document."""
    style = files("rfm_runtime.core.pages").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        # Without it a browser asks the server, if one serves the page.
        tag("link", rel="icon", href="data:,"),
        Html(f"<style>\n{style}</style>"),
    )
    return Html(f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang='en').markup}\n")
