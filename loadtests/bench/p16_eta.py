"""P16: how wrong the remaining time is that is shown, on recorded renders and made-up courses, without a clock.

Each run is estimated three times: by the estimator before (`peers/pace.py`), by ours that knows nothing but this run,
and by ours that knows all other runs of its kind, never itself. Fractions are of the time from the operation's start to
its outcome, without pauses; what is shown there is the newest estimate, counted down, and its error is relative to the
time that then really remained. `--docs` writes `docs/eta.svg` and prints the tables of `docs/benchmarks.md`.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rfm_runtime.core.operations.eta import Pace
from rfm_runtime.testing.courses import (
    SYNTHETIC,
    Estimated,
    Estimator,
    Trace,
    at_bars,
    at_times,
    leave_one_out,
    recorded,
    replay,
    synthetic,
)

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
TRACES = ROOT / "tests" / "data" / "eta"
FIGURE = ROOT / "docs" / "eta.svg"

DECILES = tuple(tenth / 10 for tenth in range(1, 10))
QUARTERS = (0.25, 0.5, 0.75)
MADE_UP = 12
"""Runs of each made-up kind."""

TARGET = 0.15
COST_TARGET = 1.5
COVERAGE_TARGET = 0.8

At = Callable[[Trace, Any, Iterable[float]], list[Estimated | None]]


class Errors(NamedTuple):
    """At each fraction: median |error|, None if nothing was shown; and over all of them, the share that p90 covered."""

    median: list[float | None]
    coverage: float


def run(quick: bool = False) -> list[dict[str, Any]]:
    renders, made_up = _shown(recorded(TRACES)), _shown(_made_up())
    rows = []
    for group, shown in _groups(renders).items():
        by_name = {name: _errors(of_runs, QUARTERS) for name, of_runs in shown.items()}
        for index, fraction in enumerate(QUARTERS):
            what = f"{fraction:.0%} of the time of {len(shown['alone'])} {group}"
            rows += [_row(f"{what}, {name}", by_name, name, index, fraction) for name in OURS]
    by_name = {name: _errors(of_runs, QUARTERS) for name, of_runs in made_up.items()}
    rows += [_row(f"50% of the time of made-up courses, {name}", by_name, name, 1, 0.0) for name in OURS]
    for what, shown in (("renders", renders), ("made-up courses", made_up)):
        coverage = {name: _errors(of_runs, DECILES).coverage for name, of_runs in shown.items()}
        rows.append(_covered(f"remaining time within p90, {what}, with the past", coverage))
    return [*rows, _cost(200 if quick else 2000)]


OURS = ("alone", "with the past")
ITERATED, ENCODED = "renders long in iterating", "renders long in encoding"


def _made_up() -> list[Trace]:
    return [synthetic(kind, seed) for kind in SYNTHETIC for seed in range(MADE_UP)]


def _before() -> Estimator:
    """The peer, which knows neither totals nor CPU time."""
    spec = importlib.util.spec_from_file_location("peers_pace", FOLDER / "peers" / "pace.py")
    if spec is None or spec.loader is None:
        raise ImportError("peers/pace.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pace: Estimator = module.Pace()
    return pace


Shown = list[tuple[Trace, Any]]


def _groups(shown: dict[str, Shown]) -> dict[str, dict[str, Shown]]:
    """Renders all together, and by what takes their time: these are not equally hard, and one median hides it."""
    chosen = {"renders": (False, True), ITERATED: (False,), ENCODED: (True,)}
    return {
        group: {
            name: [(trace, of_run) for trace, of_run in of_runs if ("large" in trace.name) in large]
            for name, of_runs in shown.items()
        }
        for group, large in chosen.items()
    }


def _shown(traces: Sequence[Trace]) -> dict[str, Shown]:
    """What each estimator showed of each run."""
    return {
        "before": [(trace, replay(trace, _before())) for trace in traces],
        "alone": [(trace, replay(trace, Pace())) for trace in traces],
        "with the past": [(trace, replay(trace, Pace(course))) for trace, course in leave_one_out(traces)],
    }


def _errors(shown: Shown, fractions: Sequence[float], at: At = at_times) -> Errors:
    columns = list(zip(*(at(trace, of_run, fractions) for trace, of_run in shown), strict=True))
    known = [[estimate for estimate in column if estimate is not None] for column in columns]
    every = [estimate for column in known for estimate in column]
    medians = [statistics.median(abs(estimate.error) for estimate in column) if column else None for column in known]
    return Errors(medians, sum(estimate.covered for estimate in every) / max(1, len(every)))


def _row(what: str, by_name: dict[str, Errors], name: str, index: int, fraction: float) -> dict[str, Any]:
    ours, peer = by_name[name].median[index], by_name["before"].median[index]
    has_target = fraction == 0.5
    return {
        "id": "P16",
        "what": f"error of the time left, median, at {what}",
        "ours": None if ours is None else 100.0 * ours,
        "peer": None if peer is None else 100.0 * peer,
        "unit": "%",
        "ratio": ours / peer if ours is not None and peer else None,
        "target": f"≤ {TARGET:.0%}" if has_target else "–",
        "met": not has_target or (ours is not None and ours <= TARGET),
    }


def _covered(what: str, coverage: dict[str, float]) -> dict[str, Any]:
    ours, peer = coverage["with the past"], coverage["before"]
    return {
        "id": "P16",
        "what": what,
        "ours": 100.0 * ours,
        "peer": 100.0 * peer,
        "unit": "%",
        "ratio": ours / peer,
        "target": f"≥ {COVERAGE_TARGET:.0%}",
        "met": ours >= COVERAGE_TARGET,
    }


def _cost(rounds: int) -> dict[str, Any]:
    """One measure and what is shown after it, of an operation of which nothing but its own course is known."""
    ours, peer = [], []
    for _ in range(5):
        ours.append(_update_ns(Pace(), rounds))
        peer.append(_update_ns(_before(), rounds))
    ratio = statistics.median(ours) / statistics.median(peer)
    return {
        "id": "P16",
        "what": "a measure and its estimate, without experience",
        "ours": statistics.median(ours) / 1000,
        "peer": statistics.median(peer) / 1000,
        "unit": "µs",
        "ratio": ratio,
        "target": f"≤ {COST_TARGET:g}×",
        "met": ratio <= COST_TARGET,
    }


def _update_ns(pace: Any, rounds: int) -> float:
    for tick in range(1000):
        pace.measured(float(tick), 0.05 * tick)
    begin_ns = time.perf_counter_ns()
    for tick in range(1000, 1000 + rounds):
        pace.measured(float(tick), 0.05 * tick)
        pace.rates()
        pace.eta(1e6 - tick, 1e6)
    return (time.perf_counter_ns() - begin_ns) / rounds


# --- for the docs -------------------------------------------------------------------------------


def _tables() -> str:
    """Markdown, by decile of time and of the bar."""
    lines = ["| | " + " | ".join(f"{fraction:.0%}" for fraction in DECILES) + " | in p90 |"]
    lines.append("| --- |" + " ---: |" * (len(DECILES) + 1))
    kinds = {kind: [synthetic(kind, seed) for seed in range(MADE_UP)] for kind in SYNTHETIC}
    every = _groups(_shown(recorded(TRACES))) | {kind: _shown(traces) for kind, traces in kinds.items()}
    for what, shown in every.items():
        for by, at in (("", at_times), (", by bar", at_bars)) if what not in kinds else (("", at_times),):
            for name, of_runs in shown.items():
                errors = _errors(of_runs, DECILES, at)
                cells = " | ".join("–" if error is None else f"{100 * error:.0f}" for error in errors.median)
                lines.append(f"| {what}{by}, {name} | {cells} | {errors.coverage:.0%} |")
    return "\n".join(lines)


STROKES = {"before": ("#6e6e6e", 2.5), "alone": ("#0b63b0", 5.0), "with the past": ("#e07b39", 2.0)}
"""Colour and width: the last two often coincide."""

WIDTH, HEIGHT, LEFT, TOP, PANEL, TALL, GAP = 1000, 330, 56, 48, 260, 210, 64
HIGHEST = 1.2
CAPTION = "median error of the time left; above 120 % at the edge"


def _svg() -> str:
    """Median error by decile of time."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        "<title>Median error of the remaining time by decile of time</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{WIDTH - 24}" y="{HEIGHT - 10}" text-anchor="end" fill="#222222">{CAPTION}</text>',
    ]
    groups = _groups(_shown(recorded(TRACES)))
    panels = {group.capitalize(): groups[group] for group in (ITERATED, ENCODED)}
    for number, (title, shown) in enumerate({**panels, "Made-up courses": _shown(_made_up())}.items()):
        parts += _panel(LEFT + number * (PANEL + GAP), title, shown)
    x = LEFT
    for name, (colour, width) in STROKES.items():
        parts.append(f'<path d="M{x} {HEIGHT - 14}h22" stroke="{colour}" stroke-width="{width}"/>')
        parts.append(f'<text x="{x + 28}" y="{HEIGHT - 10}" fill="#222222">{name}</text>')
        x += 140
    return "\n".join([*parts, "</svg>\n"])


def _panel(left: int, title: str, shown: dict[str, Shown]) -> list[str]:
    def place(fraction: float, error: float) -> str:
        return f"{left + fraction * PANEL:.1f} {TOP + TALL * (1.0 - min(error, HIGHEST) / HIGHEST):.1f}"

    parts = [f'<text x="{left}" y="{TOP - 22}" font-size="14" fill="#222222">{title}</text>']
    for percent in range(0, 121, 20):
        x, y = place(0.0, percent / 100).split()
        parts.append(f'<path d="M{x} {y}h{PANEL}" stroke="#e2e2e2"/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4:.1f}" text-anchor="end" fill="#555555">{percent} %</text>')
    parts.append(f'<path d="M{place(0.0, TARGET)}h{PANEL}" stroke="#222222" stroke-dasharray="4 4"/>')
    for fraction in (0.1, 0.3, 0.5, 0.7, 0.9):
        x = left + fraction * PANEL
        at = f'x="{x:.1f}" y="{TOP + TALL + 18}"'
        parts.append(f'<text {at} text-anchor="middle" fill="#555555">{fraction * 100:.0f} %</text>')
    parts.append(
        f'<text x="{left + PANEL / 2}" y="{TOP + TALL + 38}" text-anchor="middle" fill="#555555">of its time</text>'
    )
    for name, of_runs in shown.items():
        errors = _errors(of_runs, DECILES).median
        points = [place(fraction, error) for fraction, error in zip(DECILES, errors, strict=True) if error is not None]
        colour, width = STROKES[name]
        parts.append(f'<path d="M{" L".join(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    return parts


if __name__ == "__main__":
    if "--docs" in sys.argv:
        FIGURE.write_text(_svg(), encoding="utf-8")
        print(_tables())
    else:
        for row in run(quick="--quick" in sys.argv):
            print(row)
