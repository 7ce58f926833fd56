"""Tables, lists of facts, and what is folded away until somebody wants it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rfm_runtime.core.pages.elements import Child, Html, join, tag

__all__ = ["badge", "facts", "figures", "folded", "section", "table"]


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Child]], *, texts: int = 1) -> Html:
    """A table in a box that scrolls by itself where the page is too narrow. texts: so many columns are no numbers.

    caption: for those who cannot see where it stands.
    """

    def cell(kind: str, i: int, content: Child, **attributes: str) -> Html:
        return tag(kind, content, class_=None if i < texts else "number", **attributes)

    head = tag("tr", *(cell("th", i, heading, scope="col") for i, heading in enumerate(headings)))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(cell("td", i, content) for i, content in enumerate(row[1:], start=1)),
        )
        for row in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", role="region", tabindex="0", aria_label=caption)


def folded(summary: str, *content: Child) -> Html:
    """Opened by a click, without a script."""
    return tag("details", tag("summary", summary), *content)


def section(title: str, *content: Child, intro: str | None = None) -> Html:
    """A part of the page under its heading."""
    return tag("section", tag("h2", title), tag("p", intro, class_="intro") if intro else None, *content)


def figures(items: Iterable[tuple[str, str, str]]) -> Html:
    """The few numbers that matter most: name, figure, what it means."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", figure, class_="figure"), tag("dd", note, class_="note"))
            for name, figure, note in items
        ),
        class_="figures",
    )


def facts(items: Iterable[tuple[str, Child]]) -> Html:
    """Name and value, line by line."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in items), class_="facts")


def badge(word: str, state: str) -> Html:
    """A state: its word, and its colour as a spot before it."""
    return join(tag("span", word, class_=f"badge {state}"))
