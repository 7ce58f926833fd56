"""A real runtime as it faces a network: TLS, tokens of a secret, the default limits. Its certificates are its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rfm_runtime.security.certificate_authority import CertificateAuthority
from rfm_runtime.security.jwt_authenticator import JWTAuthenticator
from rfm_runtime.security.token import write_private
from rfm_runtime.testing.runtime import Runtime, runtime

__all__ = ["secured"]


@contextmanager
def secured(folder: Path, **overrides: Any) -> Iterator[tuple[Runtime, JWTAuthenticator]]:
    """The runtime, and what issues tokens that it takes. folder: for all it keeps. overrides: settings."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = CertificateAuthority(folder / "certs", datetime.now(UTC))
    authority.init(["127.0.0.1"])
    key = secrets.token_hex(32)
    write_private(folder / "secret", key)
    settings = {
        "tls_certificate": str(authority.server),
        "tls_key": str(authority.server_key),
        "token_secret_file": str(folder / "secret"),
    }
    with runtime(folder, **settings, **overrides) as running:
        yield running, JWTAuthenticator(key)
