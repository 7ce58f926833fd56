"""Handles: who waits hears every change and each end; files are written whole, or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.handle import AsyncOperation, RenderResult, Track, check_target, write_file
from rfm_runtime.errors import (
    OperationCanceled,
    OperationFailedError,
    OutcomeError,
    OutputExistsError,
    RfmError,
    SetupError,
    UnavailableError,
    UnknownOperationError,
)
from rfm_runtime.protocol.operation import TERMINAL_STATES, ErrorInfo, Operation, ProgressUpdate


def progress(n: int) -> ProgressUpdate:
    return ProgressUpdate(operation_id="a", rev=(1, n), at_seq=1, measured_at_ms=n, done=float(n))


def operation(state: Any = "running", *, latest: int | None = None, error: ErrorInfo | None = None) -> Operation:
    return Operation(
        operation_id="a",
        kind="k",
        name="n",
        owner="o",
        state=state,
        at_seq=1,
        created_at_ms=0,
        latest=None if latest is None else progress(latest),
        error=error,
    )


def handle(track: Track) -> AsyncOperation:
    return AsyncOperation(AsyncClient("ws://127.0.0.1:1/"), track)


def now_is(track: Track, known: Operation) -> None:
    track.operation = known
    track.bump()


def lost(track: Track) -> None:
    track.lost = UnknownOperationError("a is unknown")
    track.bump()


def stopped(track: Track) -> None:
    track.stopped = UnavailableError("the client was closed")
    track.bump()


async def while_waiting(waiter: Any, *steps: Callable[[], None]) -> Any:
    """What the waiter gets from steps that happen one by one while it waits."""
    task = asyncio.ensure_future(waiter)
    for step in steps:
        for _ in range(3):
            await asyncio.sleep(0)
        step()
    async with asyncio.timeout(10):
        return await task


async def collected(handle: AsyncOperation) -> list[int]:
    return [update.rev[1] async for update in handle.progress()]


# --- waiting ------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 20), max_size=20), st.sampled_from(sorted(TERMINAL_STATES)))
def test_progress_rises_and_ends_with_the_last_whatever_is_skipped(revisions: list[int], state: str) -> None:
    async def run() -> list[int]:
        track = Track("a")
        steps = [lambda n=n: now_is(track, operation(latest=n)) for n in revisions]
        steps.append(lambda: now_is(track, operation(state, latest=99)))
        return await while_waiting(collected(handle(track)), *steps)

    seen = asyncio.run(run())
    assert seen == sorted(set(seen))
    assert seen[-1] == 99
    assert set(seen) <= {*revisions, 99}


def test_progress_of_what_ended_long_ago_is_its_final_one() -> None:
    async def run() -> tuple[list[int], list[int]]:
        with_final, without = Track("a"), Track("a")
        with_final.operation, without.operation = operation("failed", latest=7), operation("canceled")
        return await collected(handle(with_final)), await collected(handle(without))

    assert asyncio.run(run()) == ([7], [])


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_everybody_who_waits_hears_of_the_outcome(state: str) -> None:
    async def run() -> list[str]:
        track = Track("a")
        waiters = asyncio.gather(*(handle(track).wait() for _ in range(3)))
        return await while_waiting(
            waiters, track.bump, lambda: now_is(track, operation()), lambda: now_is(track, operation(state))
        )

    assert asyncio.run(run()) == [state] * 3


@pytest.mark.parametrize(("end", "kind"), [(lost, UnknownOperationError), (stopped, UnavailableError)])
@pytest.mark.parametrize("waits", ["wait", "outcome", "progress"])
def test_who_waits_for_what_cannot_come_any_more_is_told(
    end: Callable[[Track], None], kind: type[RfmError], waits: str
) -> None:
    async def run() -> None:
        track = Track("a")
        waiter = collected(handle(track)) if waits == "progress" else getattr(handle(track), waits)()
        with pytest.raises(kind):
            await while_waiting(waiter, lambda: end(track))
        # And so is who comes later.
        with pytest.raises(kind):
            await handle(track).wait(10)

    asyncio.run(run())


@pytest.mark.parametrize("end", [lost, stopped])
def test_a_known_outcome_is_not_lost_with_the_connection(end: Callable[[Track], None]) -> None:
    track = Track("a")
    track.operation = operation("completed")
    end(track)
    assert asyncio.run(handle(track).wait()) == "completed"


def test_a_time_out_says_the_state_and_leaves_nothing_behind() -> None:
    async def run() -> None:
        track = Track("a")
        track.operation = operation("paused")
        with pytest.raises(UnavailableError, match=r"a is still paused after 0\.01 s"):
            await handle(track).wait(0.01)
        assert await while_waiting(handle(track).wait(), lambda: now_is(track, operation("failed"))) == "failed"

    asyncio.run(run())


def test_an_outcome_is_the_operation_or_its_error() -> None:
    async def outcome(known: Operation) -> Operation:
        track = Track("a")
        track.operation = known
        return await handle(track).outcome()

    assert asyncio.run(outcome(operation("completed"))) == operation("completed")
    with pytest.raises(OperationCanceled, match="a was cancelled"):
        asyncio.run(outcome(operation("canceled")))
    with pytest.raises(OperationFailedError, match="a failed"):
        asyncio.run(outcome(operation("failed")))
    cause = ErrorInfo(code="worker_lost", message="the worker died", hint="look")
    with pytest.raises(OperationFailedError, match="the worker died") as caught:
        asyncio.run(outcome(operation("failed", error=cause)))
    assert (caught.value.cause_code, caught.value.hint) == ("worker_lost", "look")


def test_a_handle_of_what_is_not_known_yet_is_pending() -> None:
    fresh = handle(Track("a"))
    assert (fresh.id, fresh.state, fresh.info, repr(fresh)) == ("a", "pending", None, "<AsyncOperation a pending>")


def test_a_file_that_was_not_fetched_is_asked_for() -> None:
    with pytest.raises(OutcomeError, match=r"n\.npy was not fetched") as caught:
        _ = RenderResult(operation("completed"), {}).n
    assert "arrays=True" in (caught.value.hint or "")


# --- files --------------------------------------------------------------------------------------


@pytest.fixture(params=["hard links", "none"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with hard links, and one (FAT, some network shares) that answers link(2) with EPERM."""

    def no_links(source: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(source))

    if request.param == "none":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("force", [False, True])
def test_a_new_file_is_written_whole_and_nothing_else_is_left(tmp_path: Path, force: bool) -> None:
    target = tmp_path / "picture.png"
    assert check_target(target, force=force) == target
    assert write_file(target, b"content", force=force) == target
    assert target.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("file_system")
def test_a_file_that_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="exists and was kept") as caught:
        check_target(target, force=False)
    assert "--force" in (caught.value.hint or "")
    # It may also have come between the check and the end of the render.
    with pytest.raises(OutputExistsError):
        write_file(target, b"new", force=False)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    write_file(target, b"new", force=True)
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("file_system")
def test_a_dangling_link_is_not_followed_nor_replaced(tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputExistsError):
        write_file(target, b"new", force=False)
    assert not (tmp_path / "elsewhere").exists()
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_cannot_be_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is a folder"):
        check_target(tmp_path, force=True)
    with pytest.raises(SetupError, match="does not exist") as caught:
        check_target(tmp_path / "none" / "picture.png", force=False)
    assert caught.value.hint


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, force: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/null")):
        with pytest.raises(SetupError, match="no regular file"):
            check_target(path, force=force)
    with pytest.raises(SetupError, match="no file") as caught:
        check_target("-", force=force)
    assert "./-" in (caught.value.hint or "")


def test_with_force_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"old")
    link = tmp_path / "link.png"
    link.symlink_to("real.png")
    write_file(check_target(link, force=True), b"new", force=True)
    assert link.is_symlink()
    assert (tmp_path / "real.png").read_bytes() == b"new"


def test_a_file_that_cannot_be_written_says_why_and_where_the_result_still_is(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file or directory") as caught:
        write_file(tmp_path / "none" / "picture.png", b"", force=False)
    assert "rfm-runtime fetch" in (caught.value.kept or "")


@pytest.mark.usefixtures("file_system")
def test_of_many_who_write_one_file_one_wins_and_its_content_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    contents = [bytes([n]) * 100_000 for n in range(8)]
    kept: list[bytes] = []

    def write(content: bytes) -> None:
        try:
            write_file(target, content, force=False)
        except OutputExistsError:
            return
        kept.append(content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [target.read_bytes()] == kept
    assert list(tmp_path.iterdir()) == [target]
