"""Start, render, watch, steer, cancel, fetch: the whole path through real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from websockets.sync.client import connect

from rfm_kernels.oracle import escape
from rfm_runtime import Client
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.handle import Operation
from rfm_runtime.errors import (
    BadRequestError,
    ConflictError,
    OperationCanceled,
    OperationFailedError,
    UnavailableError,
    UnknownOperationError,
)
from rfm_runtime.protocol.messages import Live, OperationList
from rfm_runtime.protocol.operation import OperationEvent
from rfm_runtime.render.image_metadata import from_text
from rfm_runtime.render.palettes import PALETTES
from rfm_runtime.render.plan import plan
from rfm_runtime.render.presets import preset
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.whole import ENDLESS, KIND, QUICK, SECONDS, Recorder, digest

pytestmark = pytest.mark.integration

STORY = ["accepted", "queued", "started", "completed"]


def environment(running: Runtime) -> dict[str, str]:
    return {
        "RFM_RUNTIME_DIR": str(running.folders.runtime),
        "PATH": "/usr/bin:/bin",
        "HOME": str(running.folders.state),
    }


@pytest.mark.scenario("B1")
def test_every_kind_of_watcher_sees_the_whole_story_in_order(running: Runtime, client: Client) -> None:
    watchers = [Recorder(running), Recorder(running, encoding="json")]
    command = subprocess.Popen(
        [sys.executable, "-P", "-m", "rfm_runtime.cli", "watch", "--json"],
        env=environment(running),
        stdout=subprocess.PIPE,
        text=True,
    )
    with command:
        assert command.stdout is not None
        lines = iter(command.stdout.readline, "")
        try:
            eventually(lambda: json.loads(next(lines))["type"] == "live", what="the command watches")
            with connect(running.url, max_size=None) as foreign:
                foreign.send(json.dumps({"type": "hello", "data": {"token": running.info.token}}))
                foreign.send(json.dumps({"type": "subscribe", "data": {"operations": "all"}}))
                operation = client.submit(KIND, SECONDS)
                assert operation.wait(60) == "completed"
                seen = foreign_story(foreign, operation.id)
            assert seen == STORY
            for watcher in watchers:
                watcher.await_end(operation.id)
                watcher.check_story(operation.id)
                assert watcher.types(operation.id) == STORY
                assert len(watcher.progress(operation.id)) >= 5
                watcher.close()
            told = []
            for line in lines:
                notice = json.loads(line)
                if notice["type"].startswith("operation_") and notice["data"].get("operation_id") == operation.id:
                    told.append(notice["type"].removeprefix("operation_"))
                    if told[-1] == "completed":
                        break
        finally:
            command.kill()
    assert told == STORY


def foreign_story(socket: object, operation_id: str) -> list[str]:
    """The events of an operation as a client sees them that knows nothing but JSON."""
    story: list[str] = []
    while "completed" not in story:
        message = json.loads(socket.recv(timeout=20))  # type: ignore[attr-defined]
        for envelope in message if isinstance(message, list) else [message]:
            data = envelope.get("data", {})
            if envelope["type"].startswith("operation_") and data.get("operation_id") == operation_id:
                story.append(envelope["type"].removeprefix("operation_"))
    return story


@pytest.mark.scenario("B5")
def test_a_late_watcher_gets_the_list_first_then_live(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)
    eventually(lambda: operation.state == "running", what="it runs")
    late = Recorder(running)
    eventually(lambda: late.progress(operation.id), what="the late watcher sees progress")
    kinds = [type(notice) for notice in late.notices]
    assert kinds[0] is OperationList
    assert kinds.index(Live) == next(i for i, kind in enumerate(kinds) if kind is not OperationList)
    listed = late.notices[0]
    assert isinstance(listed, OperationList)
    assert operation.id in [o.operation_id for o in listed.operations]
    operation.cancel()
    late.await_end(operation.id)
    assert late.types(operation.id) == ["cancelling", "canceled"]
    late.close()


def test_the_demo_equals_the_oracle_at_64_pixels(client: Client) -> None:
    request = preset("seahorse").request
    operation = client.render("seahorse", width_px=1920, height_px=1080)
    result = operation.result(60)
    assert result.image.size == (1920, 1080)
    assert result.n.shape == (1080, 1920)
    view = plan(request)
    rng = np.random.default_rng(64)
    for _ in range(64):
        x, y = int(rng.integers(1920)), int(rng.integers(1080))
        re, im = view.origin[0] + view.right[0] * x, view.origin[1] + view.down[1] * y
        n, mu, _ = escape("mandelbrot", re, im, None, request.max_iter, request.bailout, 200)
        assert int(result.n[y, x]) == n
        if n >= 0:
            assert float(result.n[y, x]) + float(result.nf[y, x]) == pytest.approx(mu, abs=1e-3)


@pytest.mark.scenario("B3", "C3")
def test_another_watcher_cancels_in_mid_pixel_and_the_work_stops(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)
    workers = running.workers()
    before = [worker.cpu_times().user for worker in workers]
    eventually(
        lambda: all(w.cpu_times().user > b + 0.05 for w, b in zip(workers, before, strict=True)), what="it iterates"
    )
    with Client(url=running.url, token=running.info.token) as other:
        assert other.cancel(operation.id, reason="enough") == "cancelling"
    assert operation.wait(5) == "canceled"
    idle = sum(on_cpu_ns(worker.pid) for worker in workers)
    time.sleep(0.1)
    # Two processes that only wake up to look cost far less than a hundredth of a core.
    assert sum(on_cpu_ns(worker.pid) for worker in workers) - idle < 2_000_000
    assert {worker.pid for worker in running.workers()} == {worker.pid for worker in workers}, "nobody was killed"
    with pytest.raises(OperationCanceled):
        operation.result(1)
    assert client.cancel(operation.id) == "already_terminal"
    assert not list(running.folders.frames.iterdir()), "a cancelled render leaves no frame"


def on_cpu_ns(pid: int) -> int:
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


@pytest.mark.scenario("C4")
@pytest.mark.parametrize("moment", ["at once", "preview", "tiles", "last tile", "image"])
def test_cancel_at_any_moment_is_an_outcome_and_leaves_nothing(running: Runtime, client: Client, moment: str) -> None:
    params = {**SECONDS, "tile_px": 64}
    if moment == "preview":
        params = ENDLESS
    elif moment == "image":
        # Noise does not compress: encoding takes its time.
        params = {**QUICK, "width_px": 6000, "height_px": 3000, "max_iter": 300, "density": 900.0}
    operation = client.submit(KIND, params)
    if moment != "at once":
        await_moment(operation, moment)
    operation.cancel()
    state = operation.wait(20)
    assert state == "canceled" or (state == "completed" and moment in ("last tile", "image"))
    assert not list(running.folders.frames.iterdir())
    assert (running.folders.artifacts / f"op-{operation.id}").exists() == (state == "completed")


def await_moment(operation: Operation, moment: str) -> None:
    for update in operation.progress():
        if moment in ("preview", "tiles", "image") and update.step == moment:
            return
        if moment == "last tile" and update.tiles is None and update.progress > 95.0:
            return


@pytest.mark.scenario("B12")
def test_a_paused_render_stands_still_and_goes_on_to_the_same_picture(running: Runtime, client: Client) -> None:
    whole = client.submit(KIND, SECONDS)
    assert whole.wait(60) == "completed"
    operation = client.submit(KIND, SECONDS)
    for update in operation.progress():
        if update.progress > 10.0:
            break
    operation.pause()
    eventually(lambda: operation.state == "paused", what="it is paused")
    workers = running.workers()
    idle = sum(on_cpu_ns(worker.pid) for worker in workers)
    time.sleep(0.1)
    assert sum(on_cpu_ns(worker.pid) for worker in workers) - idle < 2_000_000
    assert "paused" in client.explain(operation.id)[0]
    operation.resume()
    assert operation.wait(60) == "completed"
    assert digest(client, operation.id) == digest(client, whole.id)


@pytest.mark.scenario("C9")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": "nan"}, "width"),
        ({"re": float("nan")}, "re"),
        ({"width_px": -1}, "width_px"),
        ({"max_iter": -1}, "max_iter"),
        ({"re": "0." + "1" * 30_000}, "characters"),
        ({"formula": "mandelbrod"}, "mandelbrod"),
        ({"plaette": "turbo"}, "plaette"),
        ({"im": "٣"}, "im"),
    ],
)
def test_bad_parameters_are_refused_at_submit_with_what_to_do(client: Client, change: dict, says: str) -> None:
    before = len(client.operations())
    with pytest.raises(BadRequestError, match=says) as caught:
        client.submit(KIND, {**QUICK, **change})
    assert caught.value.hint
    assert len(client.operations()) == before


def test_an_unknown_kind_names_the_known_ones(client: Client) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.submit("render.escpae", QUICK)
    assert caught.value.hint is not None
    assert KIND in caught.value.hint


def test_unicode_names_travel(client: Client) -> None:
    operation = client.submit(KIND, QUICK, name="Ω ≠ 数 🌀", labels={"für": "später"})
    assert operation.wait(30) == "completed"
    described = client.operation(operation.id)
    assert (described.name, described.labels) == ("Ω ≠ 数 🌀", {"für": "später"})


def test_the_same_request_key_does_nothing_twice(client: Client) -> None:
    first = client.submit(KIND, QUICK, request_key="once", operation_id="op.once")
    again = client.submit(KIND, QUICK, request_key="once", operation_id="op.once")
    assert first.id == again.id
    with pytest.raises(ConflictError):
        client.submit(KIND, {**QUICK, "max_iter": 7}, request_key="once", operation_id="op.once")
    assert first.wait(30) == "completed"


def test_who_asks_for_what_is_not_there_is_told(client: Client) -> None:
    for ask in (client.operation, client.cancel, client.explain, client.pause):
        with pytest.raises(UnknownOperationError):
            ask("nothing")


@pytest.mark.scenario("B2")
def test_a_failure_carries_code_message_and_what_to_do(running: Runtime, client: Client) -> None:
    frames = running.folders.frames
    frames.rmdir()
    frames.write_text("in the way")
    try:
        watcher = Recorder(running)
        operation = client.submit(KIND, QUICK)
        with pytest.raises(OperationFailedError, match="the frame cannot be made: Not a directory") as caught:
            operation.result(20)
        assert caught.value.cause_code == "no_frame"
        assert caught.value.hint
        watcher.await_end(operation.id)
        (failed,) = [event for event in watcher.events(operation.id) if event.type == "operation_failed"]
        assert failed.error is not None
        assert failed.error.severity == "error"
        watcher.close()
    finally:
        frames.unlink()
        frames.mkdir()


@pytest.mark.scenario("B4")
def test_a_crowd_of_operations_loses_and_doubles_none(running: Runtime, client: Client) -> None:
    watcher = Recorder(running)
    operations = [
        client.submit(KIND, {**QUICK, "max_iter": 100 + i, "tile_px": 32}, name=f"kind {i % 5}", priority=i % 3)
        for i in range(60)
    ]
    doomed = operations[7::20]
    for operation in doomed:
        operation.cancel()
    outcomes = [operation.wait(60) for operation in operations]
    assert outcomes.count("failed") == 0
    assert all(state == "completed" for o, state in zip(operations, outcomes, strict=True) if o not in doomed)
    for operation in operations:
        watcher.await_end(operation.id)
        watcher.check_story(operation.id)
    watcher.close()


@pytest.mark.scenario("B13")
def test_a_raised_priority_takes_the_workers(client: Client) -> None:
    low = client.submit(KIND, {**SECONDS, "width_px": 3200, "height_px": 1800})
    high = client.submit(KIND, SECONDS)
    eventually(lambda: low.state == high.state == "running", what="both run")
    client.set_priority(high.id, 50)
    assert high.wait(60) == "completed"
    assert low.state == "running"
    watcher_view = client.operation(high.id)
    assert watcher_view.priority == 50
    low.cancel()
    low.wait(10)


def test_operations_are_listed_newest_first_and_filtered(client: Client) -> None:
    made = [client.submit(KIND, QUICK, labels={"set": "listing"}).id for _ in range(5)]
    listed = [o.operation_id for o in client.operations(labels={"set": "listing"})]
    assert sorted(listed) == sorted(made)
    page = client.operations(labels={"set": "listing"}, limit=2)
    assert [o.operation_id for o in page] == listed[:2]


@pytest.mark.scenario("J7")
def test_the_client_works_inside_a_running_event_loop(running: Runtime) -> None:
    async def notebook() -> str:
        with Client(url=running.url, token=running.info.token) as inside:
            return inside.submit(KIND, QUICK).wait(30)

    assert asyncio.run(notebook()) == "completed"


@pytest.mark.scenario("J7")
def test_many_threads_share_one_client(client: Client) -> None:
    states: list[str] = []
    threads = [threading.Thread(target=lambda: states.append(client.submit(KIND, QUICK).wait(30))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert states == ["completed"] * 8


@pytest.mark.scenario("J7")
def test_ctrl_c_in_a_loop_that_watches_ends_the_loop_and_nothing_else(client: Client) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    this = threading.get_ident()
    try:
        for _ in range(5):
            threading.Timer(0.2, signal.pthread_kill, (this, signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                list(client.watch())
            assert client.state == "live"
    finally:
        signal.signal(signal.SIGINT, before)
    assert client.operations(limit=1) is not None


@pytest.mark.scenario("J7")
def test_requests_that_come_too_fast_are_slowed_down_and_all_answered(running: Runtime) -> None:
    async def ask() -> None:
        async with AsyncClient(running.url, running.info.token) as client:
            assert client.server is not None
            limits = client.server.limits
            begin_s = time.monotonic()
            answers = await asyncio.gather(*(client.kinds() for _ in range(limits.commands_burst + 25)))
            assert len(answers) == limits.commands_burst + 25
            assert time.monotonic() - begin_s >= 20 / limits.commands_per_s

    asyncio.run(ask())


@pytest.mark.scenario("J7")
def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if callable(getattr(kind, name)) and not name.startswith("_")}

    assert public(AsyncClient) - {"connect", "request"} == public(Client) - {"call", "iterate"}
    asked = {"submit", "render", "operations", "watch", "cancel", "pause", "resume", "set_priority", "explain"}
    assert asked <= public(Client)


@pytest.mark.scenario("J7")
def test_closing_a_client_ends_everybody_who_still_waits(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)
    closing = Client(url=running.url, token=running.info.token)
    ended: list[str] = []

    def waits(what: str, wait: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            with pytest.raises(UnavailableError):
                wait()
            ended.append(what)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    handle = closing.handle(operation.id)
    threads = [
        waits("outcome", handle.wait),
        waits("progress", lambda: list(handle.progress())),
        waits("watch", lambda: list(closing.watch())),
    ]
    eventually(lambda: operation.state == "running", what="it runs")
    closing.close()
    for thread in threads:
        thread.join(5)
    assert sorted(ended) == ["outcome", "progress", "watch"]
    with pytest.raises(UnavailableError):
        closing.operations()
    operation.cancel()
    assert operation.wait(10) == "canceled"


@pytest.mark.scenario("J6")
@pytest.mark.parametrize("name", sorted(PALETTES))
def test_every_palette_colours_a_picture_by_its_smooth_counts(client: Client, name: str) -> None:
    result = client.submit(KIND, {**QUICK, "palette": name, "interior": "#102030"}).result(30)
    pixels = np.asarray(result.image)
    inside = result.n < 0
    assert inside.any()
    assert (pixels[inside] == (0x10, 0x20, 0x30)).all()
    assert len(np.unique(pixels[~inside], axis=0)) > 100
    # Where the smooth count is the same to a hundredth of a run, so is the colour, nearly.
    mu = result.n[~inside] + result.nf[~inside]
    order = np.argsort(mu)
    close = np.diff(mu[order]) < 1e-3 * mu[order][1:]
    steps = np.abs(np.diff(pixels[~inside][order].astype(int), axis=0)).max(axis=1)
    assert steps[close].max() <= 8


@pytest.mark.scenario("C10")
def test_the_picture_renders_itself_again(client: Client) -> None:
    first = client.submit(KIND, {**QUICK, "palette": "turbo", "density": 0.7})
    result = first.result(30)
    request = from_text(result.image.info)
    again = client.submit(KIND, msgspec.structs.asdict(request)).result(30)
    assert np.array_equal(np.asarray(result.image), np.asarray(again.image))


def test_events_name_who_and_why(running: Runtime, client: Client) -> None:
    watcher = Recorder(running)
    operation = client.submit(KIND, ENDLESS)
    client.cancel(operation.id, reason="wrong view")
    watcher.await_end(operation.id)
    asked = [e for e in watcher.events(operation.id) if e.type in ("operation_cancelling", "operation_canceled")]
    assert isinstance(asked[0], OperationEvent)
    assert (asked[0].by, asked[0].reason) == ("local", "wrong view")
    watcher.close()


@pytest.mark.scenario("J45")
@pytest.mark.parametrize(("focus", "corner"), [((0.0, 0.0), (0, 0)), ((1.0, 0.0), (7, 0)), ((0.9, 1.0), (7, 7))])
def test_a_picture_fills_in_from_where_its_watcher_looks(
    running: Runtime, client: Client, focus: tuple[float, float], corner: tuple[int, int]
) -> None:
    # All inside: every tile costs the same, so that the order is the focus's alone.
    view = {**ENDLESS, "max_iter": 200_000, "tile_px": 32, "focus_x": focus[0], "focus_y": focus[1]}
    watcher = Recorder(running, detail="tiles")
    operation = client.submit(KIND, view)

    def some() -> list[int]:
        maps = [update.tiles for update in watcher.progress(operation.id) if update.tiles is not None]
        # A quarter of them at most: the rest may be ordered by what they cost.
        early = [found for found in maps if 2 <= found.done <= 16]
        return [tile for tile in range(64) if early[-1].committed[tile >> 3] >> (tile & 7) & 1] if early else []

    tiles = eventually(some, timeout_s=30, what="some tiles are there")
    operation.cancel()
    far = [max(abs(tile % 8 - corner[0]), abs(tile // 8 - corner[1])) for tile in tiles]
    assert max(far) <= 5, (corner, tiles)
    assert sum(far) / len(far) < 3, (corner, tiles)


@pytest.mark.scenario("J45")
def test_where_it_begins_changes_no_pixel(client: Client) -> None:
    made = [client.submit(KIND, {**QUICK, "tile_px": 64, **focus}) for focus in ({}, {"focus_x": 0.1, "focus_y": 1.0})]
    assert [operation.wait(60) for operation in made] == ["completed", "completed"]
    assert len({digest(client, operation.id) for operation in made}) == 1
