"""The cache key: stable, a file name, and there without numba."""

from __future__ import annotations

import re
import subprocess
import sys

from rfm_kernels import cache_key as module
from rfm_kernels.cache_key import cache_key


def test_the_key_is_stable_and_fits_a_file_name() -> None:
    assert cache_key() == cache_key()
    assert re.fullmatch(r"[0-9a-f]{32}", cache_key())


def test_a_changed_source_changes_the_key(tmp_path, monkeypatch) -> None:
    before = cache_key()
    (tmp_path / "lanes.py").write_text("BLOCK = 8\n", encoding="utf-8")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "cache_key.py"))
    other = cache_key()
    (tmp_path / "lanes.py").write_text("BLOCK = 9\n", encoding="utf-8")
    assert len({before, other, cache_key()}) == 3


def test_asking_for_the_key_imports_no_numba() -> None:
    program = "import sys, rfm_kernels.cache_key as k; k.cache_key(); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
