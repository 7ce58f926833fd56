"""Ten thousand operations in the window: what each step has to do, counted, and how long it holds the window's thread.

Counts are asserted; times are printed (`pytest -s`), since they are of the machine.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from rfm_runtime.protocol.operation import Eta, Operation, ProgressUpdate
from rfm_runtime.testing.hosts import free_ports
from rfm_ui.bridge import News
from rfm_ui.view.operations_page import OperationsPage
from rfm_ui.view.session import Session
from tests.screens import Paints

MANY = 10_000
ROWS = 40
"""More than are seen at once."""


class Work:
    """How often things were done, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: Counter[str] = Counter()
        for name, place in {
            "rows": "rfm_ui.view.operation_list.line",
            "ranks": "rfm_ui.model.board.rank",
            "texts": "rfm_ui.model.board.known_text",
            "reasons": "rfm_ui.model.actions.why_not",
        }.items():
            monkeypatch.setattr(place, self._counted(name, place))

    def _counted(self, name: str, place: str) -> Callable[..., Any]:
        module, _dot, function = place.rpartition(".")
        real = getattr(__import__(module, fromlist=[function]), function)

        def counting(*arguments: Any) -> Any:
            self.count[name] += 1
            return real(*arguments)

        return counting


class Desk:
    """A page with many operations, and steps that are measured."""

    def __init__(self, qtbot: QtBot, work: Work, page: OperationsPage) -> None:
        self.qtbot, self.work, self.page = qtbot, work, page
        self.layouts = 0
        page.model.layoutChanged.connect(self._laid_out)
        self.paints = Paints(page.list.viewport())
        self.known = {f"op-{k:05}": _operation(k) for k in range(MANY)}

    def _laid_out(self, *_change: object) -> None:
        self.layouts += 1

    def step(self, what: str, do: Callable[[], object]) -> Counter[str]:
        """Do it, and paint; what it took."""
        self.work.count.clear()
        self.layouts, before = 0, self.paints.count
        begin_s = time.thread_time()
        do()
        done_s = time.thread_time()
        self.page.list.viewport().update()
        self.qtbot.waitUntil(lambda: self.paints.count > before or not self.page.list.isVisible())
        print(f"{what}: {(done_s - begin_s) * 1e3:.1f} ms, {dict(self.work.count)}")
        return self.work.count.copy()

    def tell(self, operations: dict[str, Operation]) -> None:
        self.page.session.news.emit(News(operations=operations))

    def advance(self, count: int) -> dict[str, Operation]:
        """The first ones go on."""
        for key in list(self.known)[:count]:
            one = self.known[key]
            assert one.latest is not None
            self.known[key] = replace(one, latest=replace(one.latest, progress=one.latest.progress + 1.0))
        return {key: self.known[key] for key in list(self.known)[:count]}


def _operation(k: int) -> Operation:
    operation_id = f"op-{k:05}"
    latest = ProgressUpdate(
        operation_id=operation_id,
        rev=(1, 1),
        at_seq=1,
        measured_at_ms=1,
        done=float(k % 90),
        total=100.0,
        progress=float(k % 90),
        rate=float(k % 13),
        eta_ms=Eta(p50=k, p90=2 * k),
    )
    return Operation(
        operation_id=operation_id,
        kind=f"kind.{k % 7}",
        name=f"number {k * 7919 % MANY}",
        owner=f"user{k % 11}",
        state="running",
        at_seq=1,
        created_at_ms=k + 1,
        started_at_ms=k + 1,
        latest=latest,
    )


@pytest.fixture
def desk(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    # Nobody is there.
    session = Session(url=f"ws://127.0.0.1:{free_ports(1)}", token="none")
    work = Work(monkeypatch)
    page = OperationsPage(session, QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(page)
    page.resize(900, 700)
    # Not in the middle of a step on a slow machine, but where it is asked for.
    page.settling.stop()
    page.show()
    with qtbot.waitSignal(session.news):
        session.start()
    made = Desk(qtbot, work, page)
    # As the program does; the tests' own modules are several times as much to look through.
    gc.freeze()
    yield made
    gc.unfreeze()
    session.close()


@pytest.mark.scenario("J96", "H5")
def test_no_step_does_more_than_it_has_to(qtbot: QtBot, desk: Desk) -> None:
    page = desk.page
    done = desk.step("arrive", lambda: desk.tell(dict(desk.known)))
    assert len(page.board) == MANY
    assert done["texts"] == MANY, "once each"
    assert done["ranks"] <= MANY + 2
    assert done["rows"] <= ROWS

    done = desk.step("a hundred change", lambda: desk.tell(desk.advance(100)))
    assert done["rows"] <= ROWS
    assert done["ranks"] <= 200
    assert (done["texts"], desk.layouts) == (0, 0)

    done = desk.step("all change", lambda: desk.tell(desk.advance(MANY)))
    assert done["rows"] <= ROWS
    assert done["ranks"] <= 2 * MANY
    assert desk.layouts == 0, "no row moves, and the list lays nothing out"

    done = desk.step("sort by progress", lambda: page.bar.order.setCurrentIndex(1))
    assert done["ranks"] <= MANY
    assert done["rows"] <= ROWS
    done = desk.step("all change, sorted", lambda: desk.tell(desk.advance(MANY)))
    assert done["ranks"] <= 2, "once a row is out of its place, no other is looked at until all are put there"
    done = desk.step("settle", page.board.settle)
    assert done["ranks"] <= MANY
    page.bar.order.setCurrentIndex(0)

    for text, found in (("n", MANY), ('name:"number 99"', 111), ("owner:user3 -number", 0), ("", MANY)):
        done = desk.step(f"search {text!r}", lambda text=text: page.search.setText(text))
        assert len(page.board) == found
        assert done["texts"] == 0
        assert done["ranks"] <= MANY
        assert desk.layouts == 1

    page.list.setFocus()
    for key in (Qt.Key.Key_PageDown, Qt.Key.Key_End, Qt.Key.Key_Up, Qt.Key.Key_Home, Qt.Key.Key_Down):
        done = desk.step(key.name, lambda key=key: qtbot.keyClick(page.list, key))
        assert done["rows"] <= 2 * ROWS
        assert done["ranks"] == 0


@pytest.mark.scenario("J96", "J92")
def test_all_of_them_are_chosen(qtbot: QtBot, desk: Desk) -> None:
    page = desk.page
    desk.tell(dict(desk.known))
    page.list.setFocus()

    done = desk.step("choose all", lambda: qtbot.keyClick(page.list, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier))

    assert len(page.chosen()) == MANY
    assert page.cancel.text() == f"Cancel {MANY:,}"
    assert done["reasons"] <= MANY / 2, "what is alike is looked at once"
    done = desk.step("a hundred change", lambda: desk.tell(desk.advance(100)))
    assert done["reasons"] == 0, "not at each frame"
    desk.step("search", lambda: page.search.setText('name:"number 99"'))
    qtbot.waitUntil(lambda: page.cancel.text() == "Cancel 111")
    desk.step("ask", page.wishes.cancel.trigger)
    assert page.wishes.confirming is not None
    assert page.wishes.confirming.list.count() == 111
    page.wishes.confirming.reject()
    # Half of them go, chosen ones too.
    gone = set(list(desk.known)[: MANY // 2])
    page.search.clear()
    desk.step("half of them go", lambda: page.session.news.emit(News(gone=gone)))
    assert len(page.board) == MANY // 2
    qtbot.waitUntil(lambda: not {one.operation_id for one in page.chosen()} & gone)
