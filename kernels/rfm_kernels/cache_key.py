"""The name of the folder that compiled kernels are cached in. Imports no numba: any process may ask."""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib.metadata import version
from pathlib import Path

__all__ = ["cache_key"]

CPU_FIELDS = ("model name", "flags", "Features", "CPU part")


def cache_key() -> str:
    """32 hexadecimal digits that differ whenever compiled kernels may.

    Made of all sources of this package (Numba's own stamp sees one file only), the versions of Numba, LLVM,
    NumPy and Python, and the processor with its instruction sets.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    versions = (version("numba"), version("llvmlite"), version("numpy"), sys.version)
    for part in (*versions, platform.machine(), _cpu()):
        digest.update(f"{part}\n".encode())
    return digest.hexdigest()[:32]


def _cpu() -> str:
    """The first processor's description; frequencies and the like, which change, are left out."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:
        return platform.processor()
    first = text.partition("\n\n")[0].splitlines()
    return "\n".join(line for line in first if line.startswith(CPU_FIELDS))
