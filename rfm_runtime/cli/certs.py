"""`rfm-runtime certs`: a local authority, its server and client certificates."""

from __future__ import annotations

import datetime as dt
import json
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_runtime.cli.common import JsonOption, StateDirOption, print_json, print_table, settings
from rfm_runtime.cli.text import Column
from rfm_runtime.config import config_file, folders
from rfm_runtime.errors import BadRequestError, CertificateError

if TYPE_CHECKING:
    from rich.text import Text

    from rfm_runtime.security.certificate_authority import CertificateAuthority, Issued

__all__ = ["app"]

app = typer.Typer(help="Certificates for TLS, by an authority of one's own.", no_args_is_help=True)

LOCAL = ("localhost", "127.0.0.1", "::1")
SOON_DAYS = 14
COLUMNS = (
    Column("kind"),
    Column("name"),
    Column("names", rank=1, flexible=True),
    Column("days left"),
    Column("file", rank=2, flexible=True),
)

DaysOption = Annotated[int | None, typer.Option(metavar="NUMBER", min=1, max=3650, help="How long it is valid.")]


@app.callback()
def options() -> None:
    """Certificates for TLS, by an authority of one's own, kept in the state folder."""


@app.command()
def init(
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="A name or address of this server; several times."),
    ] = None,
    days: DaysOption = None,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Make a local authority, and a certificate for the server on this machine.

    Without --host it is for this machine's own name. `localhost`, 127.0.0.1 and ::1 are always in it. With an authority
    that is there already, a new server certificate for other names.
    """
    from rfm_runtime.security.certificate_authority import SERVER_DAYS

    authority = _authority(state_dir)
    if not host and authority.server.exists():
        raise CertificateError(
            f"there is an authority in {authority.folder} already",
            hint="`certs renew` renews the server's certificate, `certs init --host NAME` makes one for other names",
        )
    hosts = list(dict.fromkeys([*(host or [socket.gethostname()]), *LOCAL]))
    gone = [name for name in authority.server_names() if name not in hosts]
    made = authority.init(hosts, days=days or SERVER_DAYS)
    if as_json:
        print_json({"made": made, "no_longer_for": gone, **_paths(authority)})
        return
    said = "a local authority" if made else "a new server certificate"
    typer.echo(f"made {said} in {authority.folder}, for {', '.join(hosts)}")
    if gone:
        names = [name for name in hosts if name not in LOCAL]
        again = " ".join(f"--host {name}" for name in [*names, *gone])
        typer.echo(f"warning: no longer for {', '.join(gone)}; for all: rfm-runtime certs init {again}", err=True)
    typer.echo(f"start:    rfm-runtime start --host 0.0.0.0 {_start_options(authority)}")
    typer.echo(f"clients:  RFM_CA_FILE={shlex.quote(str(authority.certificate))} (a copy of this file is no secret)")


@app.command()
def client(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the client, e.g. ann or ann@example.org.")],
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Which user it is; its name by default.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="viewer, operator, admin or reporter; several times."),
    ] = None,
    days: DaysOption = None,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Make a client certificate, and say in the file of users whose it is.

    The one it had stays valid until the name is revoked.
    """
    from rfm_runtime.security.certificate_authority import CLIENT_DAYS, is_client_name
    from rfm_runtime.security.users import add_user

    authority = _authority(state_dir)
    if not is_client_name(name):
        raise BadRequestError(f"{name!r} is no name of a client", hint="letters, digits and @._+-, 64 at most")
    if not authority.is_there:
        raise CertificateError(f"there is no authority in {authority.folder}", hint="make one: rfm-runtime certs init")
    if user is not None or role or not authority.users.exists() or not _knows(authority, name):
        add_user(authority.users, name, user or name, role or ["viewer"])
    certificate, key = authority.client(name, days=days or CLIENT_DAYS)
    if as_json:
        print_json({"certificate": str(certificate), "key": str(key), "users": str(authority.users)})
        return
    typer.echo(f"made {certificate} and {key}")
    typer.echo(f"client:  RFM_CLIENT_CERT={shlex.quote(str(certificate))} RFM_CLIENT_KEY={shlex.quote(str(key))}")
    typer.echo(f"user:    {_user(authority, name)}")
    typer.echo(f"server:  lines for its settings file ({config_file()}, or as --config names it):")
    for setting, path in (("ca", authority.certificate), ("crl", authority.crl)):
        typer.echo(f"tls_client_{setting} = {_toml(path)}")
    typer.echo(f"tls_users = {_toml(authority.users)}")


@app.command()
def show(as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """List what was issued, with the days that are left. Exit code 1 if the server's certificate has expired."""
    now = _now()
    issued = _authority(state_dir).show()
    if as_json:
        print_json([_fields(one, now) for one in issued])
    else:
        print_table(COLUMNS, [_row(one, now) for one in issued])
    if any(one.kind == "server" and one.expires <= now for one in issued):
        raise typer.Exit(1)


@app.command()
def renew(days: DaysOption = None, as_json: JsonOption = False, state_dir: StateDirOption = None) -> None:
    """Make a new server certificate for the same names, with a new key.

    A runtime that uses it takes it by itself within seconds, and nobody is disconnected.
    """
    authority = _authority(state_dir)
    authority.renew(days=days)
    found = next(one for one in authority.show() if one.kind == "server")
    if as_json:
        print_json(_fields(found, _now()))
    else:
        typer.echo(f"renewed {found.file}: {_days(found, _now())} days")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the client.")],
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Take no certificate of a client any more.

    A runtime with `tls_client_crl` ends its connections within seconds.
    """
    authority = _authority(state_dir)
    found = authority.revoke(name)
    if as_json:
        print_json(_fields(found, _now()))
    else:
        typer.echo(f"revoked {name}: {authority.crl} says so")


def _authority(state_dir: str | None) -> CertificateAuthority:
    from rfm_runtime.security.certificate_authority import CertificateAuthority

    return CertificateAuthority(folders(settings(state_dir=state_dir)).certificates, _now())


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _start_options(authority: CertificateAuthority) -> str:
    return f"--tls-certificate {shlex.quote(str(authority.server))} --tls-key {shlex.quote(str(authority.server_key))}"


def _paths(authority: CertificateAuthority) -> dict[str, str]:
    files: dict[str, Path] = {
        "ca_file": authority.certificate,
        "tls_certificate": authority.server,
        "tls_key": authority.server_key,
        "tls_client_crl": authority.crl,
    }
    return {name: str(path) for name, path in files.items()}


def _toml(path: Path) -> str:
    """A path as a value of TOML: JSON's strings are TOML's."""
    return json.dumps(str(path), ensure_ascii=False)


def _knows(authority: CertificateAuthority, name: str) -> bool:
    from rfm_runtime.security.users import read_users

    return name in read_users(authority.users)


def _user(authority: CertificateAuthority, name: str) -> str:
    from rfm_runtime.security.users import read_users

    found = read_users(authority.users)[name]
    return f"{found.user}: {', '.join(found.roles)}"


def _days(one: Issued, now: dt.datetime) -> int:
    return (one.expires - now).days


def _fields(one: Issued, now: dt.datetime) -> dict[str, object]:
    return {
        "kind": one.kind,
        "name": one.name,
        "names": one.names,
        "file": str(one.file),
        "expires_at": one.expires.isoformat(),
        "days_left": _days(one, now),
        "revoked": one.revoked,
        "sha256": one.fingerprint,
    }


def _row(one: Issued, now: dt.datetime) -> list[str | Text]:
    from rich.text import Text

    left = _days(one, now)
    if one.revoked:
        state = Text("revoked", style="red")
    elif one.expires <= now:
        state = Text("expired", style="bold red")
    else:
        state = Text(str(left), style="yellow" if left < SOON_DAYS else "")
    return [one.kind, one.name, ", ".join(one.names), state, str(one.file)]
