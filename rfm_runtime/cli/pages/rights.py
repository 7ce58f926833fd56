"""The table of who may do what as text for a terminal, and as the document docs/permissions.md. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from rfm_runtime.core.permissions import NEEDS, PUBLISHED, ROLES, Need, Reach, Right

__all__ = ["Row", "document", "rows"]

INTRODUCTION = """\
# Who may do what

Made from the code by `make docs`; a test fails when it is out of date, and another one asks every request of this
table with every role, about own operations and others', with every grant of kinds. `rfm-runtime permissions` says the
same in a terminal.

A token names a **user**, some **roles**, which add up, and, if it is to be narrower, the **kinds** of operations that
it is about (claim `kinds`, e.g. `["render.escape_time"]`; without it all of them). The runtime's own token is that of
its user, `local`, with the role admin.

- **all**: of everybody's operations. **own**: of those that the token's user has submitted or reported. **—**: not at
  all.
- An operation that somebody may not see, because it is another's or of a kind that is not granted, does not exist for
  him: he gets `unknown_operation` in the words for what there is not, and no event, progress or list has it; an
  operation below it has no `parent_id` for him. What may be seen and not be changed is answered with `forbidden`.
- A kind that is not granted is neither submitted nor reported anew. What a program has begun to report it reports to
  its end.
- An administrator whose token is of some kinds alone gives no more away: a sign-in link of his is of some of these,
  and he revokes nobody, since a token is revoked for all kinds. What a link gives ends no later than the token with
  which it was asked for.
- Rights are looked at with every request, and again by the broker that carries it out; with every event and every
  list that is sent; when somebody resumes, with whatever position; and for HTTP, whose answers are those of
  `list_operations`, `get_operation` and `fetch_artifact`. A token that is shown on the way (`auth_refresh`) applies
  at once, and a watcher who sees something else from then on is sent a new list.
- What cannot be hidden: an `operation_id` is one name for everybody, so that one who submits with a name that is
  taken gets `conflict`, whosever it is. Names as our clients make them have 80 random bits.

## Requests
"""

ABOUT = {
    "nothing": "",
    "operation": "the operation that is named",
    "seen": "has to see the operation that is named",
    "kind": "the kind; a parent has to be his own, or one that he may cancel",
    "list": "is of what he may see alone",
    "program": "operations of the program that speaks",
    "everything": "the token is of all kinds",
    "grant": "its kinds are some of the token's, and it ends no later",
}


class Row(Struct, frozen=True):
    """roles: of each "all" or "own", whose operations it may ask it of; "yes" where that is no question; "" if not."""

    type: str
    direction: Literal["request", "published"]
    right: str
    roles: dict[str, str]
    about: str


def rows() -> Iterator[Row]:
    """All of them, requests first."""
    for name, need in NEEDS.items():
        yield _row(name, "request", need)
    for name, need in PUBLISHED.items():
        yield _row(name, "published", need)


def _row(name: str, direction: Literal["request", "published"], need: Need) -> Row:
    return Row(
        name,
        direction,
        "any token" if need.right is None else need.right,
        {role: _reach(need, rights) for role, rights in ROLES.items()},
        ABOUT[need.about],
    )


def _reach(need: Need, rights: Mapping[Right, Reach]) -> str:
    if need.right is None:
        return "yes"
    far = rights.get(need.right, "")
    return far if need.about in ("operation", "list") or not far else "yes"


def document() -> str:
    """docs/permissions.md."""
    found = list(rows())
    requests = [row for row in found if row.direction == "request"]
    published = [row for row in found if row.direction == "published"]
    lines = [INTRODUCTION, *_table(requests), "", "## What is sent unasked", "", *_table(published), ""]
    return "\n".join(lines)


def _table(found: list[Row]) -> Iterator[str]:
    yield f"| type | right | {' | '.join(ROLES)} | looked at |"
    yield f"|{' --- |' * (len(ROLES) + 3)}"
    for row in found:
        cells = (row.roles[role] or "—" for role in ROLES)
        yield f"| `{row.type}` | {row.right} | {' | '.join(cells)} | {row.about} |"
