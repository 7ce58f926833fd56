"""The mirror: whatever is repeated, late or out of order, the newest is known and nothing follows an outcome."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.mirror import FINISHED_KEPT, Mirror
from rfm_runtime.protocol.messages import OperationList, ResumeFrom
from rfm_runtime.protocol.operation import (
    TERMINAL_EVENTS,
    TERMINAL_STATES,
    Artifact,
    ErrorInfo,
    Operation,
    OperationEvent,
    ProgressUpdate,
)


def operation(operation_id: str = "a", *, at_seq: int = 1, state: Any = "queued", **fields: Any) -> Operation:
    return Operation(
        operation_id=operation_id, kind="k", name="n", owner="o", state=state, at_seq=at_seq, created_at_ms=0, **fields
    )


def progress(n: int, operation_id: str = "a", *, incarnation: int = 1, done: float | None = None) -> ProgressUpdate:
    done = float(n) if done is None else done
    return ProgressUpdate(operation_id=operation_id, rev=(incarnation, n), at_seq=1, measured_at_ms=n, done=done)


def event(seq: int, kind: Any, state: Any, operation_id: str = "a", **fields: Any) -> OperationEvent:
    return OperationEvent(seq=seq, ts_ms=seq, type=kind, operation_id=operation_id, state=state, **fields)


def accepted(seq: int, operation_id: str = "a") -> OperationEvent:
    new = operation(operation_id, at_seq=seq, state="queued")
    return event(seq, "operation_accepted", "queued", operation_id, operation=new)


def life(operation_id: str, first: int) -> list[OperationEvent]:
    """Of an operation that runs, is requeued, runs and completes."""
    final = progress(99, operation_id)
    return [
        accepted(first, operation_id),
        event(first + 1, "operation_started", "running", operation_id, generation=1),
        event(first + 2, "operation_requeued", "queued", operation_id, generation=1, reason="worker lost"),
        event(first + 3, "operation_started", "running", operation_id, generation=2),
        event(first + 4, "operation_completed", "completed", operation_id, generation=2, final=final),
    ]


def known(mirror: Mirror, operation_id: str = "a") -> Operation:
    return mirror.operations[operation_id]


LOG = [one for pair in zip(life("a", 1), life("b", 2), strict=True) for one in pair]
# Two lives interleaved, numbered as one log.
EVENTS = [msgspec.structs.replace(one, seq=seq, ts_ms=seq) for seq, one in enumerate(LOG, start=1)]
MEASURES = [progress(n, operation_id) for operation_id in "ab" for n in range(1, 9)]


def whole() -> Mirror:
    mirror = Mirror()
    mirror.forget_log("log")
    for one in EVENTS:
        mirror.event(one)
    return mirror


# --- properties ---------------------------------------------------------------------------------


@given(st.lists(st.integers(0, len(EVENTS)), max_size=8), st.lists(st.sampled_from(MEASURES), max_size=20), st.data())
def test_a_watcher_that_resumes_however_often_ends_as_one_that_never_dropped(
    drops: list[int], measures: list[ProgressUpdate], data: st.DataObject
) -> None:
    mirror = Mirror()
    mirror.forget_log("log")
    for upto in [*drops, len(EVENTS)]:
        # The server replays what follows the position; progress comes whenever it likes, repeated and late.
        for one in EVENTS[mirror.seq : max(upto, mirror.seq)]:
            assert mirror.event(one)
            for update in data.draw(st.lists(st.sampled_from(measures), max_size=2)) if measures else []:
                mirror.progress(update)
        assert mirror.resume == ResumeFrom("log", mirror.seq)
    assert mirror.operations == whole().operations


@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_an_event_that_is_repeated_changes_nothing(repeated: list[OperationEvent]) -> None:
    mirror = whole()
    assert not [one for one in repeated if mirror.event(one)]
    assert (mirror.operations, mirror.seq) == (whole().operations, len(EVENTS))


@given(st.permutations(list(range(10))), st.lists(st.integers(0, 9)))
def test_of_progress_the_highest_revision_stays_however_it_comes(order: list[int], again: list[int]) -> None:
    mirror = Mirror()
    mirror.event(accepted(1))
    shown = []
    for n in order + again:
        before = known(mirror).latest
        if mirror.progress(progress(n)):
            shown.append(known(mirror).latest.rev)
        else:
            assert known(mirror).latest == before
    assert shown == sorted(set(shown))
    assert known(mirror).latest == progress(9)


STEPS = st.one_of(
    st.sampled_from(EVENTS),
    st.sampled_from(MEASURES),
    st.builds(
        operation,
        st.sampled_from("ab"),
        at_seq=st.integers(1, 8),
        state=st.sampled_from(["queued", "running"]),
        latest=st.none() | st.sampled_from(MEASURES),
    ),
)


@given(st.lists(STEPS, max_size=40))
def test_nothing_goes_back_and_nothing_follows_an_outcome_whatever_comes(steps: list[Any]) -> None:
    mirror = Mirror()
    for step in steps:
        before = dict(mirror.operations)
        position = mirror.seq
        match step:
            case OperationEvent():
                mirror.event(step)
            case ProgressUpdate():
                mirror.progress(step)
            case Operation():
                mirror.listed(step)
        assert mirror.seq >= position
        for operation_id, old in before.items():
            new = mirror.operations[operation_id]
            assert new.at_seq >= old.at_seq
            if old.state in TERMINAL_STATES and new.at_seq == old.at_seq:
                assert new == old
            elif old.latest is not None and new.state not in TERMINAL_STATES:
                assert new.latest is not None
                assert new.latest.rev >= old.latest.rev


@given(st.sets(st.integers(0, 9)), st.integers(1, 4), st.sets(st.integers(0, 9)))
def test_a_new_list_takes_away_what_is_alive_here_alone(listed: set[int], size: int, finished: set[int]) -> None:
    mirror = Mirror()
    for n in range(10):
        state = "completed" if n in finished else "running"
        mirror.listed(operation(str(n), state=state))
    ids = [str(n) for n in sorted(listed)]
    pages = [ids[at : at + size] for at in range(0, len(ids), size)] or [[]]
    changed = []
    for number, page in enumerate(pages):
        operations = [operation(one, at_seq=2, state="running") for one in page]
        message = OperationList(operations=operations, more=number < len(pages) - 1, first=number == 0)
        changed += mirror.page(message)
    assert set(mirror.operations) == {str(n) for n in listed | finished}
    assert sorted(changed) == sorted({*ids, *(str(n) for n in range(10) if n not in finished)})


# --- examples -----------------------------------------------------------------------------------


def test_before_there_was_a_connection_there_is_nothing_to_resume() -> None:
    assert Mirror().resume is None


def test_the_position_is_known_from_the_welcome_on_and_moves_with_events_and_live() -> None:
    mirror = Mirror()
    mirror.forget_log("log")
    assert mirror.resume == ResumeFrom("log", 0)
    mirror.event(accepted(7))
    mirror.moved("log", 5)
    assert mirror.resume == ResumeFrom("log", 7)
    mirror.moved("log", 9)
    assert mirror.resume == ResumeFrom("log", 9)


def test_another_log_begins_anew_and_the_same_one_goes_on() -> None:
    mirror = whole()
    mirror.forget_log("log")
    assert mirror.operations == whole().operations
    mirror.forget_log("restored")
    assert (mirror.operations, mirror.resume) == ({}, ResumeFrom("restored", 0))
    assert mirror.event(accepted(1))


def test_between_a_welcome_to_another_log_and_its_list_there_is_no_whole_position() -> None:
    mirror = whole()
    mirror.forget_log("restored", 4)
    assert (mirror.operations, mirror.resume) == ({}, ResumeFrom("restored", 4, partial=True))
    mirror.page(OperationList(operations=[operation(at_seq=5)], more=False, first=True))
    mirror.moved("restored", 5)
    assert mirror.resume == ResumeFrom("restored", 5)
    mirror.forget_log("restored", 9)
    assert mirror.resume == ResumeFrom("restored", 5)


def test_progress_of_what_is_unknown_is_not_shown() -> None:
    mirror = Mirror()
    assert not mirror.progress(progress(1))
    assert not mirror.operations


def test_an_event_of_what_is_unknown_is_told_and_moves_the_position() -> None:
    mirror = Mirror()
    assert mirror.event(event(4, "operation_queued", "queued"))
    assert (mirror.operations, mirror.seq) == ({}, 4)


def test_progress_after_the_outcome_is_not_shown_even_of_a_higher_revision() -> None:
    mirror = whole()
    assert not mirror.progress(progress(1000))
    assert known(mirror).latest == progress(99)


def test_progress_of_a_later_incarnation_is_newer_whatever_its_number() -> None:
    mirror = Mirror()
    mirror.event(accepted(1))
    assert mirror.progress(progress(50))
    assert mirror.progress(progress(1, incarnation=2))
    assert not mirror.progress(progress(51))


def test_progress_that_overtook_the_list_is_kept() -> None:
    mirror = Mirror()
    mirror.listed(operation(state="running"))
    mirror.progress(progress(5))
    assert not mirror.listed(operation(state="running"))
    assert not mirror.listed(operation(state="running", latest=progress(4)))
    assert known(mirror).latest == progress(5)
    assert mirror.listed(operation(state="running", latest=progress(6)))
    assert known(mirror).latest == progress(6)


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_an_outcome_in_a_list_brings_the_last_progress(state: str) -> None:
    mirror = Mirror()
    mirror.listed(operation(state="running", latest=progress(9)))
    assert mirror.listed(operation(state=state, at_seq=2, latest=progress(8)))
    assert known(mirror).latest == progress(8)


def test_an_older_list_does_not_undo_an_event() -> None:
    mirror = whole()
    assert not mirror.listed(operation(state="running", at_seq=3))
    assert known(mirror).state == "completed"


def test_an_event_that_the_list_has_already_moves_the_position_only() -> None:
    mirror = Mirror()
    mirror.listed(operation(at_seq=5, state="running"))
    assert not mirror.event(event(4, "operation_queued", "queued"))
    assert (known(mirror).state, mirror.seq) == ("running", 4)


def test_an_answer_between_two_pages_is_part_of_the_list() -> None:
    mirror = Mirror()
    mirror.page(OperationList(operations=[operation("a")], more=True, first=True))
    mirror.listed(operation("b"))
    assert mirror.page(OperationList(operations=[operation("c")], more=False)) == ["c"]
    assert set(mirror.operations) == {"a", "b", "c"}


@pytest.mark.parametrize("kind", sorted(TERMINAL_EVENTS))
def test_an_outcome_carries_what_it_left(kind: str) -> None:
    mirror = Mirror()
    mirror.event(accepted(1))
    mirror.progress(progress(3))
    artifact = Artifact(name="image.png", media_type="image/png", size_bytes=1, sha256="0")
    error = ErrorInfo(code="worker_lost", message="it died")
    state = kind.removeprefix("operation_")
    fields = {"final": progress(4), "artifacts": (artifact,), "error": error, "forced": True, "cancel_requested": True}
    assert mirror.event(event(2, kind, state, **fields))
    found = known(mirror)
    assert (found.state, found.latest, found.ended_at_ms) == (state, progress(4), 2)
    assert (found.artifacts, found.error, found.forced, found.cancel_requested) == ((artifact,), error, True, True)


def test_a_change_of_priority_is_known_and_survives_other_events() -> None:
    mirror = Mirror()
    mirror.event(accepted(1))
    mirror.event(event(2, "operation_priority", "queued", priority=7))
    mirror.event(event(3, "operation_started", "running", generation=1))
    assert (known(mirror).priority, known(mirror).generation) == (7, 1)


def test_only_so_many_finished_operations_are_kept_the_newest_and_all_that_live() -> None:
    mirror = Mirror()
    mirror.event(accepted(1, "alive"))
    seq = 1
    for n in range(FINISHED_KEPT + 500):
        mirror.event(accepted(seq + 1, f"x{n}"))
        mirror.event(event(seq + 2, "operation_completed", "completed", f"x{n}"))
        seq += 2
    assert len(mirror.operations) <= FINISHED_KEPT + 1
    assert {"alive", f"x{FINISHED_KEPT + 499}"} <= set(mirror.operations)
    assert "x0" not in mirror.operations


def test_within_a_list_there_is_no_whole_position() -> None:
    mirror = Mirror()
    mirror.forget_log("log")
    mirror.moved("log", 3)
    mirror.page(OperationList(operations=[operation(at_seq=5)], more=True, first=True))
    assert mirror.resume == ResumeFrom("log", 3, partial=True)
    mirror.page(OperationList(operations=[operation("b", at_seq=4)], more=False))
    mirror.event(accepted(6, "c"))
    mirror.forget_log("log")
    assert mirror.resume == ResumeFrom("log", 6, partial=True)
    mirror.moved("log~other", 7)
    assert mirror.resume == ResumeFrom("log~other", 7)
    mirror.page(OperationList(operations=[], more=False, first=True))
    mirror.forget_log("another")
    assert (mirror.operations, mirror.resume) == ({}, ResumeFrom("another", 0))
