"""Rules as a TOML file, for people and for `rfm-runtime rules`, and back. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, TypeVar

import msgspec

from rfm_runtime.core.notifying.rules import checked
from rfm_runtime.core.notifying.sentences import DAYS, clock, sentence
from rfm_runtime.core.text import printable, shortened
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import RULES_LIMIT_BYTES, Quiet, Rule, Rules

__all__ = ["FILE_LIMIT_BYTES", "read", "write"]

FILE_LIMIT_BYTES = 2 * RULES_LIMIT_BYTES
"""With comments and blank lines."""

T = TypeVar("T", Rule, Quiet, Rules)

HOUR = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
HINT = "`rfm-runtime rules show --toml` prints a file that can be changed and set again"


def write(rules: Rules) -> str:
    """A file that `read` takes, each rule below what it means."""
    parts = ["# rfm-runtime rules set FILE\n"]
    for rule in rules.rules:
        values = msgspec.to_builtins(rule)
        lines = [f"{_key(name)} = {_value(value)}\n" for name, value in values.items()]
        parts.append(f"\n# {sentence(rule)}\n[[rule]]\n{''.join(lines)}")
    for quiet in rules.quiet:
        parts.append(f'\n[[quiet]]\nfrom = "{clock(quiet.from_minute)}"\nto = "{clock(quiet.to_minute)}"\n')
        if quiet.days:
            parts.append(f"days = {_value([DAYS[day] for day in quiet.days])}\n")
    return "".join(parts)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    # The rest is the same in JSON, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(text: str) -> Rules:
    """The rules in a file. Raises BadRequestError, which names the rule and what is wrong in it."""
    if len(text) > FILE_LIMIT_BYTES:
        raise BadRequestError(f"the file has more than {FILE_LIMIT_BYTES:,} characters", hint="is it the right one?")
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(
            f"the file is not valid TOML: {shortened(printable(str(error)), 120)}", hint=HINT
        ) from None
    strange = sorted(set(found) - {"rule", "quiet"})
    if strange:
        raise BadRequestError(f"there is no {printable(strange[0])!r} in a file of rules", hint=HINT)
    rules = [_rule(place, one) for place, one in enumerate(_tables(found, "rule"), 1)]
    quiet = [_quiet(place, one) for place, one in enumerate(_tables(found, "quiet"), 1)]
    return checked(_converted(Rules, {"rules": rules, "quiet": quiet}, "the file"))


def _tables(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = found.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise BadRequestError(f"{name!r} is no list of tables", hint=f"begin each with [[{name}]]")
    return tables


def _rule(place: int, found: dict[str, Any]) -> Rule:
    name = found.get("rule_id")
    where = f"rule {place} ({printable(name)!r})" if isinstance(name, str) else f"rule {place}"
    strange = sorted(set(found) - set(Rule.__struct_fields__))
    if strange:
        raise BadRequestError(
            f"{where}: there is no {printable(strange[0])!r}", hint=f"choose of {', '.join(Rule.__struct_fields__)}"
        )
    return _converted(Rule, found, where)


def _quiet(place: int, found: dict[str, Any]) -> Quiet:
    where = f"quiet hours {place}"
    strange = sorted(set(found) - {"from", "to", "days"})
    if strange:
        raise BadRequestError(f"{where}: there is no {printable(strange[0])!r}", hint="choose of from, to, days")
    given = {"from_minute": _minute(where, found, "from"), "to_minute": _minute(where, found, "to")}
    days = found.get("days", [])
    names = {day.casefold(): number for number, day in enumerate(DAYS)}
    if not isinstance(days, list) or not all(isinstance(day, str) and day[:3].casefold() in names for day in days):
        raise BadRequestError(f"{where}: days are none", hint=f"choose of {', '.join(DAYS)}")
    return _converted(Quiet, {**given, "days": [names[day[:3].casefold()] for day in days]}, where)


def _minute(where: str, found: dict[str, Any], name: str) -> int:
    written = found.get(name)
    read = HOUR.fullmatch(written) if isinstance(written, str) else None
    if read is None:
        raise BadRequestError(f"{where}: {name!r} is no time of day", hint='write it as "22:00"')
    return int(read[1]) * 60 + int(read[2])


def _converted(kind: type[T], found: dict[str, Any], where: str) -> T:
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        said = str(error).replace(" - at `$.", " in `").replace(" - at `$", " in `")
        raise BadRequestError(f"{where}: {shortened(printable(said), 160)}", hint=HINT) from None
