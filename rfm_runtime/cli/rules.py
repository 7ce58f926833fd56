"""`rfm-runtime rules`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, print_json
from rfm_runtime.cli.reaching import reaching
from rfm_runtime.core.counts import counted
from rfm_runtime.core.notifying.files import FILE_LIMIT_BYTES, read, write
from rfm_runtime.core.notifying.sentences import quiet_text, sentence
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import Rules, RulesReply

__all__ = ["app"]

app = typer.Typer(
    help="What you want to be told of, and how: your rules of notifications, which the runtime keeps.",
    no_args_is_help=True,
)


@app.callback()
def options() -> None:
    """What you want to be told of, and how: your rules of notifications, which the runtime keeps."""


def show(
    as_json: JsonOption = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print a file that `rules set` takes.")] = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Show your rules and quiet hours, each in a sentence."""
    with client(runtime_dir) as connected:
        reply = connected.rules()
    if as_json:
        _print(reply)
    elif toml:
        typer.echo(write(reply.rules), nl=False)
    else:
        for line in lines(reply):
            typer.echo(line)


def set_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="TOML, as `rules show --toml` prints it; - for stdin.")],
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Have the runtime keep the rules of a file instead of those there are."""
    rules = read(_text(file))
    with client(runtime_dir) as connected:
        reply = connected.set_rules(rules, connected.rules().version)
    if as_json:
        _print(reply)
    else:
        hours = counted(len(rules.quiet), "range of quiet hours", "ranges of quiet hours")
        typer.echo(f"{counted(len(rules.rules), 'rule')} and {hours} are kept")


def reset(as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Go back to the rules that everybody has at first."""
    with client(runtime_dir) as connected:
        reply = connected.set_rules(None, connected.rules().version)
    if as_json:
        _print(reply)
    else:
        typer.echo("the rules are those that everybody has at first")


app.command("show")(reaching(show))
app.command("set")(reaching(set_))
app.command("reset")(reaching(reset))


def lines(reply: RulesReply) -> list[str]:
    """For a terminal."""
    found = [] if reply.version else ["These are the rules that everybody has at first."]
    for rule in reply.rules.rules:
        name = f"{printable(rule.name)}: " if rule.name else ""
        found.append(f"{'' if rule.is_on else '(off) '}{name}{sentence(rule)}")
    if not reply.rules.rules:
        found.append("There are no rules: nothing is told.")
    return [*found, *(f"Quiet: {quiet_text(quiet)}" for quiet in reply.rules.quiet)]


def _print(reply: RulesReply) -> None:
    print_json({"version": reply.version, **_document(reply.rules)})


def _document(rules: Rules) -> dict[str, object]:
    """With all that is the default: whoever reads it need not know what that is."""
    return {
        "rules": [msgspec.structs.asdict(rule) for rule in rules.rules],
        "quiet": [msgspec.structs.asdict(quiet) for quiet in rules.quiet],
    }


def _text(file: str) -> str:
    hint = "name a file in TOML, as `rfm-runtime rules show --toml` prints it"
    try:
        if file == "-":
            data = sys.stdin.buffer.read(FILE_LIMIT_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(FILE_LIMIT_BYTES + 1)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequestError(f"{file} is not text in UTF-8", hint=hint) from None
    except OSError as error:
        raise BadRequestError(f"{file} cannot be read: {error.strerror or error}", hint=hint) from None
