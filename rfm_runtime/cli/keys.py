"""`rfm-runtime keys`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, StateDirOption, print_json, print_table, settings
from rfm_runtime.cli.text import Column
from rfm_runtime.config import folders

__all__ = ["app"]

app = typer.Typer(
    help="Keys of hosts: this one's own, and those that may connect to it. See docs/hosts.md.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What that host is called here.")]


@app.callback()
def options() -> None:
    """Keys of hosts: this one's own, and those that may connect to it. See docs/hosts.md."""


@app.command()
def init(
    replace: Annotated[
        bool, typer.Option("--replace", help="Make another; all other hosts then have to be told.")
    ] = False,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Make this host's key pair, and print its public key.

    The private key stays in the state folder, where nobody else can read it.
    """
    from rfm_runtime.security import curve_keys

    _print(curve_keys.init(folders(settings(state_dir=state_dir)).keys, replace=replace), as_json=as_json)


@app.command()
def show(as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """Print this host's public key, which other hosts are told with `rfm-runtime keys allow`. It is no secret."""
    from rfm_runtime.security import curve_keys

    _print(curve_keys.own_pair(folders(settings(state_dir=state_dir)).keys).public, as_json=as_json)


def _print(public: bytes, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": public.hex()})
    else:
        typer.echo(public.hex())


@app.command()
def allow(
    name: NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its public key: `rfm-runtime keys show` there.")],
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Let another host connect to this one, also where a runtime runs already.

    Whoever has its private key may then do what this runtime's own processes may.
    """
    from rfm_runtime.security import curve_keys

    digits = key.strip().lower()
    curve_keys.allow(folders(settings(state_dir=state_dir)).keys, name, digits)
    if as_json:
        print_json({"host": name, "key": digits, "allowed": True})
    else:
        typer.echo(f"{name} may connect")


@app.command()
def revoke(name: NameArgument, as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """Let another host connect no more. It is cut off within seconds where it is connected."""
    from rfm_runtime.security import curve_keys

    curve_keys.revoke(folders(settings(state_dir=state_dir)).keys, name)
    if as_json:
        print_json({"host": name, "allowed": False})
    else:
        typer.echo(f"{name} may not connect any more")


@app.command("list")
def list_(as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """List the hosts that may connect to this one."""
    from rfm_runtime.security import curve_keys

    allowed = curve_keys.AllowList(folders(settings(state_dir=state_dir)).keys).allowed
    if as_json:
        print_json({"allowed": allowed})
    elif allowed:
        print_table([Column("host"), Column("key")], [[name, key] for name, key in sorted(allowed.items())])
    else:
        typer.echo("no other host may connect", err=True)
