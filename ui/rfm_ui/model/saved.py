"""Views of the operations that somebody has saved: what is searched for, which states, in which order. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from rfm_ui.model.ordering import ORDERS, Order

__all__ = ["MOST", "SavedView", "loaded", "named", "renamed", "restored", "stored", "without"]

MOST = 50
NAME_LIMIT = 40


class SavedView(Struct, frozen=True, omit_defaults=True):
    """name: "" of one that is not saved. search: as it is typed. states: the name of a group of states."""

    name: str = ""
    search: str = ""
    states: str = "All"
    order: Order = "newest"


def loaded(text: str) -> list[SavedView]:
    """What was stored. What cannot be read is forgotten: another release may have written it."""
    try:
        kept = msgspec.json.decode(text or "[]", type=list[SavedView])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return []
    return [one for one in kept if one.name and one.order in ORDERS][:MOST]


def restored(text: str) -> SavedView | None:
    """What was chosen when the window was closed; None where that cannot be read."""
    try:
        view = msgspec.json.decode(text, type=SavedView)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return view if view.order in ORDERS else None


def stored(views: list[SavedView]) -> str:
    """As it is kept."""
    return msgspec.json.encode(views).decode()


def named(views: list[SavedView], view: SavedView, name: str) -> list[SavedView]:
    """With this view under a name, in the place of the one that had it, else as the last. "" is no name."""
    name = " ".join(name.split())[:NAME_LIMIT]
    if not name:
        return views
    saved = msgspec.structs.replace(view, name=name)
    if any(one.name == name for one in views):
        return [saved if one.name == name else one for one in views]
    return [*views, saved][-MOST:]


def renamed(views: list[SavedView], old: str, name: str) -> list[SavedView]:
    """With another name. One that had that name gives way."""
    name = " ".join(name.split())[:NAME_LIMIT]
    if not name or old == name:
        return views
    kept = [one for one in views if one.name != name]
    return [msgspec.structs.replace(one, name=name) if one.name == old else one for one in kept]


def without(views: list[SavedView], name: str) -> list[SavedView]:
    """Without this one."""
    return [one for one in views if one.name != name]
