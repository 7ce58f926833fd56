"""A peer that speaks JSON over a WebSocket and plain HTTP to a server, by libraries that know nothing of ours."""

from __future__ import annotations

import http.client
import json
import time
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

__all__ = ["Plain", "get"]

ANSWER_S = 20.0


class Plain:
    """One connection. heard: everything it was told, in order. code: of the close, once it is closed."""

    def __init__(self, url: str, token: str | None, *, header: bool = False, **hello: Any) -> None:
        """token: None: says no hello by itself. header: it is shown before, and not in the hello."""
        shown = {"Authorization": f"Bearer {token}"} if header else {}
        self._socket = _opened(url, shown)
        self.heard: list[dict[str, Any]] = []
        self.code: int | None = None
        self._number = 0
        if token is not None:
            self.say("hello", token=None if header else token, client={"name": "plain", "version": "0"}, **hello)
            self.until(lambda one: one["type"] in ("welcome", "goodbye", "error"))

    def say(self, type_: str, /, **data: Any) -> int:
        """Send a request; its number."""
        self._number += 1
        self._socket.send(json.dumps({"type": type_, "id": self._number, "ts": 0, "data": data}))
        return self._number

    def ask(self, type_: str, /, **data: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; that of a closed connection is {"type": "closed"}."""
        number = self.say(type_, **data)
        return self.until(lambda one: one.get("re") == number)

    def code_of(self, type_: str, /, **data: Any) -> str:
        """The code of the error that is the answer, or the answer's type."""
        answer = self.ask(type_, **data)
        return str(answer["data"]["code"]) if answer["type"] == "error" else str(answer["type"])

    def until(self, wanted: Any, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Hear until there is one that is wanted, also among what was heard."""
        seen = 0
        while True:
            for one in self.heard[seen:]:
                if wanted(one):
                    return one
            seen = len(self.heard)
            if not self.hear(timeout_s):
                return {"type": "closed", "code": self.code}

    def hear(self, timeout_s: float = ANSWER_S) -> bool:
        """One message; False once the connection is closed. Raises TimeoutError."""
        try:
            got = json.loads(self._socket.recv(timeout=timeout_s))
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd is not None else None
            return False
        self.heard += got if isinstance(got, list) else [got]
        return True

    def told_of(self) -> set[str]:
        """Every operation that it was told anything of."""
        found: set[str] = set()
        for one in self.heard:
            data = one.get("data", {})
            if "re" not in one and "operation_id" in data:
                found.add(data["operation_id"])
            if one["type"] == "operation_list":
                found |= {operation["operation_id"] for operation in data["operations"]}
        return found

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def __enter__(self) -> Plain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(url: str, headers: dict[str, str]) -> ClientConnection:
    """Who is told to come again later does."""
    while True:
        try:
            return connect(url, additional_headers=headers, compression=None, proxy=None, max_size=None, legacy=True)
        except InvalidStatus as refused:
            if refused.response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(json.loads(refused.response.body)["retry_after_ms"] / 1000)


def get(url: str, path: str, token: str | None = None) -> tuple[int, Any, dict[str, str]]:
    """Status, the answer as JSON or text, and the headers of a GET."""
    where = urlsplit(url)
    asked = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ANSWER_S)
    try:
        asked.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        answer = asked.getresponse()
        body = answer.read().decode(errors="replace")
        headers = dict(answer.headers)
        return answer.status, json.loads(body) if "json" in headers.get("Content-Type", "") else body, headers
    finally:
        asked.close()
