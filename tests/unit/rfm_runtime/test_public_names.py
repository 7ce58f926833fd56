"""The public names, and that importing them loads no more than they need: the bare distribution has few packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rfm_runtime

# What only an extra installs.
EXTRAS = [
    "cryptography",
    "gmpy2",
    "jwt",
    "numba",
    "numpy",
    "PIL",
    "prometheus_client",
    "psutil",
    "sqlalchemy",
    "structlog",
]

NAMES = [
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


def loaded(statement: str, *, without: list[str]) -> set[str]:
    """The top-level modules after a statement in a fresh interpreter, in which some cannot be imported."""
    code = f"import sys\nfor name in {without!r}: sys.modules[name] = None\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()} - set(without)


def test_the_public_names_are_these() -> None:
    assert rfm_runtime.__all__ == NAMES
    assert dir(rfm_runtime) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_under_its_own_name(name: str) -> None:
    value = getattr(rfm_runtime, name)
    assert isinstance(value, str) or value.__name__ == name


def test_another_name_is_missing_as_from_any_module() -> None:
    with pytest.raises(AttributeError, match="'rfm_runtime' has no attribute 'Clint'"):
        _ = rfm_runtime.Clint


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert not loaded("import rfm_runtime", without=[]) & {*EXTRAS, "zmq", "msgspec", "websockets", "asyncio", "rich"}


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_needs_no_extra(name: str) -> None:
    assert "zmq" not in loaded(f"from rfm_runtime import {name}", without=EXTRAS)


def test_the_command_line_needs_no_extra() -> None:
    loaded("import rfm_runtime.cli.app", without=EXTRAS)


def test_a_preset_needs_no_extra() -> None:
    loaded("from rfm_runtime.client.presets import preset_params; preset_params('seahorse')", without=EXTRAS)
