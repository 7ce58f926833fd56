"""A secret is changed: the present one stays valid for a while, in a file of its own beside the new one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from rfm_runtime.config import Settings
from rfm_runtime.errors import ConfigError, SetupError
from rfm_runtime.security.authority import previous_file
from rfm_runtime.security.token import make_private, write_private

__all__ = ["rotate"]


def rotate(settings: Settings, until_s: float | None) -> Path | None:
    """Write a new secret into `token_secret_file`; where the present one is kept, None if there was none, or None is.

    until_s: until when it is accepted (seconds since 1970); None: from now on no more. Running gateways follow within
    two seconds. Raises ConfigError, SetupError with what the system said.
    """
    if not settings.token_secret_file:
        raise ConfigError(
            "no setting says which file has the secret",
            hint="set token_secret_file, or name the file with --file and then set it",
        )
    if settings.token_previous_until:
        raise ConfigError(
            "token_previous_until is set, and would say until when the present secret is accepted",
            hint="remove that setting: the file of the previous secret says it",
        )
    present, previous = Path(settings.token_secret_file), previous_file(settings)
    try:
        before = present.read_text(encoding="utf-8").strip() if present.exists() else ""
        if before and until_s is not None:
            until = datetime.fromtimestamp(until_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            # First this: whoever is killed in between has lost no token.
            write_private(previous, f"{before}\nuntil {until}\n")
        else:
            previous.unlink(missing_ok=True)
        make_private(present.parent)
        write_private(present, secrets.token_hex(32) + "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SetupError(f"cannot change the secret in {present}: {reason}", hint="check who may write there") from None
    return previous if before and until_s is not None else None
