"""docs/guarantees.md: every promise names tests, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.scenario("J32")

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(test_\w+\.py)::(\w+)`")


def known() -> set[tuple[str, str]]:
    """(file, test) of every function and class of tests, wherever it lies."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add((path.name, node.name))
            elif isinstance(node, ast.Assign):
                # `TestX = Machine.TestCase`
                found |= {(path.name, target.id) for target in node.targets if isinstance(target, ast.Name)}
    return {(file, name) for file, name in found if name.lower().startswith("test")}


def sections() -> dict[str, str]:
    parts = re.split(r"^#{2,3} (.+)$", DOCUMENT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def promises() -> list[str]:
    return [title for title in sections() if title[0].isdigit()]


def rows(title: str) -> list[str]:
    lines = [line for line in sections()[title].splitlines() if line.startswith("| ")]
    return [line for line in lines[1:] if not line.startswith("| ---")]


def test_every_test_that_is_named_exists() -> None:
    named = set(NAMED.findall(DOCUMENT))
    assert len(named) > 30
    assert named - known() == set()


@pytest.mark.parametrize("title", promises())
def test_every_promise_names_a_test(title: str) -> None:
    assert NAMED.search(sections()[title])


@pytest.mark.parametrize("title", ["How each kind of message is delivered", "Under which faults"])
def test_every_row_names_a_test(title: str) -> None:
    assert len(rows(title)) > 5
    assert [row for row in rows(title) if not NAMED.search(row)] == []


def test_every_invariant_of_the_design_is_promised() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    invariants = re.findall(r"^(\d+)\. ", design.partition("## Invariants")[2].partition("\n## ")[0], re.MULTILINE)
    assert [title.partition(".")[0] for title in promises()][: len(invariants)] == invariants
    assert len(invariants) == 10


def test_no_row_waits_for_its_tests() -> None:
    assert re.findall(r"<!-- ([A-Z0-9 ]+) -->", DOCUMENT) == []
