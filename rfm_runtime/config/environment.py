"""Names of the environment that mean something: a misspelt one would be ignored, and nobody would know. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from msgspec import Struct

from rfm_runtime.config.settings import Settings

__all__ = ["PREFIX", "VARIABLES", "Unknown", "unknown_variables"]

PREFIX = "RFM_"

OTHERS = (
    "RFM_URL",
    "RFM_TOKEN",
    "RFM_TOKEN_FILE",
    "RFM_TOKEN_SECRET",
    "RFM_CA_FILE",
    "RFM_CLIENT_CERT",
    "RFM_CLIENT_KEY",
    "RFM_DEBUG",
    # Of processes that a test with another clock starts.
    "RFM_CHAOS_CLOCK",
)
"""Besides the settings: a server elsewhere and how it is known, secrets, and what helps to find faults."""

VARIABLES = frozenset({*OTHERS, *(f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__)})

ALIKE = 0.66
"""Of 1, what two names must have in common to be taken for one another: other programs begin theirs with RFM_ too."""


class Unknown(Struct, frozen=True):
    """A name that begins as ours do and is none. nearest: the one that may be meant, or ""."""

    name: str
    nearest: str

    @property
    def said(self) -> str:
        """In one line, without its value, which may be a secret."""
        told = f"{self.name} is no name that means something here"
        return f"{told}; do you mean {self.nearest}?" if self.nearest else told


def unknown_variables(names: Iterable[str]) -> list[Unknown]:
    """Those of the environment's names that begin as ours do and are none, in order."""
    # Compared without what all have in common.
    known = [name.removeprefix(PREFIX) for name in sorted(VARIABLES)]
    found = []
    for name in sorted(set(names) - VARIABLES):
        if name.upper().startswith(PREFIX) and name.isprintable():
            nearest = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1, cutoff=ALIKE)
            found.append(Unknown(name, f"{PREFIX}{nearest[0]}" if nearest else ""))
    return found
