"""Errors as two lines."""

from __future__ import annotations

from rfm_runtime.cli.app import error_lines
from rfm_runtime.errors import NoRuntimeError, RfmError


def test_what_what_was_kept_and_what_to_do() -> None:
    error = RfmError("it broke", hint="mend it", kept="the rest is there")
    assert error_lines(error) == ["error: it broke (the rest is there)", "hint: mend it"]


def test_the_class_knows_what_to_do_where_nobody_says() -> None:
    assert error_lines(NoRuntimeError("nobody"))[1] == "hint: start one with `rfm-runtime start`"
    assert error_lines(RfmError("it broke")) == ["error: it broke"]
