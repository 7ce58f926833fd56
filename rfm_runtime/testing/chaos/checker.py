"""An outside checker: what watchers, submitters and reporting programs were told, against the journal and what is left.

Shares no code with the runtime: it reads records (JSON lines), the SQLite file, and facts that the harness gathered.
All functions but the last three are pure.
"""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

__all__ = [
    "JournalFacts",
    "Left",
    "Verdict",
    "Violation",
    "check",
    "check_journal",
    "check_left",
    "check_programs",
    "check_submitter",
    "check_watcher",
    "read_journal",
    "read_lines",
    "unfinished",
]

TERMINAL = frozenset({"completed", "failed", "canceled"})
OUTCOMES = frozenset(f"operation_{state}" for state in TERMINAL)

LOST, DOUBLED = "lost", "doubled"

MEMORY_GROWTH_BYTES = 200 * 2**20
"""Of one process over a run: bounded history and caches fit into a tenth of it, a leak of each message does not."""

DESCRIPTORS_GROWTH = 64

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken. invariant: its number in docs/design.md. kind: "lost", "doubled" or a word."""

    invariant: int
    kind: str
    who: str
    operation_id: str
    what: str

    def line(self) -> str:
        """For people."""
        of = f" {self.operation_id}" if self.operation_id else ""
        return f"invariant {self.invariant}, {self.kind}: {self.who}{of}: {self.what}"


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """seqs: of all events, rising. events: of each operation, in order, as (seq, type, state). states: of the rows."""

    epoch: str
    seqs: tuple[int, ...]
    events: Mapping[str, Sequence[tuple[int, str, str]]]
    states: Mapping[str, str]

    @property
    def head(self) -> int:
        """The newest event."""
        return self.seqs[-1] if self.seqs else 0

    def between(self, after: int, until: int) -> Sequence[int]:
        """Events with after < seq ≤ until."""
        return self.seqs[bisect_right(self.seqs, after) : bisect_right(self.seqs, until)]

    def has(self, seq: int) -> bool:
        """Whether there is such an event."""
        at = bisect_left(self.seqs, seq)
        return at < len(self.seqs) and self.seqs[at] == seq


@dataclass(frozen=True, slots=True)
class Left:
    """What the harness found. processes, files: that should not be there. memory_bytes, descriptors: (first, last)."""

    processes: Sequence[str] = ()
    files: Sequence[str] = ()
    memory_bytes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    descriptors: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcomes: operations by how they ended. events: told to each watcher. told: promises to submitters, counted."""

    operations: int
    outcomes: Mapping[str, int]
    events: Mapping[str, int]
    accepted: int
    reported: int
    violations: tuple[Violation, ...]

    @property
    def lost(self) -> int:
        """Operations, outcomes and events that somebody should know of, and does not."""
        return sum(one.kind == LOST for one in self.violations)

    @property
    def doubled(self) -> int:
        """Outcomes, operations and events that came twice."""
        return sum(one.kind == DOUBLED for one in self.violations)


# --- the journal --------------------------------------------------------------------------------


def check_journal(journal: JournalFacts) -> Iterator[Violation]:
    """Each operation has one outcome, nothing after it, and a row that says the same (invariants 1, 2)."""
    for operation_id in sorted({*journal.states, *journal.events}):
        events = journal.events.get(operation_id, ())
        state = journal.states.get(operation_id)
        ends = [seq for seq, kind, _ in events if kind in OUTCOMES]
        if state is None:
            yield Violation(4, LOST, "journal", operation_id, "it has events and no row")
        elif state not in TERMINAL:
            yield Violation(1, LOST, "journal", operation_id, f"no outcome: it is {state} at the end")
        elif events and not ends:
            yield Violation(1, LOST, "journal", operation_id, f"its row says {state}, and no event does")
        if len(ends) > 1:
            yield Violation(1, DOUBLED, "journal", operation_id, f"{len(ends)} outcomes, events {ends}")
        if ends and events[-1][0] != ends[-1]:
            yield Violation(2, "order", "journal", operation_id, f"{events[-1][1]} follows the outcome")
        if ends and state in TERMINAL and events[-1][2] != state:
            yield Violation(4, "difference", "journal", operation_id, f"row {state}, last event {events[-1][2]}")


# --- watchers -----------------------------------------------------------------------------------


class _Watcher:
    """What one watcher knows after each line of its record."""

    def __init__(self, who: str, journal: JournalFacts) -> None:
        self.who = who
        self.journal = journal
        self.events = 0
        self.states: dict[str, str] = {}
        self.ended: set[str] = set()
        self._position: int | None = None
        self._listing = True
        self._seen: set[int] = set()
        self._at_seq: dict[str, int] = {}
        self._bars: dict[str, tuple[tuple[int, int], float]] = {}

    def take(self, line: Line) -> Iterator[Violation]:
        match line["k"]:
            case "open" if line.get("resume") is None:
                self._position, self._listing = None, True
            case "fresh":
                self._position, self._listing = None, True
            case "subscribed" if not line["recovered"]:
                self._listing = True
            case "list":
                yield from self._list(line)
            case "event":
                yield from self._event(line)
            case "progress":
                yield from self._progress(line)
            case "live":
                yield from self._live(line)
            case "end":
                yield from self._end()

    def _list(self, line: Line) -> Iterator[Violation]:
        self._listing = self._listing or line["first"]
        for operation in line["operations"]:
            operation_id = operation["id"]
            if operation["at_seq"] < self._at_seq.get(operation_id, 0):
                yield self._broken(
                    5, "order", operation_id, f"a list shows it as of event {operation['at_seq']}, again"
                )
                continue
            if operation_id in self.ended and operation["state"] != self.states[operation_id]:
                yield self._broken(2, "order", operation_id, f"it had ended, and a list says {operation['state']}")
            self._at_seq[operation_id] = operation["at_seq"]
            self._now(operation_id, operation["state"])
            if operation["latest"] is not None:
                yield from self._bar(operation["latest"])

    def _event(self, line: Line) -> Iterator[Violation]:
        seq, operation_id = line["seq"], line["id"]
        self.events += 1
        if seq in self._seen:
            yield self._broken(5, DOUBLED, operation_id, f"event {seq} came twice")
            return
        self._seen.add(seq)
        if not self.journal.has(seq):
            yield self._broken(4, "difference", operation_id, f"event {seq} ({line['type']}) is not in the journal")
        if not self._listing and self._position is not None:
            if seq < self._position:
                yield self._broken(5, "order", operation_id, f"event {seq} after event {self._position}")
            yield from self._missed(self._position, seq - 1)
        if operation_id in self.ended:
            yield self._broken(2, "order", operation_id, f"{line['type']} (event {seq}) follows its outcome")
        self._position = max(self._position or 0, seq)
        self._at_seq[operation_id] = max(seq, self._at_seq.get(operation_id, 0))
        self._now(operation_id, line["state"])
        if line["final"] is not None:
            yield from self._bar(line["final"])
        elif line["type"] in OUTCOMES:
            yield self._broken(2, "difference", operation_id, "its outcome has no final progress")

    def _progress(self, line: Line) -> Iterator[Violation]:
        if line["id"] in self.ended:
            yield self._broken(2, "order", line["id"], "progress after its outcome")
        if line["percent"] > 99.0:
            yield self._broken(3, "bar", line["id"], f"{line['percent']:g} % without an outcome")
        yield from self._bar(line)

    def _live(self, line: Line) -> Iterator[Violation]:
        if line["epoch"] != self.journal.epoch:
            yield self._broken(4, "difference", "", f"it is told of the log {line['epoch']}, not {self.journal.epoch}")
        if not self._listing and self._position is not None:
            yield from self._missed(self._position, line["seq"])
        self._position = max(self._position or 0, line["seq"])
        self._listing = False

    def _end(self) -> Iterator[Violation]:
        if self._position is None:
            yield self._broken(5, LOST, "", "it never was live")
            return
        yield from self._missed(self._position, self.journal.head)
        for operation_id, state in sorted(self.states.items()):
            truth = self.journal.states.get(operation_id)
            if truth is not None and truth != state:
                yield self._broken(5, "difference", operation_id, f"it believes {state}, the journal says {truth}")

    def _missed(self, after: int, until: int) -> Iterator[Violation]:
        for seq in self.journal.between(after, until):
            yield self._broken(6, LOST, "", f"event {seq} never came")

    def _bar(self, update: Line) -> Iterator[Violation]:
        rev = (update["rev"][0], update["rev"][1])
        known = self._bars.get(update["id"])
        # A client keeps the highest revision; what is older is not shown.
        if known is not None and rev < known[0]:
            return
        if known is not None and update["done"] < known[1]:
            yield self._broken(3, "bar", update["id"], f"its bar went back from {known[1]:g} to {update['done']:g}")
        self._bars[update["id"]] = (rev, update["done"])

    def _now(self, operation_id: str, state: str) -> None:
        self.states[operation_id] = state
        if state in TERMINAL:
            self.ended.add(operation_id)

    def _broken(self, invariant: int, kind: str, operation_id: str, what: str) -> Violation:
        return Violation(invariant, kind, self.who, operation_id, what)


def check_watcher(who: str, lines: Iterable[Line], journal: JournalFacts) -> tuple[int, list[Violation]]:
    """How many events one watcher was told, and what was wrong (invariants 2–6)."""
    watcher = _Watcher(who, journal)
    violations = [violation for line in lines for violation in watcher.take(line)]
    return watcher.events, violations


# --- submitters and programs --------------------------------------------------------------------


def check_submitter(who: str, lines: Iterable[Line], journal: JournalFacts) -> tuple[int, list[Violation]]:
    """How many operations were promised to one submitter, and which promise was broken (invariants 1, 4)."""
    keys: dict[str, str] = {}
    wrong: list[Violation] = []
    for line in lines:
        operation_id = line.get("id", "")
        state = journal.states.get(operation_id)
        if line["k"] in ("accepted", "cancel", "outcome") and state is None:
            wrong.append(Violation(4, LOST, who, operation_id, f"{line['k']}, and the journal does not know it"))
        elif line["k"] == "outcome" and line["state"] != state:
            wrong.append(Violation(1, "difference", who, operation_id, f"told {line['state']}, the journal: {state}"))
        elif line["k"] == "cancel" and line["state"] == "already_terminal" and state not in TERMINAL:
            wrong.append(Violation(1, "difference", who, operation_id, f"told that it had ended, and it is {state}"))
        elif line["k"] == "refused" and line["what"] in ("submit", "wait"):
            # Whoever repeats himself, or asks for what was promised to him, is right to do so.
            wrong.append(Violation(1, LOST, who, "", f"{line['what']} was refused: {line['code']}: {line['why']}"))
        if line["k"] == "accepted" and keys.setdefault(line["key"], operation_id) != operation_id:
            what = f"request key {line['key']} made two operations, the other is {keys[line['key']]}"
            wrong.append(Violation(1, DOUBLED, who, operation_id, what))
    return len(keys), wrong


def check_programs(
    programs: Mapping[str, Sequence[Line]], journal: JournalFacts, canceled_s: Mapping[str, float]
) -> tuple[int, list[Violation]]:
    """How many operations of reporting programs the runtime knows, and what it makes of them (invariants 1, 7).

    canceled_s: when the first watcher heard that an operation is cancelled. Of a program that was killed nothing is
    promised but one outcome of what the runtime knows.
    """
    begun = 0
    wrong: list[Violation] = []
    for who, lines in programs.items():
        lived = any(line["k"] == "end" for line in lines)
        told = any(line["k"] == "flushed" and line["told"] for line in lines)
        for line in lines:
            begun += line["k"] == "begun" and line["id"] in journal.states
            wrong += _program_line(who, line, journal, told=told)
            heard_s = canceled_s.get(line.get("id", ""))
            # With some slack for the clock's reading before and the writing after.
            if line["k"] == "stopped" and heard_s is not None and heard_s < line["t"] - 0.005:
                late_s = line["t"] - heard_s
                wrong.append(Violation(7, "order", who, line["id"], f"cancelled {late_s:.3f} s before it stopped"))
        if lived and not told:
            wrong.append(Violation(1, LOST, who, "", "its last words were not acknowledged within a minute"))
    return begun, wrong


def _program_line(who: str, line: Line, journal: JournalFacts, *, told: bool) -> Iterator[Violation]:
    if line["k"] not in ("begun", "outcome", "stopped") or not told:
        return
    state = journal.states.get(line["id"])
    if state is None:
        yield Violation(4, LOST, who, line["id"], "it was reported, and the journal does not know it")
        return
    said = {"begun": None, "stopped": "canceled"}.get(line["k"], line.get("state"))
    if said is not None and said != state:
        yield Violation(1, "difference", who, line["id"], f"the program said {said}, the journal says {state}")


# --- what is left -------------------------------------------------------------------------------


def check_left(left: Left) -> Iterator[Violation]:
    """No process, socket or frame is left; memory and descriptors are bounded (invariants 7, 10)."""
    for process in left.processes:
        yield Violation(7, "orphan", "system", "", f"process {process} is left")
    for file in left.files:
        yield Violation(7, "orphan", "system", "", f"{file} is left")
    for name, (first, last) in left.memory_bytes.items():
        if last - first > MEMORY_GROWTH_BYTES:
            yield Violation(10, "growth", name, "", f"{first / 2**20:.0f} MiB at first, {last / 2**20:.0f} MiB at last")
    for name, (first, last) in left.descriptors.items():
        if last - first > DESCRIPTORS_GROWTH:
            yield Violation(10, "growth", name, "", f"{first} file descriptors at first, {last} at last")


# --- files --------------------------------------------------------------------------------------


def read_lines(path: Path, last_bytes: int = 0) -> list[dict[str, Any]]:
    """A record, or its last part. Its writer may have been killed in the middle of the last line."""
    lines = []
    with path.open("rb") as file:
        if last_bytes:
            file.seek(max(0, path.stat().st_size - last_bytes))
        content = file.read()
    for line in content.splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            lines.append(msgspec.json.decode(line, type=dict[str, Any]))
    return lines


def read_journal(path: Path) -> JournalFacts:
    """The SQLite file, opened read-only."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (epoch,) = database.execute("select value from meta where key = 'epoch'").fetchone()
        states = dict(database.execute("select operation_id, state from operations"))
        rows = database.execute("select seq, event from events order by seq").fetchall()
    events: dict[str, list[tuple[int, str, str]]] = {}
    for seq, blob in rows:
        event = msgspec.msgpack.decode(blob)
        events.setdefault(event["operation_id"], []).append((seq, event["type"], event["state"]))
    return JournalFacts(epoch, tuple(seq for seq, _ in rows), events, states)


def unfinished(path: Path) -> int:
    """How many operations of a journal have no outcome."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        marks = ", ".join("?" * len(TERMINAL))
        query = f"select count(*) from operations where state not in ({marks})"
        (count,) = database.execute(query, sorted(TERMINAL)).fetchone()
    return int(count)


def check(records: Path, journal: Path, left: Left) -> Verdict:
    """All of a run. records: a folder with `watcher-*`, `submitter-*` and `reporter-*`, each `.jsonl`."""
    facts = read_journal(journal)
    violations = [*check_journal(facts), *check_left(left)]
    events: dict[str, int] = {}
    canceled_s: dict[str, float] = {}
    accepted = 0
    for path in sorted(records.glob("watcher-*.jsonl")):
        lines = read_lines(path)
        events[path.stem.removeprefix("watcher-")], wrong = check_watcher(path.stem, lines, facts)
        violations += wrong
        for line in lines:
            if line["k"] == "event" and line["type"] == "operation_canceled":
                canceled_s[line["id"]] = min(line["t"], canceled_s.get(line["id"], line["t"]))
    for path in sorted(records.glob("submitter-*.jsonl")):
        count, wrong = check_submitter(path.stem, read_lines(path), facts)
        accepted += count
        violations += wrong
    programs = {path.stem: read_lines(path) for path in sorted(records.glob("reporter-*.jsonl"))}
    reported, wrong = check_programs(programs, facts, canceled_s)
    return Verdict(
        operations=len(facts.states),
        outcomes=Counter(facts.states.values()),
        events=events,
        accepted=accepted,
        reported=reported,
        violations=(*violations, *wrong),
    )
