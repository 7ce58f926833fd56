"""Whoever may not see an operation's parent is told of none: by lists, events, history and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rfm_runtime import JWTAuthenticator, ProgressReportingServer
from tests.plain import Plain, get

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G13")]

AUTH = JWTAuthenticator("unseen-parents-secret-of-32-bytes!")
KINDS = {"all": None, "both": ["step", "whole"], "step": ["step"]}


@pytest.fixture(scope="module")
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTH) as started:
        yield started


def parents(found: Any, operation_id: str) -> set[Any]:
    """Those of the operation, wherever it is told."""
    if isinstance(found, list):
        return set().union(*(parents(one, operation_id) for one in found))
    if not isinstance(found, dict):
        return set()
    own = {found.get("parent_id")} if found.get("operation_id") == operation_id and "kind" in found else set()
    return own.union(*(parents(one, operation_id) for one in found.values()))


@pytest.mark.parametrize("name", list(KINDS))
def test_a_parent_is_told_to_whoever_sees_it_alone(server: ProgressReportingServer, name: str) -> None:
    token = AUTH.issue("eve", ["viewer"], kinds=KINDS[name])
    whole, step = f"{name}-whole-of-it", f"{name}-part"
    with Plain(server.url, token) as watcher, Plain(server.url, AUTH.issue("ann", ["reporter"])) as program:
        assert watcher.code_of("subscribe", operations="all") == "subscribed"
        assert program.code_of("operation_started", operation_id=whole, kind="whole") == "reported"
        assert program.code_of("operation_started", operation_id=step, kind="step", parent_id=whole) == "reported"
        told = [watcher.until(lambda one: one["type"] == "operation_accepted" and one["data"]["operation_id"] == step)]
        told += [watcher.ask("list_operations"), watcher.ask("get_operation", operation_id=step)]
        told += [watcher.ask("history"), watcher.ask("performance", operation_id=step)]
        told.append(get(server.url, f"/v1/operations/{step}", token)[1])
        with Plain(server.url, token) as later:
            assert later.code_of("subscribe", operations="all") == "subscribed"
            told.append(later.until(lambda one: one["type"] == "operation_list"))
            heard = json.dumps([watcher.heard, later.heard, told])
        assert all(parents(one, step) for one in told), "each has the operation"
        assert parents(told, step) == ({None} if name == "step" else {whole})
        assert (whole in heard) == (name != "step")
