"""HTTP on the WebSocket's port, GET only: health, readiness, metrics, operations, artefacts.

`websockets` parses the request line and headers; what is no upgrade is answered here and the connection closed.
"""

from __future__ import annotations

import hashlib
import http
import socket
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

from rfm_runtime.config import Settings
from rfm_runtime.config.origins import LOCAL_HOSTS
from rfm_runtime.core.networks import network_of
from rfm_runtime.core.permissions import require
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.origin import Reach, foreign
from rfm_runtime.errors import RateLimitedError, RfmError, TokenExpiredError, UnavailableError
from rfm_runtime.gateway.answers import answer, harden, json, plain, refusal, unauthorized
from rfm_runtime.gateway.connection import PATH_LIMIT, Connection
from rfm_runtime.observe import logs
from rfm_runtime.protocol.internal import DoGet, DoList, Principal
from rfm_runtime.protocol.limits import ARTIFACT_HTTP_LIMIT_BYTES, CHUNK_LIMIT_BYTES
from rfm_runtime.protocol.messages import ListOperations, ListReply, OperationReply

if TYPE_CHECKING:
    from rfm_runtime.gateway.gateway import Gateway

__all__ = ["Http", "bearer"]

log = logs.get("gateway")

REQUEST_S = 5.0

SINGLE = ("Host", "Origin", "Authorization", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-Fetch-Site")
"""Headers that come once, or mean nothing."""

BODIES_LIMIT_BYTES = 8 * ARTIFACT_HTTP_LIMIT_BYTES
"""Of files that are being read by all; a quarter of it by one user."""

NOTED = frozenset(
    {"no token", "wrong token", "expired token", "forbidden", "not to be seen", "rate_limited", "quota_exceeded"}
)
"""Reasons that the audit log has."""

LIST_COST = 5.0
READY_COST = 0.2
"""Of commands; anything else is one."""

POINTER = """rfm-runtime

This port speaks rfm.v1 over WebSocket (/ and /v1/ws) and answers GET /healthz, /readyz, /metrics,
/v1/operations, /v1/operations/ID and /v1/operations/ID/artifacts/NAME (with the runtime's token as bearer).
"""


def bearer(headers: Headers) -> str | None:
    """The token of an `Authorization: Bearer` header, None if there is none."""
    kind, _, value = headers.get("Authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else None


class Http:
    """Answers plain requests of one gateway."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        # Either name says that a proxy stands before it, and what a proxy passes on looks like this machine's.
        self._is_open = settings.host in LOCAL_HOSTS and not (settings.allowed_hosts or settings.allowed_origins)
        self._names = frozenset({socket.gethostname().lower()}) if settings.host not in LOCAL_HOSTS else frozenset()
        self._hosts = tuple(name.lower() for name in settings.allowed_hosts)
        self._origins = settings.allowed_origins
        self._bodies: Counter[str] = Counter()

    async def process(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets the WebSocket handshake go on."""
        try:
            return await self._process(connection, request)
        except (ValueError, MultipleValuesError) as error:
            # Two hosts, a port beyond 65535, half an IPv6 address: urlsplit and the headers say so by raising.
            return plain(http.HTTPStatus.BAD_REQUEST, f"not a request that makes sense: {error}\n")

    async def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.method != "GET":
            response = plain(http.HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered here\n")
            response.headers["Allow"] = "GET"
            return response
        if len(request.path) > PATH_LIMIT:
            return plain(http.HTTPStatus.REQUEST_URI_TOO_LONG, "no path here is that long\n")
        twice = next((name for name in SINGLE if len(request.headers.get_all(name)) > 1), None)
        if twice is not None:
            # Whoever is in between may go by the other one.
            return plain(http.HTTPStatus.BAD_REQUEST, f"not a request that makes sense: {twice} is there twice\n")
        if "Host" not in request.headers and request.protocol == "HTTP/1.1":
            return plain(http.HTTPStatus.BAD_REQUEST, "not a request that makes sense: HTTP/1.1 without Host\n")
        why = self._foreign(connection, request.headers)
        if why is not None:
            self._gateway.core.counts["refused_origin"] += 1
            self._gateway.core.notes.refused_request(_address(connection), None, "foreign origin")
            return plain(http.HTTPStatus.FORBIDDEN, f"{why}\n")
        path = urlsplit(request.path).path
        refused = self._gateway.certificates.refusal(connection)
        if refused is not None:
            self._gateway.core.counts["refused_certificate"] += 1
            self._gateway.core.notes.refused_request(_address(connection), None, "certificate")
            return plain(http.HTTPStatus.FORBIDDEN, f"{refused}\n")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if path not in ("/", "/v1/ws"):
                return plain(http.HTTPStatus.NOT_FOUND, "no WebSocket here\n")
            return self._knock(connection, bearer(request.headers))
        return await self._answered(connection, bearer(request.headers), path)

    async def _answered(self, connection: ServerConnection, token: str | None, path: str) -> Response:
        """The answer, or the refusal, which is noted."""
        core = self._gateway.core
        grant: Grant | None = None
        expired: TokenExpiredError | None = None
        try:
            try:
                grant = self._gateway.granted(connection, token)
            except TokenExpiredError as error:
                # What everybody may ask for is answered all the same.
                expired = error
            if grant is not None and core.revoked.covers(grant):
                grant = None
            answered = await self._answer(connection, grant, path)
        except RfmError as error:
            log.info("http_error", code=error.code, error=error.message)
            self._note(connection, grant, path, error.code)
            return refusal(error)
        if answered.status_code == http.HTTPStatus.UNAUTHORIZED:
            why = "no token" if token is None else "wrong token" if expired is None else "expired token"
            self._note(connection, None, path, why)
            wait_s = 0.0 if token is None else core.wrong_bearer(_address(connection), self._gateway.now_s)
            if wait_s > 0.0:
                return refusal(RateLimitedError("too many tokens that are none", retry_after_s=wait_s))
            if expired is not None:
                return unauthorized(expired)
        return answered

    def _note(self, connection: ServerConnection, grant: Grant | None, path: str, reason: str) -> None:
        """For the audit log, if it was for want of a token, a right or room."""
        core = self._gateway.core
        parts = path.strip("/").split("/")
        known = core.replica.operations.get(unquote(parts[2])) if len(parts) > 2 else None
        if reason == "unknown_operation" and known is not None:
            reason = "not to be seen"
        if reason in NOTED:
            core.notes.refused_request(
                _address(connection), grant, reason, known.operation_id if known else "", request=_request(parts)
            )

    def _knock(self, connection: ServerConnection, token: str | None) -> Response | None:
        """None lets a handshake go on; too many at once are told when to come back, before they cost a session.

        Who shows no token, or a wrong one, is told by `goodbye`: a browser does not see what is answered here.
        """
        gateway = self._gateway
        try:
            grant = gateway.granted(connection, token)
        except UnavailableError as unsure:
            return refusal(unsure)
        except TokenExpiredError:
            return None
        if grant is None:
            return None
        wait_s = gateway.core.knock(grant, gateway.now_s)
        if wait_s == 0.0:
            return None
        later = RateLimitedError("too many handshakes at once", hint="come back when it says", retry_after_s=wait_s)
        return refusal(later, http.HTTPStatus.SERVICE_UNAVAILABLE)

    @staticmethod
    def harden(connection: ServerConnection, request: Request, response: Response) -> None:
        """Security headers on every answer, the upgrade included."""
        if isinstance(connection, Connection):
            hosts = request.headers.get_all("Host")
            harden(response, secure=connection.secure, host=hosts[0] if len(hosts) == 1 else None)
            if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
                connection.answers(len(response.body))

    def _foreign(self, connection: ServerConnection, headers: Headers) -> str | None:
        """Why a page of another origin is refused, whatever its DNS says; None: it is none."""
        reach = Reach(
            port=connection.local_address[1] if connection.local_address else 0,
            secure=isinstance(connection, Connection) and connection.secure,
            names=self._names,
            hosts=self._hosts,
            origins=self._origins,
        )
        fetched = (headers.get("Sec-Fetch-Site", ""), headers.get("Sec-Fetch-Mode", ""))
        return foreign(reach, headers.get_all("Host"), headers.get_all("Origin"), fetched)

    async def _answer(self, connection: ServerConnection, grant: Grant | None, path: str) -> Response:
        match path.strip("/").split("/"):
            case [""]:
                return plain(http.HTTPStatus.OK, POINTER)
            case ["healthz"]:
                return plain(http.HTTPStatus.OK, "ok\n")
            case ["readyz" | "metrics" as what]:
                self._limit(connection, grant, 1.0 if what == "metrics" else READY_COST)
                if not self._is_open:
                    if grant is None:
                        return unauthorized()
                    self._gateway.core.require_feed(self._gateway.now_s)
                    require(grant.principal, "get_metrics")
                return await self._metrics() if what == "metrics" else self._readiness()
            case ["v1", "operations", *rest]:
                self._limit(connection, grant, 1.0 if rest else LIST_COST)
                if grant is None:
                    return unauthorized()
                self._gateway.core.require_feed(self._gateway.now_s)
                return await self._operations(connection, grant.principal, [unquote(part) for part in rest])
        return plain(http.HTTPStatus.NOT_FOUND, "not found\n")

    def _limit(self, connection: ServerConnection, grant: Grant | None, cost: float) -> None:
        # No user is called so: a name has no / in it.
        name = f"/{network_of(_address(connection))}" if grant is None else grant.principal.user
        wait_s = self._gateway.core.asked(name, cost, self._gateway.now_s)
        if wait_s > 0.0:
            raise RateLimitedError("too many requests", retry_after_s=wait_s)

    def _readiness(self) -> Response:
        gateway = self._gateway
        why = gateway.core.why_not_ready(gateway.now_s)
        told, down = gateway.troubles()
        if told and (down or why is not None):
            why = f"{why}; {told}" if why is not None else told
        if why is None:
            return plain(http.HTTPStatus.OK, f"ready; {told}\n" if told else "ready\n")
        return plain(http.HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {why}\n")

    async def _metrics(self) -> Response:
        text = await self._gateway.metrics_text()
        return answer(http.HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", text.encode())

    async def _operations(self, connection: ServerConnection, principal: Principal, rest: list[str]) -> Response:
        rpc = self._gateway.rpc
        match rest:
            case []:
                page = await rpc.request(DoList(principal, ListOperations(limit=500)), ListReply, timeout_s=REQUEST_S)
                while not page.operations and page.cursor is not None:
                    # Nothing that he may see was among those that were looked through so far.
                    further = DoList(principal, ListOperations(limit=500, cursor=page.cursor))
                    page = await rpc.request(further, ListReply, timeout_s=REQUEST_S)
                return json(http.HTTPStatus.OK, page)
            case [operation_id]:
                reply = await rpc.request(DoGet(principal, operation_id), OperationReply, timeout_s=REQUEST_S)
                return json(http.HTTPStatus.OK, reply)
            case [operation_id, "artifacts", name]:
                return await self._artifact(connection, principal, operation_id, name)
        return plain(http.HTTPStatus.NOT_FOUND, "not found\n")

    async def _artifact(
        self, connection: ServerConnection, principal: Principal, operation_id: str, name: str
    ) -> Response:
        reply = await self._gateway.rpc.request(DoGet(principal, operation_id), OperationReply, timeout_s=REQUEST_S)
        operation = reply.operation
        artifact = next((artifact for artifact in operation.artifacts if artifact.name == name), None)
        if artifact is None or operation.location is None:
            return plain(http.HTTPStatus.NOT_FOUND, "no such artefact\n")
        if artifact.size_bytes > ARTIFACT_HTTP_LIMIT_BYTES:
            text = f"larger than {size(ARTIFACT_HTTP_LIMIT_BYTES)}: use fetch_artifact over WebSocket\n"
            return plain(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        self._reserve(connection, principal.user, artifact.size_bytes)
        content = bytearray()
        while len(content) < artifact.size_bytes:
            chunk = await self._gateway.fetch(operation.location, operation_id, name, len(content), CHUNK_LIMIT_BYTES)
            if not chunk.chunk:
                break
            content += chunk.chunk
        if hashlib.sha256(content).hexdigest() != artifact.sha256:
            return plain(http.HTTPStatus.BAD_GATEWAY, "the artefact on disk is damaged\n")
        return answer(http.HTTPStatus.OK, artifact.media_type, bytes(content))

    def _reserve(self, connection: ServerConnection, user: str, size_bytes: int) -> None:
        """Room for a file until its reader has it: who asks for many and reads none must not fill the memory."""
        of_all, of_user = self._bodies.total(), self._bodies[user]
        is_full = of_all + size_bytes > BODIES_LIMIT_BYTES or of_user + size_bytes > BODIES_LIMIT_BYTES // 4
        if is_full or not isinstance(connection, Connection):
            raise RateLimitedError("too many files at once", hint="use `fetch_artifact`", retry_after_s=1.0)
        self._bodies[user] += size_bytes

        def release() -> None:
            self._bodies[user] -= size_bytes
            self._bodies += Counter()

        connection.on_lost.append(release)


def _address(connection: ServerConnection) -> str:
    return connection.address if isinstance(connection, Connection) else ""


def _request(parts: list[str]) -> str:
    """What is asked for by a path, as it would be called over WebSocket."""
    match parts:
        case ["readyz" | "metrics"]:
            return "get_metrics"
        case ["v1", "operations"]:
            return "list_operations"
        case ["v1", "operations", _]:
            return "get_operation"
        case ["v1", "operations", _, "artifacts", _]:
            return "fetch_artifact"
    return ""
