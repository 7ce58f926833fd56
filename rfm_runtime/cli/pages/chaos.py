"""The page of a chaos run: what happened to whom and when, what was seen meanwhile, and what the checker says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from rfm_runtime import __version__
from rfm_runtime.core.counts import counted
from rfm_runtime.core.pages.charts import Tick, curve, legend, time_ticks, timeline
from rfm_runtime.core.pages.elements import Html, foreign, page, tag, words
from rfm_runtime.core.pages.tables import badge, figures, folded, section, table
from rfm_runtime.core.pages.words import NOTHING, Local, count, span
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.testing.chaos.harness import Happened, Outcome, Sample

__all__ = ["chaos_page"]

Label = Callable[[float], str]
HEADINGS = ("at", "who", "what", "lasted", "note")

TARGETS = (
    *("network", "runtime", "supervisor", "broker", "gateway-0", "gateway-1", "engine-0", "worker"),
    *("reporter", "watcher"),
)
WORDS = {"network": "network", "runtime": "disk and clock", "reporter": "reporting program", "watcher": "watcher"}

COLOURS = {
    "kill": "failed",
    "freeze": "paused",
    "network": "running",
    "starve": "cpu",
    "memory": "memory",
    "descriptors": "stopping",
    "clock": "waiting",
    "disk": "completed",
}
KINDS = {
    "kill": "killed",
    "freeze": "frozen",
    "network": "network",
    "starve": "starved of CPU time",
    "memory": "out of memory",
    "descriptors": "out of descriptors",
    "clock": "clock set",
    "disk": "disk full",
}

VIOLATIONS_SHOWN = 500


def chaos_page(outcome: Outcome, *, seed: int, seconds: float, local: Local, now_ms: int) -> Html:
    """The whole page."""
    verdict = outcome.verdict
    kept = not verdict.violations
    made = f"Made {local.second(now_ms)} ({local.offset(now_ms)}) by rfm-runtime {__version__}. "
    again = f"rfm-runtime chaos --seconds {seconds:g} --seed {seed}"
    return page(
        f"Chaos: seed {seed}",
        tag(
            "header",
            tag("p", "rfm-runtime chaos", class_="eyebrow"),
            tag("h1", "Nothing was lost" if kept else "Promises were broken"),
            tag(
                "p",
                badge("all promises kept" if kept else counted(len(verdict.violations), "violation"), _state(kept)),
                f" · seed {seed} · {_length(outcome, seconds)}",
                class_="about",
            ),
        ),
        tag(
            "main",
            tag("p", _lede(outcome), class_="lede"),
            _violations(outcome),
            _figures(outcome),
            _faults(outcome),
            _seen(outcome),
            _watchers(outcome),
            _all_faults(outcome),
        ),
        tag("footer", tag("p", made, "The same faults again: ", tag("code", again), ".")),
    )


def _length(outcome: Outcome, seconds: float) -> str:
    """How long faults happened; of one that was interrupted, and how long they were to."""
    whole = f"{span(1000 * seconds)} of faults"
    if outcome.interrupted_s is None:
        return whole
    return f"interrupted after {span(1000 * outcome.interrupted_s)} of {whole}"


def _state(kept: bool) -> str:
    return "completed" if kept else "failed"


def _lede(outcome: Outcome) -> str:
    done = sum(not one.note.startswith("not done") for one in outcome.happened)
    verdict = outcome.verdict
    told = sum(verdict.events.values())
    early = "" if outcome.interrupted_s is None else "It was interrupted, and this is of what ran until then. "
    faults, watchers = counted(done, "fault"), counted(len(verdict.events), "watcher")
    return (
        f"{early}{faults} met a runtime under load. It had {counted(verdict.operations, 'operation')}, and told "
        f"{watchers} of {counted(told, 'event')}. {span(1000 * outcome.settled_s)} after the "
        f"last fault all was quiet, and what everybody had been told was compared with the journal."
    )


def _violations(outcome: Outcome) -> Html | None:
    violations = outcome.verdict.violations
    if not violations:
        return None
    shown = [
        (str(one.invariant), one.kind, foreign(one.who), tag("code", one.operation_id, class_="id"), words(one.what))
        for one in violations[:VIOLATIONS_SHOWN]
    ]
    more = len(violations) - len(shown)
    return section(
        "Broken promises",
        table("Violations", ("invariant", "kind", "who", "operation", "what"), shown, texts=5),
        tag("p", f"{count(more)} more are in the output of --json.", class_="note") if more else None,
        intro="Numbers are those of the invariants in docs/design.md.",
    )


def _figures(outcome: Outcome) -> Html:
    verdict = outcome.verdict
    ends = verdict.outcomes
    return figures(
        [
            ("Lost", count(verdict.lost), "operations, outcomes or events"),
            ("Doubled", count(verdict.doubled), "operations, outcomes or events"),
            ("Operations", count(verdict.operations), f"{verdict.accepted} submitted, {verdict.reported} reported"),
            ("Completed", count(ends.get("completed", 0)), "as they were to"),
            ("Failed", count(ends.get("failed", 0)), "as planned, or with their program"),
            ("Cancelled", count(ends.get("canceled", 0)), "by one who submitted them"),
        ]
    )


def _faults(outcome: Outcome) -> Html:
    length_s = max(1.0, outcome.took_s)
    rows = []
    for target in TARGETS:
        parts = [
            (
                COLOURS[one.planned.kind],
                min(1.0, one.began_s / length_s),
                min(1.0, (one.ended_s or length_s) / length_s),
                f"{_at(one.began_s)}: {one.planned.fault}, {_lasted(one)}",
            )
            for one in outcome.happened
            if one.planned.target == target and not one.note.startswith("not done")
        ]
        rows.append((WORDS.get(target, target), parts))
    used = {one.planned.kind for one in outcome.happened}
    return section(
        "Faults",
        timeline(
            "faults",
            "Faults over the time of the run",
            f"A row for each part, a mark for each of {counted(len(outcome.happened), 'fault')}.",
            rows,
            _ticks(length_s),
        ),
        legend([(COLOURS[kind], KINDS[kind]) for kind in KINDS if kind in used]),
        intro="Who was harmed, and how long. The runtime starts again what was killed; the rest ends by itself.",
    )


def _seen(outcome: Outcome) -> Html:
    samples = outcome.samples
    pairs = list(pairwise(samples))
    rates = [(later.events - earlier.events) / max(0.001, later.at_s - earlier.at_s) for earlier, later in pairs]
    return section(
        "What was seen",
        tag(
            "div",
            _chart(
                outcome,
                "events",
                "Events a second, as the watcher nearby heard them",
                [(later, rate) for (_, later), rate in zip(pairs, rates, strict=True)],
                "running",
                _figure,
            ),
            _chart(
                outcome,
                "silence",
                "The longest time within each second, or up to it, in which that watcher heard nothing",
                [(sample, sample.silent_s) for sample in samples],
                "paused",
                lambda value: f"{_figure(value)} s",
            ),
            _chart(
                outcome,
                "memory",
                "Memory of broker and gateways",
                [(sample, _servers(sample)) for sample in samples],
                "memory",
                size,
                binary=True,
            ),
            _chart(
                outcome,
                "submitted",
                "Operations submitted so far",
                [(sample, float(sample.accepted)) for sample in samples],
                "completed",
                _figure,
            ),
            class_="charts",
        ),
    )


def _chart(
    outcome: Outcome,
    name: str,
    title: str,
    points: Sequence[tuple[Sample, float]],
    colour: str,
    label: Label,
    *,
    binary: bool = False,
) -> Html:
    length_s = max(1.0, outcome.took_s)
    drawn = curve(
        name,
        title,
        f"{len(points)} values, one a second.",
        [(min(1.0, sample.at_s / length_s), value) for sample, value in points],
        [f"{_at(sample.at_s)}: {label(value)}" for sample, value in points],
        colour=colour,
        label=label,
        ticks=_ticks(length_s),
        binary=binary,
        least_top=0.0 if binary else 1.0,
    )
    return tag("figure", tag("figcaption", title), drawn)


def _figure(value: float) -> str:
    """A value as it is, an axis's own marks as well: what is 0.5 is neither 0 nor 1."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _servers(sample: Sample) -> float:
    return float(sum(used for name, used in sample.memory_bytes.items() if not name.startswith("engine")))


def _watchers(outcome: Outcome) -> Html:
    rows = [(foreign(name), count(told)) for name, told in outcome.verdict.events.items()]
    return section(
        "Watchers",
        table("Events of each watcher", ("watcher", "events"), rows),
        intro="Each event once and in order, from the moment a watcher came. Who came late, or was killed, has fewer.",
    )


def _all_faults(outcome: Outcome) -> Html:
    rows = [
        (
            _at(one.began_s),
            one.planned.target,
            str(one.planned.fault),
            span(1000 * (one.ended_s - one.began_s)) if one.ended_s is not None else NOTHING,
            words(one.note),
        )
        for one in outcome.happened
    ]
    return section("Each fault", folded(counted(len(rows), "fault"), table("Faults", HEADINGS, rows, texts=5)))


def _at(at_s: float) -> str:
    return f"{at_s:.1f} s"


def _lasted(one: Happened) -> str:
    return "to the end" if one.ended_s is None else f"for {span(1000 * (one.ended_s - one.began_s))}"


def _ticks(length_s: float) -> list[Tick]:
    return time_ticks(0, round(1000 * length_s), 0, lambda at_ms, _step_ms: f"{at_ms // 1000} s")
