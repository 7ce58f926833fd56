"""The checker finds each kind of violation: records of a run in which all went well, each with one thing changed."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rfm_runtime.testing.chaos.checker import (
    JournalFacts,
    Left,
    Violation,
    check,
    check_journal,
    check_left,
    check_programs,
    check_submitter,
    check_watcher,
    read_lines,
)
from rfm_runtime.testing.chaos.record import Record, brief, brief_event, brief_operation

pytestmark = pytest.mark.scenario("J29")

Lines = list[dict[str, Any]]
MIB = 2**20


def final(operation_id: str, done: float, rev: int) -> dict[str, Any]:
    return {"id": operation_id, "rev": [1, rev], "at_seq": 0, "done": done, "percent": done}


def event(seq: int, kind: str, operation_id: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "t": seq / 10,
        "k": "event",
        "seq": seq,
        "type": kind,
        "id": operation_id,
        "state": state,
        "final": None,
        **more,
    }


def progress(operation_id: str, done: float, rev: int) -> dict[str, Any]:
    return {"t": 0.0, "k": "progress", **final(operation_id, done, rev)}


def live(seq: int) -> dict[str, Any]:
    return {"t": 0.0, "k": "live", "epoch": "log", "seq": seq}


def listed(*operations: tuple[str, str, int, float | None], first: bool = True) -> dict[str, Any]:
    shown = [
        {"id": name, "state": state, "at_seq": at_seq, "latest": None if done is None else final(name, done, 0)}
        for name, state, at_seq, done in operations
    ]
    return {"t": 0.0, "k": "list", "first": first, "operations": shown}


OPEN = {"t": 0.0, "k": "open", "resume": None}
RESUMED = {"t": 0.0, "k": "open", "resume": {"epoch": "log", "seq": 7}}
END = {"t": 9.0, "k": "end"}


def journal() -> JournalFacts:
    """Two operations, of which b is cancelled."""
    told = (
        *((1, "a", "accepted", "queued"), (2, "b", "accepted", "queued"), (3, "a", "started", "running")),
        *((5, "b", "started", "running"), (7, "b", "cancelling", "cancelling")),
        *((8, "a", "completed", "completed"), (9, "b", "canceled", "canceled")),
    )
    events = {
        name: [(seq, f"operation_{kind}", state) for seq, of, kind, state in told if of == name] for name in ("a", "b")
    }
    return JournalFacts("log", (1, 2, 3, 5, 7, 8, 9), events, {"a": "completed", "b": "canceled"})


def watcher() -> Lines:
    """It came when event 2 had happened, and hung up once."""
    return copy.deepcopy(
        [
            OPEN,
            {"t": 0.0, "k": "subscribed", "recovered": False},
            listed(("a", "queued", 1, None)),
            listed(("b", "queued", 2, None), first=False),
            live(2),
            event(3, "operation_started", "a", "running"),
            progress("a", 10.0, 1),
            event(5, "operation_started", "b", "running"),
            progress("a", 50.0, 2),
            event(7, "operation_cancelling", "b", "cancelling"),
            {"t": 0.0, "k": "closed", "why": ""},
            RESUMED,
            {"t": 0.0, "k": "subscribed", "recovered": True},
            event(8, "operation_completed", "a", "completed", final=final("a", 100.0, 3)),
            live(8),
            event(9, "operation_canceled", "b", "canceled", final=final("b", 0.0, 1)),
            END,
        ]
    )


def broken(lines: Lines) -> set[tuple[int, str]]:
    _, violations = check_watcher("w", lines, journal())
    return {(one.invariant, one.kind) for one in violations}


def test_a_run_in_which_all_went_well_has_no_violation() -> None:
    assert check_watcher("w", watcher(), journal()) == (5, [])
    assert list(check_journal(journal())) == []


@pytest.mark.parametrize("seq", [3, 5, 7, 8, 9])
def test_an_event_that_a_watcher_was_not_told_is_lost(seq: int) -> None:
    lines = [line for line in watcher() if line.get("seq") != seq or line["k"] != "event"]
    _, violations = check_watcher("w", lines, journal())
    assert [one.what for one in violations if one.kind == "lost"] == [f"event {seq} never came"]


def test_what_happened_before_a_watcher_came_is_not_lost_and_neither_is_what_a_new_list_skips() -> None:
    lines = watcher()
    again = [OPEN, {"t": 0.0, "k": "subscribed", "recovered": False}]
    again += [listed(("a", "completed", 8, 100.0), ("b", "canceled", 9, 0.0)), live(9), END]
    assert broken([*lines[:8], *again]) == set()


def test_an_event_that_comes_twice_is_doubled() -> None:
    lines = watcher()
    at = next(i for i, line in enumerate(lines) if line.get("seq") == 5)
    assert (5, "doubled") in broken([*lines[: at + 1], lines[at], *lines[at + 1 :]])
    # Also if a resume tells it again.
    assert (5, "doubled") in broken([*lines[:13], lines[at], *lines[13:]])


def test_events_that_change_places_are_out_of_order() -> None:
    lines = watcher()
    lines[5], lines[7] = lines[7], lines[5]
    assert {(6, "lost"), (5, "order")} <= broken(lines)


def test_an_event_that_is_not_in_the_journal_was_told_too_early() -> None:
    lines = watcher()
    assert (4, "difference") in broken([*lines[:8], event(6, "operation_paused", "a", "paused"), *lines[8:]])


def test_a_bar_that_goes_back_is_seen_in_progress_in_lists_and_in_outcomes() -> None:
    lines = watcher()
    lines[8]["done"] = 5.0
    assert (3, "bar") in broken(lines)
    lines = watcher()
    lines[13]["final"]["done"] = 40.0
    assert broken(lines) == {(3, "bar")}
    lines = watcher()
    lines[2]["operations"][0]["latest"] = final("a", 30.0, 0)
    assert broken(lines) == {(3, "bar")}


def test_a_measure_that_was_overtaken_is_no_bar_that_goes_back() -> None:
    lines = watcher()
    assert broken([*lines[:9], progress("a", 10.0, 1), *lines[9:]]) == set()


def test_a_full_bar_without_an_outcome_is_too_much() -> None:
    lines = watcher()
    lines[8]["percent"] = 100.0
    assert broken(lines) == {(3, "bar")}


def test_whatever_follows_an_outcome_is_found() -> None:
    lines = watcher()
    late = {**progress("a", 100.0, 9), "percent": 99.0}
    assert broken([*lines[:14], late, *lines[14:]]) == {(2, "order")}
    assert broken([*lines[:14], listed(("a", "running", 8, None), first=False), *lines[14:]]) >= {(2, "order")}
    doubled = event(9, "operation_failed", "a", "failed", final=final("a", 100.0, 9))
    assert (2, "order") in broken([*lines[:15], doubled, END])


def test_an_outcome_without_its_progress_is_found() -> None:
    lines = watcher()
    lines[13]["final"] = None
    assert broken(lines) == {(2, "difference")}


def test_a_watcher_that_believes_something_else_than_the_journal_has_not_converged() -> None:
    lines = watcher()
    lines[15]["state"] = "failed"
    assert broken(lines) == {(5, "difference")}


def test_a_list_from_the_past_and_another_log_are_found() -> None:
    lines = watcher()
    assert (5, "order") in broken([*lines[:8], listed(("a", "queued", 1, None)), *lines[8:]])
    lines[4]["epoch"] = "another"
    assert (4, "difference") in broken(lines)


def test_a_watcher_that_never_was_live_has_lost_everything() -> None:
    assert broken([OPEN, {"t": 0.0, "k": "closed", "why": "refused"}, END]) == {(5, "lost")}


def changed(change: Callable[[dict[str, Any]], object]) -> set[tuple[int, str]]:
    """With another past of `a`, of which `change` gets the events and the state."""
    facts = journal()
    past = {"events": list(facts.events["a"]), "state": facts.states["a"]}
    change(past)
    events = {"a": past["events"], "b": facts.events["b"]}
    states = {"a": past["state"], "b": facts.states["b"]}
    for table in (events, states):
        if table["a"] is None:
            del table["a"]
    return {(one.invariant, one.kind) for one in check_journal(JournalFacts("log", facts.seqs, events, states))}


def test_a_journal_with_two_outcomes_none_or_something_after_it_is_found() -> None:
    assert changed(lambda past: past["events"].append((10, "operation_failed", "failed"))) >= {(1, "doubled")}
    assert changed(lambda past: past["events"].append((10, "operation_paused", "paused"))) >= {(2, "order")}
    assert changed(lambda past: past.update(state="running")) == {(1, "lost")}
    assert changed(lambda past: past["events"].pop()) == {(1, "lost")}
    assert changed(lambda past: past.update(state="failed")) == {(4, "difference")}
    assert changed(lambda past: past.update(state=None)) == {(4, "lost")}
    # What retention has removed is still an outcome by its row.
    assert changed(lambda past: past.update(events=None)) == set()


def submitted(*lines: dict[str, Any]) -> list[tuple[int, str]]:
    return [
        (one.invariant, one.kind) for one in check_submitter("s", [{"t": 0.0, **line} for line in lines], journal())[1]
    ]


def test_promises_to_submitters_are_kept_or_found_broken() -> None:
    accepted = {"k": "accepted", "id": "a", "key": "1", "asked": "a"}
    assert submitted(accepted, {**accepted, "asked": "c"}, {"k": "outcome", "id": "a", "state": "completed"}) == []
    assert submitted({**accepted, "id": "unknown"}) == [(4, "lost")]
    assert submitted(accepted, {**accepted, "id": "b"}) == [(1, "doubled")]
    assert submitted({"k": "outcome", "id": "a", "state": "failed"}) == [(1, "difference")]
    refused = {"k": "refused", "what": "submit", "code": "conflict", "why": "another content"}
    assert submitted(refused, {**refused, "what": "steer"}) == [(1, "lost")]
    facts = JournalFacts("log", (), {}, {"a": "running"})
    _, [wrong] = check_submitter("s", [{"t": 0.0, "k": "cancel", "id": "a", "state": "already_terminal"}], facts)
    assert (wrong.invariant, wrong.kind) == (1, "difference")


def reported(*lines: dict[str, Any], canceled_s: float | None = None) -> list[tuple[int, str]]:
    heard = {} if canceled_s is None else {"b": canceled_s}
    _, violations = check_programs({"p": [{"t": 5.0, **line} for line in lines]}, journal(), heard)
    return [(one.invariant, one.kind) for one in violations]


def test_what_programs_said_counts_unless_they_were_killed() -> None:
    over = [{"k": "flushed", "told": True}, {"k": "end"}]
    assert reported({"k": "begun", "id": "a"}, {"k": "outcome", "id": "a", "state": "completed"}, *over) == []
    assert reported({"k": "begun", "id": "unknown"}, *over) == [(4, "lost")]
    assert reported({"k": "begun", "id": "unknown"}) == []
    assert reported({"k": "outcome", "id": "a", "state": "failed"}, *over) == [(1, "difference")]
    assert reported({"k": "flushed", "told": False}, {"k": "end"}) == [(1, "lost")]


def test_a_cancel_that_is_told_before_the_program_has_stopped_is_found() -> None:
    over = [{"k": "flushed", "told": True}, {"k": "end"}]
    assert reported({"k": "stopped", "id": "b"}, *over, canceled_s=5.2) == []
    assert reported({"k": "stopped", "id": "b"}, *over, canceled_s=4.8) == [(7, "order")]


def test_what_is_left_and_what_has_grown_is_found() -> None:
    assert list(check_left(Left(memory_bytes={"broker": (90 * MIB, 99 * MIB)}, descriptors={"broker": (30, 31)}))) == []
    found = check_left(
        Left(["1 (worker)"], ["frames/op-a"], {"broker": (90 * MIB, 900 * MIB)}, {"gateway-0": (30, 300)})
    )
    assert [(one.invariant, one.kind) for one in found] == [
        (7, "orphan"),
        (7, "orphan"),
        (10, "growth"),
        (10, "growth"),
    ]


def test_a_whole_run_is_read_from_its_files_and_counted(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "journal.db")
    database.execute("create table meta (key, value)")
    database.execute("create table operations (operation_id, state)")
    database.execute("create table events (seq integer primary key, event)")
    database.execute("insert into meta values ('epoch', 'log')")
    facts = journal()
    for operation_id, events in facts.events.items():
        database.execute("insert into operations values (?, ?)", (operation_id, facts.states[operation_id]))
        for seq, kind, state in events:
            blob = msgspec.msgpack.encode({"operation_id": operation_id, "type": kind, "state": state})
            database.execute("insert into events values (?, ?)", (seq, blob))
    database.commit()
    database.close()
    lines = [line for line in watcher() if line.get("seq") != 7 or line["k"] != "event"]
    (tmp_path / "watcher-w.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    (tmp_path / "submitter-s.jsonl").write_bytes(b'{"t":0,"k":"accepted","id":"a","key":"1"}\n{"t":0,"k":"acc')
    (tmp_path / "reporter-1.jsonl").write_bytes(b'{"t":0.8,"k":"begun","id":"b"}\n{"t":2,"k":"stopped","id":"b"}\n')
    verdict = check(tmp_path, tmp_path / "journal.db", Left())
    assert (verdict.operations, verdict.outcomes) == (2, {"completed": 1, "canceled": 1})
    assert (verdict.events, verdict.accepted, verdict.reported) == ({"w": 4}, 1, 1)
    assert (verdict.lost, verdict.doubled) == (1, 0)
    assert [one.line() for one in verdict.violations] == [
        "invariant 6, lost: watcher-w: event 7 never came",
        "invariant 7, order: reporter-1 b: cancelled 1.100 s before it stopped",
    ]


def test_a_record_is_readable_whatever_became_of_its_writer(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    update = {"operation_id": "a", "rev": (1, 2), "at_seq": 3, "measured_at_ms": 4, "done": 5.0}
    record.write("progress", **(brief(update) or {}))
    happened = {"seq": 8, "operation_id": "a", "state": "completed", "final": update, "ts_ms": 1}
    record.write("event", **brief_event(happened, "operation_completed"))
    operation = {"operation_id": "a", "state": "running", "at_seq": 3, "latest": update, "kind": "k"}
    record.write("list", first=True, operations=[brief_operation(operation)])
    record.write("live", epoch="log", seq=9)
    with (tmp_path / "record.jsonl").open("ab") as file:
        file.write(b'{"t": 1, "k": "ev')
    lines = read_lines(tmp_path / "record.jsonl")
    assert [line["k"] for line in lines] == ["progress", "event", "list", "live"]
    assert lines[0]["done"] == lines[1]["final"]["done"] == lines[2]["operations"][0]["latest"]["done"] == 5.0
    assert (record.events, record.position) == (1, 9)
    record.close()


def test_a_violation_says_which_promise_it_breaks() -> None:
    assert Violation(1, "lost", "journal", "a", "no outcome").line() == "invariant 1, lost: journal a: no outcome"
