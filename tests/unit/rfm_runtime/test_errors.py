"""Errors: the tree is the one that is drawn, codes travel and come back, and who can act is told how."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm_runtime
from rfm_runtime import errors
from rfm_runtime.errors import (
    InternalError,
    MissingExtraError,
    OperationFailedError,
    RfmError,
    SetupError,
    Severity,
    TryLaterError,
    UnavailableError,
    from_code,
)
from rfm_runtime.protocol.codes import ErrorCode
from rfm_runtime.protocol.operation import error_info

PACKAGE = Path(rfm_runtime.__file__).parent
CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RfmError)]
WIRE_CODES = get_args(ErrorCode)


def drawn() -> list[tuple[str, str, str]]:
    """(class, parent, what stands beside it) of every line of the tree in the module's docstring."""
    found, parents = [], ["RfmError"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ([│ ]*)[├└]── (\w+)(.*)", line)
        if match is not None:
            depth = len(match[1]) // 4
            parents[depth + 1 :] = [match[2]]
            found.append((match[2], parents[depth], match[3].strip()))
    return found


TREE = drawn()
GENERAL = {
    *(errors.SetupError, errors.ConfigError, errors.AlreadyRunningError, errors.PortTakenError),
    *(errors.InsecureBindError, errors.JournalError, errors.UsageError),
}
"""Whose hint is for the catalogue: where one is raised, more is known."""

FAMILIES = {parent for _, parent, _ in TREE}


def made(kind: type[RfmError]) -> RfmError:
    return MissingExtraError("that", "server") if kind is MissingExtraError else kind("it happened")


@pytest.mark.parametrize(("name", "parent", "beside"), TREE)
def test_the_tree_is_the_one_that_is_drawn(name: str, parent: str, beside: str) -> None:
    kind = getattr(errors, name)
    assert kind.__bases__ == (getattr(errors, parent),)
    if name in FAMILIES:
        assert beside
    else:
        assert kind.code == beside.split()[0]


def test_every_class_is_drawn_and_public() -> None:
    names = {kind.__name__ for kind in CLASSES}
    assert names == {name for name, _, _ in TREE} | {"RfmError"}
    assert names <= set(errors.__all__)


def test_no_two_errors_that_are_raised_share_a_code() -> None:
    codes = [getattr(errors, name).code for name, _, _ in TREE if name not in FAMILIES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_how_bad_it_is_and_ends_a_command_with_a_failure(kind: type[RfmError]) -> None:
    assert kind.severity in get_args(Severity)
    assert 0 < kind.exit_code < 256
    assert kind.temporary == issubclass(kind, TryLaterError)


@given(st.floats(0.0, 1e6))
def test_who_has_to_wait_is_never_told_now_and_never_too_little(seconds: float) -> None:
    told_ms = error_info(errors.RateLimitedError("later", retry_after_s=seconds)).retry_after_ms
    assert told_ms is not None
    assert (told_ms > 0) == (seconds > 0.0)
    assert 0 <= told_ms - seconds * 1000 + 0.001 < 1.002


@pytest.mark.parametrize("code", WIRE_CODES)
@given(st.text(), st.none() | st.text(min_size=1), st.none() | st.integers(0, 10**6))
def test_every_code_of_the_wire_comes_back_as_the_same_error(
    code: str, message: str, hint: str | None, after_ms: int | None
) -> None:
    retry_after_s = None if after_ms is None else after_ms / 1000
    sent = from_code(code, message, hint=hint, retry_after_s=retry_after_s)
    assert sent.code == code
    got = error_info(sent).to_exception()
    assert type(got) is type(sent)
    assert (str(got), got.message, got.hint, got.retry_after_s) == (message, message, sent.hint, retry_after_s)


@given(st.text().filter(lambda code: code not in WIRE_CODES))
def test_an_unknown_code_is_a_fault_of_the_peer_unless_it_says_that_it_passes(code: str) -> None:
    assert type(from_code(code, "what?")) is InternalError
    assert type(from_code(code, "what?", temporary=True)) is UnavailableError


def test_the_wire_carries_no_more_than_it_has_codes_for() -> None:
    of_the_wire = {name for name, _, _ in TREE if type(from_code(getattr(errors, name).code, "")).__name__ == name}
    setup_or_outcome = {kind.__name__ for kind in CLASSES if issubclass(kind, SetupError | errors.OutcomeError)}
    assert of_the_wire == {name for name, _, _ in TREE} - FAMILIES - setup_or_outcome


@pytest.mark.parametrize("kind", CLASSES)
def test_a_hint_of_the_class_is_given_unless_the_raiser_knows_better(kind: type[RfmError]) -> None:
    if kind is not MissingExtraError:
        assert made(kind).hint == kind.default_hint
    if kind is not MissingExtraError:
        assert kind("it happened", hint="do that").hint == "do that"


def test_a_missing_extra_is_said_with_the_command_that_installs_it() -> None:
    error = MissingExtraError("the server", "server")
    assert "the server" in error.message
    assert error.hint == "pip install 'rfm-runtime[server]'"


def test_a_failed_operation_keeps_the_code_of_its_owner() -> None:
    error = OperationFailedError("it failed", cause_code="worker_lost", hint="look")
    assert (error.code, error.cause_code, error.hint) == ("operation_failed", "worker_lost", "look")


@pytest.mark.parametrize("kind", CLASSES)
def test_another_process_of_this_package_is_told_all_of_it(kind: type[RfmError]) -> None:
    error = made(kind)
    error.kept = "something"
    got = errors.of_fields(errors.fields_of(error))
    assert type(got) is (errors.StartError if kind is MissingExtraError else kind)
    assert (got.message, got.hint, got.kept) == (error.message, error.hint, error.kept)


def raised(family: type[RfmError]) -> list[tuple[str, ast.Call, type[RfmError]]]:
    """Every place in the package that makes an error of a family."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                kind = getattr(errors, node.func.id, None)
                if isinstance(kind, type) and issubclass(kind, family):
                    found.append((f"{path.relative_to(PACKAGE)}:{node.lineno}", node, kind))
    return found


def test_whoever_has_to_put_the_machine_right_is_told_how() -> None:
    places = raised(SetupError)
    assert len(places) > 20
    silent = [
        place
        for place, call, kind in places
        if kind in GENERAL and "hint" not in {keyword.arg for keyword in call.keywords}
    ]
    assert not silent
