"""The catalogue of errors as text for a terminal, and as the document docs/errors.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rfm_runtime.errors import RECOVERIES
from rfm_runtime.protocol.catalogue import Closing, Entry, Where, closings, entries

__all__ = ["document", "lines_of"]

INTRODUCTION = """\
# Errors

Made from the code by `make docs`; a test fails when it is out of date, or when a code is sent or raised that is not
here. `rfm-runtime errors CODE` says the same in a terminal.

Every error has a **code** for programs, a **message** (what happened, and what was kept where that is in doubt) and a
**hint** (what to do). A command that fails prints `error[CODE]: message` and `hint: …` on standard error and ends with
the exit code; `critical[CODE]` means a fault of the runtime, or of its disk, and what was cancelled is said in one line
without a code. Over HTTP and WebSocket the same arrives as
`error {code, message, severity, temporary, retry_after_ms?, hint?, kept?}`. A code that a release does not know
(of a newer one) is to be repeated if it says `temporary`, and is not otherwise.

The hint of an error that is met may say more than the one below, which stands where nothing better is known.

## What a program can do by itself
"""

OPERATIONS = """\
In the `error` of a failed operation, and with the reason of a cancelled one. Codes of the first table stand there as
well where an engine found that a request cannot be done. **Programs that report their own operations give codes of
their own**: the name of an exception's class (`ValueError`), or what they passed as `code`."""

CLOSINGS = """\
Close codes of the WebSocket. Up to 4499 a client reconnects and resumes; from 4500 on it stops and says why.
"""

SECTIONS: dict[Where, tuple[str, str]] = {
    "request": (
        "Answers to requests",
        "In `error` messages, as HTTP answers, and raised by the clients of this package.",
    ),
    "operation": ("Why an operation ended", OPERATIONS),
    "here": (
        "Raised where it happens",
        "By the command line and the package, without any peer.",
    ),
}


def document() -> str:
    """docs/errors.md."""
    return "\n".join([INTRODUCTION, *_recoveries(), "", *_sections(), *_closings()])


def _recoveries() -> Iterator[str]:
    for name, text in RECOVERIES.items():
        yield f"- `{name}`: {text}"


def _sections() -> Iterator[str]:
    for where, (title, text) in SECTIONS.items():
        yield f"## {title}\n\n{text}\n"
        mine = [entry for entry in entries() if entry.where == where]
        if where == "operation":
            yield from _table(
                ("code", "severity", "meaning", "a program does", "people do"),
                ((f"`{e.code}`", e.severity, e.meaning, f"`{e.recovery}`", e.hint) for e in mine),
            )
        elif where == "here":
            yield from _table(
                ("code", "class", "severity", "meaning", "a program does", "people do", "exit"),
                (
                    (f"`{e.code}`", f"`{e.error}`", e.severity, e.meaning, f"`{e.recovery}`", e.hint, e.exit_code)
                    for e in mine
                ),
            )
        else:
            yield from _table(
                ("code", "class", "severity", "meaning", "a program does", "people do", "exit", "HTTP", "close"),
                (
                    (
                        *(f"`{e.code}`", f"`{e.error}`", e.severity, e.meaning, f"`{e.recovery}`", e.hint),
                        *(e.exit_code, e.http_status, e.close_code),
                    )
                    for e in mine
                ),
            )
        yield ""


def _closings() -> Iterator[str]:
    yield "## How a connection ends\n"
    yield CLOSINGS
    yield from _table(
        ("close", "name", "meaning", "a client", "as an error"),
        ((c.code, c.name, c.meaning, _does(c), f"`{c.error}`" if c.error else "") for c in closings()),
    )
    yield ""


def _does(closing: Closing) -> str:
    """What a client does by itself."""
    if closing.new_token:
        return "reconnects with another token; without one it stops"
    return "reconnects and resumes" if closing.reconnect else "stops and says why"


def _table(titles: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join('---' for _ in titles)} |"
    for row in rows:
        yield f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |"


def lines_of(found: Iterable[Entry | Closing]) -> Iterator[str]:
    """One code, for people."""
    for one in found:
        if isinstance(one, Closing):
            yield f"{one.code} ({one.name}): {one.meaning}"
            yield f"  a client     {_does(one)}"
            if one.error is not None:
                yield f"  see          {one.error}"
            continue
        yield f"{one.code}: {one.meaning}"
        yield f"  where        {SECTIONS[one.where][0].lower()}"
        yield f"  severity     {one.severity}"
        yield f"  a program    {RECOVERIES[one.recovery]}"
        yield f"  people       {one.hint}"
        for title, value in (
            ("class", one.error),
            ("exit code", one.exit_code),
            ("HTTP", one.http_status),
            ("close code", one.close_code),
        ):
            if value is not None:
                yield f"  {title:<12} {value}"
