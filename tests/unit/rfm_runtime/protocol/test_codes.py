"""Codes: the range says what to do, each has its reason, and docs/protocol.md says the same as the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.table import table_markdown
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode, ErrorCode, reconnects
from rfm_runtime.protocol.messages import NOTICES, REPLIES, REQUESTS
from rfm_runtime.protocol.operation import EVENT_TYPES

DOCUMENT = (Path(__file__).parents[4] / "docs" / "protocol.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text below a heading of the document, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^##? |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found.group(1)


ERRORS = section("Errors and closing")


@given(st.integers(4000, 4499))
def test_the_lower_half_of_our_range_reconnects(code: int) -> None:
    assert reconnects(code)


@given(st.integers(4500, 4999))
def test_the_upper_half_of_our_range_stops(code: int) -> None:
    assert not reconnects(code)


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_lies_in_our_range(code: CloseCode) -> None:
    assert 4000 <= code <= 4999


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015])
def test_standard_codes_of_a_broken_connection_reconnect(code: int) -> None:
    assert reconnects(code)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010])
def test_standard_codes_that_blame_the_client_stop(code: int) -> None:
    assert not reconnects(code)


def test_every_close_code_has_a_reason_that_fits_a_close_frame() -> None:
    assert set(CLOSE_REASONS) == set(CloseCode)
    # RFC 6455, 5.5: 125 bytes with the code.
    assert all(0 < len(reason.encode()) <= 123 for reason in CLOSE_REASONS.values())


@pytest.mark.parametrize("again", [True, False])
def test_the_document_lists_the_close_codes_with_what_to_do(again: bool) -> None:
    marks = ("**4000–4499 reconnect**:", "**4500–4999 stop**:")
    reconnect, stop = ERRORS.split(marks[0])[1].split(marks[1])
    listed = {int(code): name for code, name in re.findall(r"(\d{4}) (\w+)", reconnect if again else stop)}
    assert listed == {code.value: code.name.lower() for code in CloseCode if reconnects(code) == again}


def test_the_document_lists_the_error_codes() -> None:
    found = re.search(r"codes: `([^`]*)`", ERRORS)
    assert found is not None
    assert tuple(found.group(1).split(", ")) == get_args(ErrorCode)


@pytest.mark.parametrize("name", sorted({*REQUESTS, *REPLIES, *NOTICES, *EVENT_TYPES}))
def test_the_document_names_every_type_of_message(name: str) -> None:
    assert re.search(rf"`{name}[` ]", DOCUMENT)


def test_the_document_has_the_state_table_and_nothing_else_of_that_kind() -> None:
    rows = [line for line in section("State table").splitlines() if line.startswith("|")]
    assert "\n".join(rows) == table_markdown()
