"""Which user a client certificate is: a TOML file, a table for each name that certificates carry.

["ann@example.org"]
user = "ann"
roles = ["operator"]
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from rfm_runtime.core.sessions.claims import ROLES, USER_HINT, are_kinds, is_user
from rfm_runtime.errors import CertificateError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.security.tls import unreadable
from rfm_runtime.security.token import write_private
from rfm_runtime.security.trusted import changeable

__all__ = ["add_user", "read_users"]


def read_users(path: Path) -> dict[str, Principal]:
    """Users by the name in their certificates. Raises CertificateError naming the file and the entry, or who else can
    change it.
    """
    try:
        content = path.read_bytes()
        changeable_by = changeable(path, path.stat())
        if changeable_by is not None:
            raise CertificateError(changeable_by[0], hint=changeable_by[1])
        found = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CertificateError(f"{path} is not TOML: {error}", hint=_like()) from None
    return {name: _principal(path, name, entry) for name, entry in found.items()}


def add_user(path: Path, name: str, user: str, roles: list[str]) -> None:
    """Say who a certificate of this name is. The rest of the file stays as it is, comments too.

    Raises CertificateError if the file says something else of the name, or cannot be read.
    """
    known = read_users(path) if path.exists() else {}
    wanted = _principal(path, name, {"user": user, "roles": roles})
    if name in known:
        if known[name] != wanted:
            raise CertificateError(f"{path} says something else of {name!r}", hint="change it there, with an editor")
        return
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    # JSON's strings are TOML's.
    entry = f"[{json.dumps(name)}]\nuser = {json.dumps(user)}\nroles = {json.dumps(list(wanted.roles))}\n"
    write_private(path, f"{before.rstrip()}\n\n{entry}" if before.strip() else entry)


def _principal(path: Path, name: str, entry: Any) -> Principal:
    if not isinstance(entry, dict) or set(entry) - {"user", "roles", "kinds"}:
        raise CertificateError(f"{path}: {name!r} is no table of user, roles and kinds", hint=_like())
    user, roles = entry.get("user", name), entry.get("roles", ["viewer"])
    if not is_user(user):
        raise CertificateError(f"{path}: the user of {name!r} is {user!r}", hint=USER_HINT)
    if not isinstance(roles, list) or not set(map(str, roles)) <= set(ROLES):
        raise CertificateError(
            f"{path}: the roles of {name!r} are {roles!r}", hint=f"choose some of {', '.join(ROLES)}"
        )
    kinds = entry.get("kinds", [])
    if not are_kinds(kinds):
        raise CertificateError(
            f"{path}: the kinds of {name!r} are {kinds!r}",
            hint="list some; leave it out for all of them",
        )
    held = tuple(role for role in ROLES if role in roles)
    return Principal(user, held, tuple(sorted(set(kinds))) if "kinds" in entry else None)


def _like() -> str:
    return 'write `["ann@example.org"]`, and below it `user = "ann"` and `roles = ["operator"]`'
