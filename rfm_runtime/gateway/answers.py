"""Answers in HTTP of a gateway, each with the headers that keep browsers from making anything else of it."""

from __future__ import annotations

import http

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Response

from rfm_runtime.config.origins import is_shared
from rfm_runtime.errors import RfmError, TokenExpiredError
from rfm_runtime.protocol.operation import error_info

__all__ = ["answer", "harden", "json", "plain", "refusal", "unauthorized"]

HEADERS = {
    # What is told to one user must lie in nobody's cache.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HSTS = "max-age=31536000"
"""A year, in seconds; without subdomains, which are not ours to decide about."""


def harden(response: Response, *, secure: bool, host: str | None) -> None:
    """Add the headers that it does not have. secure: it is sent over TLS. host: the `Host` header, if there was one.

    A browser that has heard HSTS for localhost opens nothing of any other port there without TLS.
    """
    for name, value in HEADERS.items():
        if name not in response.headers:
            response.headers[name] = value
    if secure and is_shared(host) and "Strict-Transport-Security" not in response.headers:
        response.headers["Strict-Transport-Security"] = HSTS


def answer(status: http.HTTPStatus, content_type: str, body: bytes) -> Response:
    """An answer after which the connection is closed."""
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)


def plain(status: http.HTTPStatus, text: str) -> Response:
    """A line for people."""
    return answer(status, "text/plain; charset=utf-8", text.encode())


def json(status: http.HTTPStatus, data: msgspec.Struct) -> Response:
    """A message of the protocol."""
    return answer(status, "application/json", msgspec.json.encode(data) + b"\n")


def refusal(error: RfmError, status: http.HTTPStatus | None = None) -> Response:
    """An error as JSON, with `Retry-After` where it says when to come again."""
    response = json(status or http.HTTPStatus(error.http_status or 500), error_info(error))
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, -int(-error.retry_after_s // 1)))
    return response


def unauthorized(expired: TokenExpiredError | None = None) -> Response:
    """A token is needed; or the one that was shown has expired, which is said as RFC 6750 (3.1) has it."""
    if expired is None:
        response = plain(http.HTTPStatus.UNAUTHORIZED, "a token is needed as bearer\n")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    response = refusal(expired)
    response.headers["WWW-Authenticate"] = f'Bearer error="invalid_token", error_description="{expired.message}"'
    return response
