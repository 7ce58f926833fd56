"""From view to view: no stale render goes on, whatever order things happen in, and one finds back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.exploring import SETTLED_S, Cancel, Exploring, Order, Submit
from rfm_ui.model.looking import needed

HOME = RenderRequest(re="0", im="0", width="4")


class Explorations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count()
        self.exploring = Exploring(HOME, lambda: f"op-{next(numbers)}")
        self.now_s = 0.0
        self.running: dict[str, RenderRequest] = {}
        self.widths = itertools.count(5)

    def follow(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Cancel):
                del self.running[order.operation_id]
            else:
                assert isinstance(order, Submit)
                assert order.view == self.exploring.view == self.exploring.rendered
                self.running[order.operation_id] = order.view

    @rule()
    def go(self) -> None:
        wanted = replace(HOME, width=str(next(self.widths)))
        self.follow(self.exploring.go(wanted, self.now_s))
        assert self.exploring.view == self.exploring.fitted(wanted)
        assert not self.exploring.can_redo

    @rule(width_px=st.integers(1, 5000), height_px=st.integers(1, 5000))
    def fit(self, width_px: int, height_px: int) -> None:
        before = self.exploring.can_undo, self.exploring.can_redo
        self.follow(self.exploring.fit(width_px, height_px, self.now_s))
        assert (self.exploring.view.width_px, self.exploring.view.height_px) == (width_px, height_px)
        assert (self.exploring.can_undo, self.exploring.can_redo) == before

    @rule()
    def undo_and_redo(self) -> None:
        before = self.exploring.view
        if self.exploring.can_undo:
            self.follow(self.exploring.undo(self.now_s))
            assert self.exploring.can_redo
            self.follow(self.exploring.redo(self.now_s))
        assert self.exploring.view == before

    @rule()
    def undo(self) -> None:
        self.follow(self.exploring.undo(self.now_s))

    @rule(passed_s=st.sampled_from([0.001, SETTLED_S, 1.0]))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        self.follow(self.exploring.tick(self.now_s))

    @rule()
    def end(self) -> None:
        for operation_id in list(self.running):
            del self.running[operation_id]
            self.exploring.ended(operation_id, is_there=True)

    @rule()
    def fail(self) -> None:
        for operation_id in list(self.running):
            del self.running[operation_id]
            self.exploring.ended(operation_id, is_there=False)

    @rule(palette=st.sampled_from(["magma", "gold", "viridis"]))
    def look(self, palette: str) -> None:
        """Other colours are seen at once, and never computed where there is a picture."""
        before, rendered = dict(self.running), self.exploring.rendered
        wanted = replace(self.exploring.view, palette=palette)
        self.follow(self.exploring.go(wanted, self.now_s))
        assert self.exploring.view == wanted
        if rendered is not None:
            assert (self.running, self.exploring.rendered) == (before, rendered)

    @rule()
    def leave(self) -> None:
        self.follow(self.exploring.leave())
        assert not self.running

    @invariant()
    def only_what_is_shown_is_computed(self) -> None:
        for view in self.running.values():
            # In other colours perhaps.
            assert view == self.exploring.rendered
            assert needed(view, self.exploring.view) != "render"
        assert len(self.running) <= 1
        assert not (self.running and self.exploring.due_s is not None)


TestExplorations = Explorations.TestCase
TestExplorations.settings = settings(max_examples=100, stateful_step_count=40)


def test_colours_are_undone_without_computing_and_a_slider_is_one_step() -> None:
    exploring = Exploring(HOME, lambda: "op")
    exploring.refresh(0.0)
    exploring.tick(1.0)
    exploring.ended("op", is_there=True)
    for k in range(10):
        assert exploring.go(replace(HOME, density=1.0 + k), 2.0 + k * 0.02) == []
    assert exploring.go(replace(HOME, density=10.0, palette="magma"), 9.0) == []

    assert exploring.undo(10.0) == []
    assert exploring.view == replace(HOME, density=10.0)
    assert exploring.undo(10.1) == []
    assert exploring.view == HOME
    assert not exploring.can_undo
    assert exploring.redo(10.2) == []
    assert exploring.operation_id == "op"
    assert exploring.due_s is None
    # Relief has to be computed.
    exploring.go(replace(HOME, slopes=1.0), 20.0)
    assert exploring.due_s is not None


def test_the_view_that_one_went_back_to_stays() -> None:
    exploring = Exploring(HOME, lambda: "op")
    first, second = replace(HOME, width="3"), replace(HOME, width="2")
    for view, now_s in ((first, 1.0), (second, 2.0)):
        exploring.go(view, now_s)
        exploring.tick(now_s + 0.5)
    exploring.undo(3.0)

    exploring.go(replace(HOME, width="1"), 3.001)
    exploring.undo(4.0)

    assert exploring.view == first


def test_a_wheel_that_is_turned_is_one_step_back() -> None:
    exploring = Exploring(HOME, lambda: "op")
    exploring.refresh(0.0)
    exploring.tick(1.0)
    for k in range(10):
        exploring.go(replace(HOME, width=f"{3 - k / 10}"), 2.0 + k * 0.01)
    exploring.tick(3.0)

    exploring.undo(4.0)

    assert exploring.view == HOME


def test_a_window_that_grows_and_shrinks_shows_what_it_showed() -> None:
    exploring = Exploring(HOME, lambda: "op")
    exploring.fit(160, 120, 0.0)
    exploring.fit(1200, 800, 0.0)
    before = exploring.view

    exploring.fit(80, 900, 1.0)
    exploring.fit(1200, 800, 2.0)

    assert exploring.view == before
    # All of it, and as large as it can be.
    assert float(before.width) == pytest.approx(4.0)
    assert before.height_px == 800
    assert not exploring.can_undo
