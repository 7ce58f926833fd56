"""Charts as SVG that stretches with the page. Its text is HTML around it, which keeps its size on any screen.

Each has a title and a description for those who do not see it, and stands above the table of its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from rfm_runtime.core.pages.elements import Html, join, tag

__all__ = [
    "Series",
    "Tick",
    "columns",
    "curve",
    "heat",
    "legend",
    "spreads",
    "steps",
    "strip",
    "time_ticks",
    "timeline",
]

ROUNDING = 1e-12
"""Of a quotient of floats; a count that is one above a round billion is above it."""
WIDE = 1000
"""Units of a continuous axis."""

GAP = 0.12
"""Between two columns, of the width of one."""

DECADES_MS = (1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000, 86_400_000, 864_000_000)
"""Marks of a logarithmic axis of time that people can name."""

TICK_STEPS_MS = tuple(
    step * 1000
    for step in (
        *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
        *(3600, 7200, 10_800, 14_400, 21_600, 28_800, 43_200),
        *(day * 86_400 for day in (1, 2, 3, 5, 7, 14, 28, 91, 182, 364)),
    )
)


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one colour; `name` is its class in the style sheet as well."""

    name: str
    word: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, at a share of its length."""

    share: float
    label: str


def columns(
    name: str, title: str, description: str, series: Sequence[Series], titles: Sequence[str], ticks: Sequence[Tick]
) -> Html:
    """Stacked columns of counts. titles: what is said of each column under the pointer."""
    count = len(titles)
    sums = [sum(one.values[i] for one in series) for i in range(count)]
    scale = _scale(max(sums, default=0), whole=True)
    drawn = []
    for i in range(count):
        top, parts = 0.0, []
        for one in series:
            value = one.values[i]
            if value:
                y = scale.top - top - value
                parts.append(_rect(one.name, i + GAP / 2, y, 1 - GAP, value))
                top += value
        drawn.append(tag("g", tag("title", titles[i]), _rect("hit", i, 0, 1, scale.top), *parts))
    return _plot(name, title, description, (count, scale.top), scale, ticks, *drawn)


def steps(
    name: str,
    title: str,
    description: str,
    high: Sequence[float],
    mean: Sequence[float],
    titles: Sequence[str],
    ticks: Sequence[Tick],
) -> Html:
    """A level in each bin: its mean as an area, its height as a line above."""
    count = len(titles)
    scale = _scale(max(high, default=0), whole=True)

    def outline(values: Sequence[float]) -> str:
        return " ".join(f"{_n(x)},{_n(scale.top - value)}" for i, value in enumerate(values) for x in (i, i + 1))

    area = tag("polyline", class_="area running", points=f"0,{scale.top} {outline(mean)} {count},{scale.top}")
    line = tag("polyline", class_="stroke running", points=outline(high))
    hits = [tag("g", tag("title", text), _rect("hit", i, 0, 1, scale.top)) for i, text in enumerate(titles)]
    return _plot(name, title, description, (count, scale.top), scale, ticks, area, line, *hits)


def curve(
    name: str,
    title: str,
    description: str,
    points: Sequence[tuple[float, float]],
    titles: Sequence[str],
    *,
    colour: str,
    label: Callable[[float], str],
    ticks: Sequence[Tick],
    binary: bool = False,
    least_top: float = 0.0,
) -> Html:
    """A value over a share (0–1) of the time. binary: a size in bytes. least_top: what the axis reaches at least."""
    values = [value if isfinite(value) else 0.0 for _, value in points]
    scale = _scale(max([least_top, *values]), label=label, binary=binary)
    # Of a value of 10¹⁵ the drawing has as much as of 1.
    at = [(WIDE * share, 100 * (1 - value / scale.top)) for (share, _), value in zip(points, values, strict=True)]
    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in at)
    area = line = None
    if at:
        area = tag("polyline", class_=f"area {colour}", points=f"{_n(at[0][0])},100 {path} {_n(at[-1][0])},100")
        line = tag("polyline", class_=f"stroke {colour}", points=path)
    hits = []
    for i, text in enumerate(titles):
        left = (at[max(0, i - 1)][0] + at[i][0]) / 2
        right = (at[i][0] + at[min(len(at) - 1, i + 1)][0]) / 2
        hits.append(tag("g", tag("title", text), _rect("hit", left, 0, right - left, 100)))
    return _plot(name, title, description, (WIDE, 100), scale, ticks, area, line, *hits)


def strip(name: str, title: str, description: str, parts: Sequence[tuple[str, float, str]]) -> Html:
    """Shares of a whole side by side: (class, size, what is said under the pointer). The smallest can still be seen."""
    total = sum(size for _, size, _ in parts) or 1.0
    drawn, x = [], 0.0
    for colour, size, text in parts:
        width = WIDE * size / total
        drawn.append(tag("g", tag("title", text), _rect(colour, x, 0, max(width, 1.5), 1)))
        x += width
    return tag("div", _svg(name, title, description, (WIDE, 1), *drawn), class_="strip")


def heat(
    name: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[int]]],
    titles: Sequence[str],
    ticks: Sequence[Tick],
) -> Html:
    """A row for each name, a cell for each bin: the more, the stronger. titles: of the bins."""
    highest = max((value for _, values in rows for value in values), default=0)
    cells = []
    for y, (row, values) in enumerate(rows):
        for x, value in enumerate(values):
            rect = tag(
                "rect",
                class_="cell" if value else "cell none",
                # The root: one beside a hundred must still be seen.
                fill_opacity=_n(0.12 + 0.88 * (value / highest) ** 0.5) if value else None,
                **_box(x + 0.04, y + 0.06, 0.92, 0.88),
            )
            cells.append(tag("g", tag("title", f"{row}, {titles[x]}: {value}"), rect) if value else rect)
    drawn = _svg(name, title, description, (len(titles), max(1, len(rows))), *cells)
    return _rows("heat", [row for row, _ in rows], drawn, ticks)


def timeline(
    name: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[tuple[str, float, float, str]]]],
    ticks: Sequence[Tick],
) -> Html:
    """A row for each name; what was in it, as (class, from, to, what is said of it), from and to as shares of all."""
    drawn = [_grid(0, WIDE, y + 1, y + 1) for y in range(len(rows) - 1)]
    for y, (_, parts) in enumerate(rows):
        for colour, begin, end, text in parts:
            # What took no time must still be seen.
            width = max(4.0, WIDE * (end - begin))
            left = min(WIDE * begin, WIDE - width)
            drawn.append(tag("g", tag("title", text), _rect(colour, left, y + 0.2, width, 0.6)))
    svg = _svg(name, title, description, (WIDE, max(1, len(rows))), *drawn)
    return _rows("timeline", [row for row, _ in rows], svg, ticks)


def spreads(name: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[int], str]]) -> Html:
    """Of each name the median, 90 %, 99 % and the longest (ms) on one logarithmic axis, and what is said of them."""
    highest_ms = max((values[-1] for _, values, _ in rows), default=1)
    lowest_ms = min((values[0] for _, values, _ in rows), default=1)
    low = max((mark for mark in DECADES_MS if mark <= lowest_ms), default=1)
    high = min((mark for mark in DECADES_MS if mark >= highest_ms and mark > low), default=max(highest_ms, 10 * low))

    def place(value_ms: float) -> float:
        return WIDE * min(1.0, max(0.0, log10(max(value_ms, low) / low) / log10(high / low)))

    drawn = []
    for y, (_, (p50, p90, p99, longest), text) in enumerate(rows):
        drawn.append(
            tag(
                "g",
                tag("title", text),
                _rect("hit", 0, y, WIDE, 1),
                _rect("faint", place(p50), y + 0.46, place(longest) - place(p50), 0.08),
                _rect("middle", place(p50), y + 0.38, place(p99) - place(p50), 0.24),
                _rect("strong", place(p50), y + 0.26, max(2.0, place(p90) - place(p50)), 0.48),
                _rect("end", place(longest) - 2, y + 0.26, 4, 0.48),
            )
        )
    marks = [mark for mark in DECADES_MS if low <= mark <= high]
    every = ceil(len(marks) / 6)
    lines = [_grid(place(mark), place(mark), 0, len(rows)) for mark in marks]
    ticks = [Tick(place(mark) / WIDE, _decade(mark)) for mark in marks[::every]]
    svg = _svg(name, title, description, (WIDE, len(rows)), *lines, *drawn)
    return _rows("spreads", [row for row, _, _ in rows], svg, ticks)


def legend(items: Sequence[tuple[str, str]]) -> Html:
    """(class, what it stands for)."""
    return tag("ul", *(tag("li", word, class_=colour) for colour, word in items), class_="legend")


def time_ticks(
    start_ms: int, end_ms: int, offset_ms: int, label: Callable[[int, int], str], most: int = 6
) -> list[Tick]:
    """At moments that people can name, local time; `label` is asked with the moment and the step between two."""
    length_ms = max(1, end_ms - start_ms)
    step_ms = next((step for step in TICK_STEPS_MS if length_ms / step <= most), 1 + length_ms // most)
    if length_ms > 2 * 86_400_000:
        step_ms = max(step_ms, 86_400_000)
    first = -((-start_ms - offset_ms) // step_ms)
    last = floor((end_ms + offset_ms) / step_ms)
    marks = [index * step_ms - offset_ms for index in range(first, last + 1)]
    return [Tick((mark - start_ms) / length_ms, label(mark, step_ms)) for mark in marks]


# --- how it is drawn --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scale:
    top: float
    ticks: tuple[Tick, ...]


def _scale(
    highest: float, *, whole: bool = False, binary: bool = False, label: Callable[[float], str] | None = None
) -> _Scale:
    """An axis from zero with two to four steps of 1, 2 or 5 times a power."""
    unit = float(1024 ** max(2, floor(log10(highest) / log10(1024)))) if binary and highest >= 1 else 1.0
    wanted = highest / unit / 4
    if wanted > 0:
        power = 10.0 ** floor(log10(wanted))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted * (1 - ROUNDING))
    else:
        step = 1.0
    if whole:
        step = max(1.0, step)
    number = max(1, ceil(highest / unit / step * (1 - ROUNDING)))
    top = step * number * unit
    written = label or (lambda value: f"{value:,.0f}")
    return _Scale(top, tuple(Tick(i / number, written(top * i / number)) for i in range(number + 1)))


def _plot(
    name: str,
    title: str,
    description: str,
    size: tuple[float, float],
    scale: _Scale,
    ticks: Sequence[Tick],
    *drawn: Html | None,
) -> Html:
    """The drawing between its axes."""
    width, height = size
    heights = [height * (1 - tick.share) for tick in scale.ticks]
    grid = [_grid(0, width, y, y) for y in heights]
    values = [tag("span", tick.label, style=f"bottom:{100 * tick.share:.2f}%") for tick in scale.ticks]
    return tag(
        "div",
        tag("div", *values, class_="values", aria_hidden="true"),
        _svg(name, title, description, size, *grid, *drawn),
        _axis(ticks),
        class_="plot",
    )


def _rows(kind: str, names: Sequence[str], drawn: Html, ticks: Sequence[Tick]) -> Html:
    """Names beside the rows of a drawing."""
    labels = [tag("span", tag("bdi", name), title=name) for name in names]
    return tag(
        "div",
        tag("div", *labels, class_="names", aria_hidden="true"),
        drawn,
        _axis(ticks),
        class_=f"rows {kind}",
        style=f"--rows:{max(1, len(names))}",
    )


def _axis(ticks: Sequence[Tick]) -> Html:
    """Labels below; those at the ends stay inside."""
    spans = []
    for tick in ticks:
        side = "first" if tick.share < 0.05 else "last" if tick.share > 0.95 else None
        spans.append(tag("span", tick.label, class_=side, style=f"left:{100 * tick.share:.2f}%"))
    return tag("div", *spans, class_="axis", aria_hidden="true")


def _svg(name: str, title: str, description: str, size: tuple[float, float], *drawn: Html | None) -> Html:
    return tag(
        "svg",
        join(tag("title", title, id=f"{name}-title"), tag("desc", description, id=f"{name}-desc")),
        *drawn,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {_n(size[0])} {_n(size[1])}",
        preserveAspectRatio="none",
    )


def _grid(x1: float, x2: float, y1: float, y2: float) -> Html:
    return tag("line", class_="grid", x1=_n(x1), x2=_n(x2), y1=_n(y1), y2=_n(y2))


def _rect(class_: str, x: float, y: float, width: float, height: float) -> Html:
    return tag("rect", class_=class_, **_box(x, y, width, height))


def _box(x: float, y: float, width: float, height: float) -> dict[str, str]:
    return {"x": _n(x), "y": _n(y), "width": _n(max(0.0, width)), "height": _n(max(0.0, height))}


def _n(value: float) -> str:
    """A coordinate."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _decade(mark_ms: int) -> str:
    for unit_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if mark_ms >= unit_ms:
            return f"{mark_ms // unit_ms} {unit}"
    return f"{mark_ms} ms"
