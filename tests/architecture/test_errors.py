"""Every code has one home, and the document has every code."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import rfm_runtime
from rfm_runtime import errors
from rfm_runtime.cli import app as cli_app
from rfm_runtime.cli.app import run
from rfm_runtime.cli.pages.catalogue import document
from rfm_runtime.errors import RECOVERIES, RfmError, Severity
from rfm_runtime.protocol.catalogue import classes, closings, entries
from rfm_runtime.protocol.causes import CAUSES, Cause
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode, ErrorCode

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(rfm_runtime.__file__).parent

OF_PROGRAMS = {
    "client/reporting/reporter.py",
    "client/reporting/tracking.py",
    "client/reporting/values.py",
    "core/reporting/hearing.py",
    "core/reporting/wording.py",
}
"""Where a program's own code becomes an operation's."""

HOMES = {"protocol/causes.py", "protocol/operation.py"}
NOT_OURS = ("testing/", "core/simulation/")
"""Failures that are made up."""


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """(file, call, name of what is called) of everything that is called by a plain name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        if not where.startswith(NOT_OURS):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    yield where, node, node.func.id


@pytest.mark.scenario("J31")
def test_the_document_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == document(), "docs/errors.md is out of date: run `make docs`"


@pytest.mark.scenario("J31")
def test_no_code_is_made_outside_its_home() -> None:
    found = [(where, call) for where, call, name in calls() if name in ("ErrorInfo", "Fault")]
    assert {where for where, _ in found} >= {"protocol/causes.py", "client/reporting/values.py"}
    strays = [
        f"{where}:{call.lineno}"
        for where, call in found
        if where not in HOMES and (where not in OF_PROGRAMS) and not _of_a_cause(call)
    ]
    assert not strays, "add a Cause in protocol/causes.py, or raise an error of errors.py"
    literal = [
        f"{where}:{call.lineno}"
        for where, call in found
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    ]
    assert not literal, "a code is a Cause, not a string"


def _of_a_cause(call: ast.Call) -> bool:
    """`code=WORKER_LOST.code`."""
    code = next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)
    return (
        isinstance(code, ast.Attribute)
        and isinstance(code.value, ast.Name)
        and code.value.id in {name for name, value in vars(causes()).items() if isinstance(value, Cause)}
    )


def causes() -> object:
    return importlib.import_module("rfm_runtime.protocol.causes")


@pytest.mark.scenario("J31")
def test_every_cause_is_in_the_catalogue() -> None:
    made = {where for where, _, name in calls() if name == "Cause"}
    assert made == {"protocol/causes.py"}
    named = {value.code for value in vars(causes()).values() if isinstance(value, Cause)}
    assert named == set(CAUSES)


@pytest.mark.scenario("J31")
def test_every_error_class_is_in_the_tree() -> None:
    for module in pkgutil.walk_packages([str(PACKAGE)], "rfm_runtime."):
        # The kernels' side is loaded by workers alone, and raises what the tree has.
        if ".engine." not in module.name and "__main__" not in module.name:
            importlib.import_module(module.name)

    def below(cls: type[RfmError]) -> Iterator[type[RfmError]]:
        for sub in cls.__subclasses__():
            yield sub
            yield from below(sub)

    strays = {f"{cls.__module__}.{cls.__name__}" for cls in below(RfmError) if cls.__module__ != errors.__name__}
    assert not strays


@pytest.mark.scenario("J31")
def test_every_entry_says_how_bad_it_is_and_what_to_do() -> None:
    found = entries()
    codes = [entry.code for entry in found]
    assert len(set(codes)) == len(codes)
    for entry in found:
        assert entry.severity in get_args(Severity), entry
        assert entry.recovery in RECOVERIES, entry
        assert entry.hint.strip(), entry
        assert entry.meaning.endswith("."), entry
        assert "|" not in entry.hint + entry.meaning, entry
    assert {entry.code for entry in found if entry.where == "request"} == set(get_args(ErrorCode))
    assert all(entry.http_status for entry in found if entry.where == "request")
    # What can be repeated as it is, is what passes by itself.
    assert all((entry.recovery == "repeat") == entry.temporary for entry in found)


@pytest.mark.scenario("J31")
def test_every_close_code_says_what_it_means() -> None:
    assert [closing.code for closing in closings()] == [int(code) for code in CloseCode]
    assert set(CLOSE_REASONS) == {int(code) for code in CloseCode}
    assert {cls.close_code for cls in classes()} <= {None, *(int(code) for code in CloseCode)}


@pytest.mark.scenario("J31")
def test_help_names_every_exit_code() -> None:
    listed = {int(line.split()[0]) for line in cli_app.EPILOG.splitlines() if line.strip()[:1].isdigit()}
    assert {entry.exit_code for entry in entries()} - {None} <= listed


@pytest.mark.scenario("J31")
@pytest.mark.parametrize("code", ["no_runtime", "error[worker_lost]:", "4008", "WORKER_LOST"])
def test_a_code_is_explained_as_it_was_copied(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["errors", code]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(code.lower().removeprefix("error[").rstrip("]:"))
    assert "a program" in shown or "a client" in shown


@pytest.mark.scenario("J31")
def test_an_unknown_code_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["errors", "nonsense"]) == 2
    assert capsys.readouterr().err.startswith("error[bad_request]: there is no code 'nonsense'")
