"""`rfm-runtime token`. Tokens come from files and standard input: arguments are seen by everybody."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from rfm_runtime.cli.common import (
    ConfigOption,
    JsonOption,
    RuntimeDirOption,
    client,
    output_file,
    print_json,
    print_table,
    settings,
)
from rfm_runtime.cli.reaching import reaching
from rfm_runtime.cli.text import Column, moment, seconds_of
from rfm_runtime.core.text import duration, printable
from rfm_runtime.errors import BadRequestError, ConfigError
from rfm_runtime.protocol.sign_in import SignInLink

__all__ = ["app"]

app = typer.Typer(help="Tokens for others: make them, look at them, take them back.", no_args_is_help=True)

FILE_LIMIT_BYTES = 64 * 1024

LINK_LIMIT_S, SIGN_IN_LIMIT_S = 3600.0, 30 * 86_400.0
"""As `SignInLink` has them."""

LONG_S = 366 * 86_400.0
"""From which on a token's lifetime is worth a word."""

TOKEN_LIMIT_S = 30 * 365 * 86_400.0

CLOCKS_S = 30.0
"""A server whose clock is behind takes a token so long after it has expired."""

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A file with the token; - for standard input.", show_default=True)
]


OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Into a new file that nobody else can read (mode 0600)."),
]


@app.callback()
def options() -> None:
    """Tokens for others: make them, look at them, take them back. See docs/security.md."""


@app.command()
def issue(
    user: Annotated[str, typer.Option(metavar="NAME", help="Whose it is.")],
    roles: Annotated[
        str, typer.Option(metavar="ROLES", help="Of viewer, operator, admin and reporter, with commas.")
    ] = "viewer",
    lifetime: Annotated[str, typer.Option(metavar="DURATION", help="How long it is valid: 30min, 8h, 7d.")] = "8h",
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only for operations of this kind; repeatable.")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Print a token for somebody, signed with the secret that the settings name (token_secret_file)."""
    from rfm_runtime.security.authority import WEAK, authenticator_of

    made = authenticator_of(settings(file=config))
    if made is None:
        raise ConfigError(
            "there is no secret to sign tokens with",
            hint="set token_secret_file, and make the secret with `rfm-runtime token rotate`",
        )
    lifetime_s = _within("--lifetime", lifetime, TOKEN_LIMIT_S, "a token is valid for 30 years at most")
    file = None if output is None else output_file(output, force=False)
    if made.is_weak:
        typer.echo(
            f"warning: {WEAK}; no server that others can reach takes the token; see `rfm-runtime token rotate`",
            err=True,
        )
    if lifetime_s > LONG_S:
        typer.echo(
            f"warning: the token is valid for {duration(lifetime_s)}: so long whoever finds it comes in with it, "
            "unless it is revoked or the secret is changed",
            err=True,
        )
    token = made.issue(user, _roles(roles), lifetime_s=lifetime_s, kinds=kind or None)
    if as_json:
        claims = _part(token, 1)
        said = {"token": token, "token_id": claims["jti"], "expires_at_ms": claims["exp"] * 1000}
        _hand_out(json.dumps(said, separators=(",", ":")), file)
    else:
        _hand_out(token, file)


@app.command()
def inspect(file: FileArgument = "-", as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show what a token says, and whether it is taken by the keys that the settings name.

    Exit code 1 if it is not.
    """
    from rfm_runtime.security.authority import authenticator_of

    token = _read(file)
    header, claims = _part(token, 0), _part(token, 1)
    made = authenticator_of(settings(file=config))
    found = "the settings name no key" if made is None else made.examine(token)
    why = found if isinstance(found, str) else None
    if as_json:
        print_json({"header": header, "claims": claims, "valid": why is None, "why_not": why})
    else:
        rows = [[name, _shown(name, value)] for name, value in [*header.items(), *claims.items()]]
        print_table([Column(""), Column("")], [*rows, ["valid", "yes" if why is None else f"no: {why}"]])
    if why is not None:
        raise typer.Exit(1)


@app.command()
@reaching
def revoke(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A file with the token; - for standard input.")
    ] = None,
    token_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="The token's id (jti).")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="All tokens of this user …")] = None,
    issued_before: Annotated[
        str | None, typer.Option(metavar="WHEN", help="… that were issued before: 2h (ago), 2025-05-04T12:30; now.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "",
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Have a running runtime refuse a token, or a user's, from now on: their sessions end at once."""
    if sum(given is not None for given in (file, token_id, user)) != 1:
        raise BadRequestError(
            "name one token, or one user", hint="give a file with the token, or --id, or --user (see --help)"
        )
    if issued_before is not None and user is None:
        raise BadRequestError("--issued-before belongs to --user", hint="leave it out, or name a user")
    wanted: dict[str, Any] = {"reason": reason}
    if user is not None:
        before_ms = None if issued_before is None else moment(issued_before, time.time_ns() // 1_000_000)
        wanted |= {"user": user, "issued_before_ms": before_ms}
        moment_ms = time.time_ns() // 1_000_000 if before_ms is None else before_ms
        what = f"tokens of {user} issued before {_clock(moment_ms)}"
    else:
        wanted |= {"token_id": token_id} if token_id is not None else _named(_read(file or "-"))
        what = f"token {wanted['token_id']}"
    with client(runtime_dir) as connected:
        version = connected.revoke(**wanted)
    if as_json:
        print_json({"version": version})
    else:
        # Whether there are such tokens only their issuer knows.
        typer.echo(f"{printable(what)}: revoked, refused from now on")
        if user is not None:
            typer.echo("a client certificate goes on letting its user in: `rfm-runtime certs revoke` takes it back")


@app.command()
@reaching
def link(
    user: Annotated[str, typer.Option(metavar="NAME", help="Who signs in with it.")],
    roles: Annotated[
        str, typer.Option(metavar="ROLES", help="Of viewer, operator, admin and reporter, with commas.")
    ] = "viewer",
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only for operations of this kind; repeatable.")
    ] = None,
    valid: Annotated[str, typer.Option(metavar="DURATION", help="How long the link can be used, once.")] = "10min",
    lifetime: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long who used it stays signed in; not longer than your own token lasts."
        ),
    ] = "8h",
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where others reach the gateways: https://HOST:8765.")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Print a link with which somebody signs in once, at any gateway of a running runtime.

    Its code is in the fragment, which browsers send to nobody. Without --url it names the address at which this command
    reaches the gateways.
    """
    from rfm_runtime.core.permissions import KINDS_LIMIT
    from rfm_runtime.core.sessions.claims import ROLES, USER_HINT, are_kinds, is_user

    if not is_user(user):
        raise BadRequestError(f"user is {user!r}", hint=USER_HINT)
    granted = list(dict.fromkeys(_roles(roles)))
    if not set(granted) <= set(ROLES):
        raise BadRequestError(f"roles are {granted!r}", hint=f"choose some of {', '.join(ROLES)}")
    if kind and not are_kinds(kind):
        raise BadRequestError(f"kinds are {kind!r}", hint=f"give at most {KINDS_LIMIT} names of kinds")
    page = None if url is None else _page(url)
    code = secrets.token_urlsafe(32)
    wanted = SignInLink(
        digest=hashlib.sha256(code.encode()).hexdigest(),
        user=user,
        roles=granted,
        kinds=kind or None,
        valid_s=_within("--valid", valid, LINK_LIMIT_S, "a link is valid for 1h at most"),
        lifetime_s=_within("--lifetime", lifetime, SIGN_IN_LIMIT_S, "a sign-in lasts for 30d at most"),
    )
    file = None if output is None else output_file(output, force=False, runtime_dir=runtime_dir)
    with client(runtime_dir) as connected:
        connected.sign_in_link(wanted)
        address = page or _page(connected.url)
    found = f"{address}/#code={code}"
    if as_json:
        _hand_out(json.dumps({"link": found, "valid_s": wanted.valid_s}, separators=(",", ":")), file)
    else:
        _hand_out(found, file)


@app.command()
def rotate(
    keep: Annotated[
        str, typer.Option(metavar="DURATION", help="How long tokens of the present secret are still taken; 0s: not.")
    ] = "24h",
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The secret's file, if no setting names it yet.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a new secret in the file that the settings name; a running runtime follows by itself.

    The present secret is kept beside it, and accepted for a while.
    """
    from rfm_runtime.security.rotation import rotate as rotated

    keep_s = seconds_of(keep)
    resolved = settings(file=config, token_secret_file=file)
    until_s = time.time() + keep_s if keep_s else None
    kept = rotated(resolved, until_s)
    if as_json:
        print_json({"file": resolved.token_secret_file, "previous": None if kept is None else str(kept)})
        return
    typer.echo(f"{resolved.token_secret_file} has a new secret")
    if kept is not None and until_s is not None:
        until = datetime.fromtimestamp(until_s).astimezone().strftime("%Y-%m-%d %H:%M %Z")
        typer.echo(f"{kept} has the one before, which is accepted until {until}")


def _clock(at_ms: int) -> str:
    """The time of today, or the day as well."""
    when, today = datetime.fromtimestamp(at_ms / 1000).astimezone(), datetime.now().astimezone()
    return f"{when:%H:%M:%S}" if when.date() == today.date() else f"{when:%Y-%m-%d %H:%M:%S}"


def _within(option: str, text: str, most_s: float, limit: str) -> float:
    """Seconds of a duration above 0. limit: why it is not longer. Raises BadRequestError."""
    found_s = seconds_of(text)
    if not 0.0 < found_s <= most_s:
        why = "nothing" if found_s <= 0.0 else f"more than {duration(most_s)}"
        raise BadRequestError(f"{option} {printable(text)} is {why}", hint=f"{limit}; write it like 15min, 12h or 30d")
    return found_s


def _page(url: str) -> str:
    """Where a browser finds what has this address. Raises BadRequestError for what is none."""
    with suppress(ValueError):
        parts = urlsplit(url.strip())
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        is_page = scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        if is_page and not (parts.query or parts.fragment or "@" in parts.netloc) and url.isprintable():
            return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    raise BadRequestError(
        f"--url {printable(url)} is no address of a page", hint="write it as https://HOST:8765, without # and ?"
    )


def _hand_out(text: str, file: Path | None) -> None:
    """A secret, into a file that is this user's alone, or to stdout; others who can read that are spoken of."""
    if file is not None:
        from rfm_runtime.security.token import write_private

        write_private(file, f"{text}\n")
        return
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    with suppress(OSError, ValueError):
        found = os.fstat(sys.stdout.fileno())
        if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o044:
            typer.echo(
                f"warning: others can read the file that this was written to (mode {stat.S_IMODE(found.st_mode):04o}); "
                "-o FILE makes one that nobody else can: chmod 600 it, or make another",
                err=True,
            )


def _roles(text: str) -> list[str]:
    return [role.strip() for role in text.split(",") if role.strip()]


def _named(token: str) -> dict[str, Any]:
    """Which token it is, and when it will be forgotten."""
    claims = _part(token, 1)
    token_id, expires_s = claims.get("jti"), claims.get("exp")
    if not isinstance(token_id, str) or not token_id:
        raise BadRequestError("the token has no id (jti), so it cannot be revoked", hint="revoke its user's: --user")
    ends = isinstance(expires_s, int | float) and 0 <= expires_s < 1e12
    if isinstance(expires_s, int | float) and 0 < expires_s < min(time.time() - CLOCKS_S, 1e12):
        raise BadRequestError(
            f"this token has expired: {_shown('exp', expires_s)}",
            hint="there is nothing to revoke: it lets nobody in any more",
        )
    return {"token_id": token_id, "expires_at_ms": int(expires_s) * 1000 if ends and expires_s else None}


def _read(file: str) -> str:
    try:
        if file == "-":
            text = sys.stdin.read(FILE_LIMIT_BYTES)
        else:
            with Path(file).open(encoding="utf-8") as opened:
                text = opened.read(FILE_LIMIT_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        # Not what was given: somebody may have given the token itself.
        raise BadRequestError(
            f"cannot read the token's file: {reason}", hint="give a file that has it, or - and the token on stdin"
        ) from None
    return text.strip()


def _part(token: str, number: int) -> dict[str, Any]:
    """Header (0) or claims (1), which anybody can read."""
    try:
        text = token.split(".")[number]
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, IndexError, RecursionError):
        found = None
    if token.count(".") != 2 or not isinstance(found, dict):
        raise BadRequestError(
            "this is no JSON Web Token", hint="the runtime's own token is none, and means this user with all rights"
        )
    return found


def _shown(name: str, value: Any) -> str:
    if name in ("exp", "iat", "nbf") and isinstance(value, int | float) and 0 <= value < 1e11:
        return datetime.fromtimestamp(value).astimezone().isoformat(" ", "seconds")
    return printable(value if isinstance(value, str) else json.dumps(value))
