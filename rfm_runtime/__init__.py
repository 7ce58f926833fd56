"""rfm-runtime: run long computations on all cores, watch them live, cancel them, never lose an outcome.

Importing this package loads nothing but the version; a public name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rfm_runtime._version import __version__

if TYPE_CHECKING:
    from rfm_runtime.app.embedded import ProgressReportingServer
    from rfm_runtime.app.secure import SecureProgressServer
    from rfm_runtime.client.async_client import AsyncClient
    from rfm_runtime.client.handle import AsyncOperation, Operation, RenderResult
    from rfm_runtime.client.reporting.manager import ProgressManager
    from rfm_runtime.client.reporting.reporter import ProgressReporter
    from rfm_runtime.client.reporting.tracking import Progress, current_operation, operation, progress, track
    from rfm_runtime.client.reporting.where import report_to
    from rfm_runtime.client.resilient import ResilientWebSocketClient
    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.errors import ConfigError, OperationCanceled, OperationFailedError, RfmError
    from rfm_runtime.observe.resources import ResourceMonitor
    from rfm_runtime.security.jwt_authenticator import JWTAuthenticator
    from rfm_runtime.security.rate_limiter import RateLimiter

__all__ = [
    "AsyncClient",
    "AsyncOperation",
    "Client",
    "ConfigError",
    "JWTAuthenticator",
    "Operation",
    "OperationCanceled",
    "OperationFailedError",
    "Progress",
    "ProgressManager",
    "ProgressReporter",
    "ProgressReportingServer",
    "RateLimiter",
    "RenderResult",
    "ResilientWebSocketClient",
    "ResourceMonitor",
    "RfmError",
    "SecureProgressServer",
    "__version__",
    "current_operation",
    "operation",
    "progress",
    "report_to",
    "track",
]

_HOMES = {
    "AsyncClient": "rfm_runtime.client.async_client",
    "AsyncOperation": "rfm_runtime.client.handle",
    "Client": "rfm_runtime.client.sync_client",
    "ConfigError": "rfm_runtime.errors",
    "JWTAuthenticator": "rfm_runtime.security.jwt_authenticator",
    "Operation": "rfm_runtime.client.handle",
    "OperationCanceled": "rfm_runtime.errors",
    "OperationFailedError": "rfm_runtime.errors",
    "Progress": "rfm_runtime.client.reporting.tracking",
    "ProgressManager": "rfm_runtime.client.reporting.manager",
    "ProgressReporter": "rfm_runtime.client.reporting.reporter",
    "ProgressReportingServer": "rfm_runtime.app.embedded",
    "RateLimiter": "rfm_runtime.security.rate_limiter",
    "RenderResult": "rfm_runtime.client.handle",
    "ResilientWebSocketClient": "rfm_runtime.client.resilient",
    "ResourceMonitor": "rfm_runtime.observe.resources",
    "RfmError": "rfm_runtime.errors",
    "SecureProgressServer": "rfm_runtime.app.secure",
    "current_operation": "rfm_runtime.client.reporting.tracking",
    "operation": "rfm_runtime.client.reporting.tracking",
    "progress": "rfm_runtime.client.reporting.tracking",
    "report_to": "rfm_runtime.client.reporting.where",
    "track": "rfm_runtime.client.reporting.tracking",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
