"""What stands below a cell, on IPython's own recording page."""

from __future__ import annotations

from types import SimpleNamespace

from IPython.core.displaypub import CapturingDisplayPublisher

from rfm_runtime.client.reporting.notebook import KEPT, Cell


def test_a_cell_is_one_text_that_is_told_when_it_changes() -> None:
    page = CapturingDisplayPublisher()
    cell = Cell(SimpleNamespace(display_pub=page))
    cell.show([])
    assert page.outputs == []
    cell.show(["one  ", "two"])
    cell.show(["one", "two"])
    cell.keep(["one, ended"])
    cell.show(["two"])
    cell.show([])
    assert [output["data"]["text/plain"] for output in page.outputs] == ["one\ntwo", "one, ended\ntwo", "one, ended"]
    assert [output["update"] for output in page.outputs] == [False, True, True]
    assert len({output["transient"]["display_id"] for output in page.outputs}) == 1


def test_a_cell_keeps_no_thousand_lines() -> None:
    page = CapturingDisplayPublisher()
    cell = Cell(SimpleNamespace(display_pub=page))
    for number in range(1000):
        cell.keep([f"bar {number}"])
    cell.show([])
    ((before, *kept),) = [output["data"]["text/plain"].splitlines() for output in page.outputs]
    assert before == f"({1000 - KEPT} more before)"
    assert kept == [f"bar {number}" for number in range(1000 - KEPT, 1000)]
