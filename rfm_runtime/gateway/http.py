"""HTTP on the WebSocket's port, GET only: health, readiness, metrics, operations, artefacts.

`websockets` parses the request line and headers; what is no upgrade is answered here and the connection closed.
"""

from __future__ import annotations

import hashlib
import http
import math
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

from rfm_runtime.core.resources.sizes import size
from rfm_runtime.errors import RateLimitedError, RfmError
from rfm_runtime.observe import logs
from rfm_runtime.protocol.internal import DoGet, DoList, Principal
from rfm_runtime.protocol.limits import ARTIFACT_HTTP_LIMIT_BYTES, CHUNK_LIMIT_BYTES
from rfm_runtime.protocol.messages import ListOperations, ListReply, OperationReply
from rfm_runtime.protocol.operation import error_info

if TYPE_CHECKING:
    from rfm_runtime.gateway.gateway import Gateway

__all__ = ["Http", "bearer"]

log = logs.get("gateway")

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}
REQUEST_S = 5.0

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

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def process(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets the WebSocket handshake go on."""
        try:
            return await self._process(connection, request)
        except (ValueError, MultipleValuesError) as error:
            # Two hosts, a port beyond 65535, half an IPv6 address: urlsplit and the headers say so by raising.
            return _plain(http.HTTPStatus.BAD_REQUEST, f"not a request that makes sense: {error}\n")

    async def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.method != "GET":
            refusal = _plain(http.HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered here\n")
            refusal.headers["Allow"] = "GET"
            return refusal
        path = urlsplit(request.path).path
        if not self._is_local(connection, request):
            return _plain(http.HTTPStatus.FORBIDDEN, "this origin may not use the runtime\n")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            # Two of them are refused here, where there is an answer.
            token = bearer(request.headers)
            if path not in ("/", "/v1/ws"):
                return _plain(http.HTTPStatus.NOT_FOUND, "no WebSocket here\n")
            return self._knock(token)
        try:
            return await self._answer(request, path)
        except RfmError as error:
            log.info("http_error", path=path[:128], code=error.code, error=error.message)
            return _json(http.HTTPStatus(error.http_status or 500), error_info(error))

    def _knock(self, token: str | None) -> Response | None:
        """None lets a handshake go on; too many at once are told when to come back, before they cost a session.

        Who shows no token, or a wrong one, is told by `goodbye`: a browser does not see what is answered here.
        """
        gateway = self._gateway
        grant = None if token is None else gateway.authenticate(token)
        if grant is None:
            return None
        wait_s = gateway.core.knock(grant, gateway.now_s)
        if wait_s == 0.0:
            return None
        later = RateLimitedError("too many handshakes at once", hint="come back when it says", retry_after_s=wait_s)
        response = _json(http.HTTPStatus.SERVICE_UNAVAILABLE, error_info(later))
        response.headers["Retry-After"] = str(math.ceil(wait_s))
        return response

    @staticmethod
    def harden(_connection: ServerConnection, _request: Request, response: Response) -> None:
        """Security headers on every answer, the upgrade included."""
        for name, value in HEADERS.items():
            if name not in response.headers:
                response.headers[name] = value

    def _is_local(self, connection: ServerConnection, request: Request) -> bool:
        """A page of another origin must not reach the runtime through somebody's browser, whatever its DNS says."""
        port = connection.local_address[1] if connection.local_address else 0
        host = urlsplit(f"//{request.headers.get('Host', '')}")
        if host.hostname is not None and host.hostname not in LOCAL_HOSTS:
            return False
        origins = request.headers.get_all("Origin")
        if not origins:
            return True
        origin = urlsplit(origins[0])
        return len(origins) == 1 and origin.hostname in LOCAL_HOSTS and origin.port == port

    async def _answer(self, request: Request, path: str) -> Response:
        gateway = self._gateway
        match path.strip("/").split("/"):
            case [""]:
                return _plain(http.HTTPStatus.OK, POINTER)
            case ["healthz"]:
                return _plain(http.HTTPStatus.OK, "ok\n")
            case ["readyz"]:
                why = gateway.core.why_not_ready(gateway.now_s)
                told, down = gateway.troubles()
                if told and (down or why is not None):
                    why = f"{why}; {told}" if why is not None else told
                if why is None:
                    return _plain(http.HTTPStatus.OK, f"ready; {told}\n" if told else "ready\n")
                return _plain(http.HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {why}\n")
            case ["metrics"]:
                text = await gateway.metrics_text()
                return _response(http.HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", text.encode())
            case ["v1", "operations", *rest]:
                grant = gateway.authenticate(bearer(request.headers) or "")
                if grant is None:
                    refusal = _plain(http.HTTPStatus.UNAUTHORIZED, "the runtime's token is needed as bearer\n")
                    refusal.headers["WWW-Authenticate"] = "Bearer"
                    return refusal
                return await self._operations(grant.principal, [unquote(part) for part in rest])
        return _plain(http.HTTPStatus.NOT_FOUND, "not found\n")

    async def _operations(self, principal: Principal, rest: list[str]) -> Response:
        rpc = self._gateway.rpc
        match rest:
            case []:
                page = await rpc.request(DoList(principal, ListOperations(limit=500)), ListReply, timeout_s=REQUEST_S)
                return _json(http.HTTPStatus.OK, page)
            case [operation_id]:
                reply = await rpc.request(DoGet(principal, operation_id), OperationReply, timeout_s=REQUEST_S)
                return _json(http.HTTPStatus.OK, reply)
            case [operation_id, "artifacts", name]:
                return await self._artifact(principal, operation_id, name)
        return _plain(http.HTTPStatus.NOT_FOUND, "not found\n")

    async def _artifact(self, principal: Principal, operation_id: str, name: str) -> Response:
        reply = await self._gateway.rpc.request(DoGet(principal, operation_id), OperationReply, timeout_s=REQUEST_S)
        operation = reply.operation
        artifact = next((artifact for artifact in operation.artifacts if artifact.name == name), None)
        if artifact is None or operation.location is None:
            return _plain(http.HTTPStatus.NOT_FOUND, "no such artefact\n")
        if artifact.size_bytes > ARTIFACT_HTTP_LIMIT_BYTES:
            text = f"larger than {size(ARTIFACT_HTTP_LIMIT_BYTES)}: use fetch_artifact over WebSocket\n"
            return _plain(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        content = bytearray()
        while len(content) < artifact.size_bytes:
            chunk = await self._gateway.fetch(operation.location, operation_id, name, len(content), CHUNK_LIMIT_BYTES)
            if not chunk.chunk:
                break
            content += chunk.chunk
        if hashlib.sha256(content).hexdigest() != artifact.sha256:
            return _plain(http.HTTPStatus.BAD_GATEWAY, "the artefact on disk is damaged\n")
        return _response(http.HTTPStatus.OK, artifact.media_type, bytes(content))


def _plain(status: http.HTTPStatus, text: str) -> Response:
    return _response(status, "text/plain; charset=utf-8", text.encode())


def _json(status: http.HTTPStatus, data: msgspec.Struct) -> Response:
    return _response(status, "application/json", msgspec.json.encode(data) + b"\n")


def _response(status: http.HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers({**HEADERS, "Content-Type": content_type, "Content-Length": str(len(body))})
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)
