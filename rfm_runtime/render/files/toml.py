"""A request as TOML: one line for each parameter that is not its default, and back.

Numbers and text are taken for each other where that loses nothing: `re = -0.75` keeps its digits, since nothing here
goes through float64, and `power = "3"` is 3.
"""

from __future__ import annotations

import json
import re
import tomllib
import typing
from typing import Any

import msgspec

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files.text import checked
from rfm_runtime.render.refusals import one_of, shown
from rfm_runtime.render.request import DECIMAL, RenderRequest, validate

__all__ = ["non_defaults", "read", "request_of", "write"]

DEPTH_LIMIT = 8
"""Of a key with points in it. tomllib takes time with the square of it: minutes for a file of 100 KB."""

BLANK = re.compile(r""""(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|#[^\n]*""")
"""Comments, and strings of one line, also without an end. Whichever begins first goes on to its own end."""

BETWEEN_KEYS = re.compile(r"[=,\[\]{}\n]")

NUMBER_DIGITS = 64
"""Characters of a number that becomes a float or an integer."""


def _accepts(wanted: Any) -> set[str]:
    """Names of the fields of a request that take values of this type."""
    hints = typing.get_type_hints(RenderRequest)
    return {name for name, hint in hints.items() if wanted == hint or wanted in typing.get_args(hint)}


TEXTS = _accepts(str)
LISTS = _accepts(tuple[str, ...])
FLOATS = _accepts(float)
INTEGERS = _accepts(int)


class _Literal(str):
    """A number with a point or an exponent, as it stands in the file."""

    __slots__ = ()


def non_defaults(request: RenderRequest) -> dict[str, Any]:
    """The parameters that differ from the defaults, in the order of the request. The view has none and is always in."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(request)}
    return {name: value for name, value in msgspec.structs.asdict(request).items() if defaults[name] != value}


def write(request: RenderRequest) -> str:
    """TOML that `read` takes: `non_defaults`, a line each."""
    lines = [f"{name} = {_value(value)}\n" for name, value in non_defaults(request).items()]
    return "# rfm-runtime render --like FILE\n" + "".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, float):
        # As short as Python writes it; TOML knows the same numbers.
        return repr(value)
    # Strings, whole numbers, booleans and lists of strings are the same in JSON, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(text: str) -> dict[str, Any]:
    """The parameters in the file, not yet validated: others may be put over them.

    Raises BadRequestError: not TOML, too long, or a parameter that there is not, with the nearest one that there is.
    """
    _check_flat(checked(text))
    try:
        found = tomllib.loads(text, parse_float=_Literal)
    except RecursionError:
        raise BadRequestError("the TOML is nested too deeply", hint="a view is a flat list of parameters") from None
    except ValueError as error:
        # tomllib's own, and Python's for a whole number of thousands of digits.
        raise BadRequestError(
            f"the file is not valid TOML: {shown(str(error), 120)}", hint='a line looks like re = "-0.75"'
        ) from None
    for name in found:
        one_of("parameter", name, RenderRequest.__struct_fields__)
    return {name: _fitting(name, value) for name, value in found.items()}


def _check_flat(text: str) -> None:
    """Raise BadRequestError for what no view has, and tomllib is slow at. In time linear in the text."""
    hint = "a view is a flat list of parameters"
    if '"""' in text or "'''" in text:
        raise BadRequestError("the TOML has a string of several lines", hint=hint)
    if any(piece.count(".") > DEPTH_LIMIT for piece in BETWEEN_KEYS.split(BLANK.sub("", text))):
        raise BadRequestError(f"a key of the TOML has more than {DEPTH_LIMIT} points", hint=hint)


def request_of(text: str) -> RenderRequest:
    """The request that the file alone stands for, validated. Raises BadRequestError."""
    return validate(read(text))


def _fitting(name: str, value: Any) -> Any:
    """The value as the type that the parameter has, where it stands for one; else as it is, for the validation."""
    if name in LISTS and isinstance(value, list):
        return [_text(item) for item in value]
    if name in TEXTS:
        return _text(value)
    if isinstance(value, str) and len(value) <= NUMBER_DIGITS:
        digits = value.replace("_", "") if isinstance(value, _Literal) else value
        if name in FLOATS and (isinstance(value, _Literal) or DECIMAL.fullmatch(digits)):
            return float(digits)
        if name in INTEGERS and digits.removeprefix("-").isascii() and digits.removeprefix("-").isdigit():
            return int(digits)
    return str(value) if isinstance(value, _Literal) else value


def _text(value: Any) -> Any:
    if isinstance(value, _Literal):
        return value.replace("_", "")
    # Python does not print whole numbers of thousands of digits, and a validated request has none.
    return str(value) if type(value) is int and value.bit_length() <= 63 else value
