"""`SecureProgressServer`: the one server, with the parameters of TLS required."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rfm_runtime.app.embedded import Authenticator, ProgressReportingServer
from rfm_runtime.errors import BadRequestError

if TYPE_CHECKING:
    from rfm_runtime.observe.resources import ResourceMonitor
    from rfm_runtime.security.rate_limiter import RateLimiter

__all__ = ["SecureProgressServer"]


class SecureProgressServer(ProgressReportingServer):
    """A `ProgressReportingServer` that speaks TLS and nothing else.

    ssl_cert_file, ssl_key_file: PEM. client_auth: nobody comes in without a client certificate of `client_ca`; where
    that is given without it, a certificate is one way to come in, and a token another. Without an authenticator a token
    is the server's own. The rest is as of `ProgressReportingServer`. Raises BadRequestError, ConfigError.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        *,
        ssl_cert_file: str | Path,
        ssl_key_file: str | Path,
        client_auth: bool = False,
        authenticator: Authenticator | None = None,
        rate_limiter: RateLimiter | None = None,
        resource_monitor: ResourceMonitor | None = None,
        client_ca: str | Path | None = None,
        client_crl: str | Path | None = None,
        users: str | Path | None = None,
        state_dir: str | Path | None = None,
        memory: bool = False,
    ) -> None:
        if client_auth and client_ca is None:
            raise BadRequestError(
                "client certificates are required, and none would be taken",
                hint="name the authorities that issue them: client_ca, a PEM file",
            )
        for name, value in (("ssl_cert_file", ssl_cert_file), ("ssl_key_file", ssl_key_file)):
            if not str(value or ""):
                raise BadRequestError(f"{name} is empty", hint="name a PEM file; `rfm-runtime certs init` makes both")
        super().__init__(
            host,
            port,
            authenticator,
            rate_limiter,
            resource_monitor,
            state_dir=state_dir,
            memory=memory,
            certificate=ssl_cert_file,
            key=ssl_key_file,
            client_ca=client_ca,
            client_crl=client_crl,
            client_auth=client_auth,
            users=users,
        )
