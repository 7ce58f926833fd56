"""A page as a browser would take it apart, and what every page of ours has to be."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """tags: (name, attributes) in order. text: all of it. Raises AssertionError where an element is not closed."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data

    def all(self, name: str) -> list[dict[str, str]]:
        """The attributes of each element of that name."""
        return [attributes for tag, attributes in self.tags if tag == name]


def check_page(markup: str) -> Page:
    """It needs nothing else, runs nothing, and says what it draws."""
    page = Page(markup)
    [policy] = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not {name for name, _ in page.tags} & {"script", "img", "iframe", "object", "embed", "form", "base", "a"}
    assert page.all("link") == [{"rel": "icon", "href": "data:,"}]
    assert "url(" not in markup
    assert "@import" not in markup
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "xlink:href")]
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert set(svg["aria-labelledby"].split()) <= set(ids)
    assert not any(number in markup for number in ('"nan"', '"inf"', '"-inf"'))
    return page
