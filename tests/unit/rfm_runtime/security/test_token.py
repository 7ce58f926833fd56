"""The runtime's token: unguessable, private on disk, compared as a whole."""

from __future__ import annotations

import stat
from pathlib import Path

from rfm_runtime.security import token


def test_tokens_differ_and_carry_256_bits() -> None:
    tokens = {token.mint() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(one) >= 43 for one in tokens)


def test_only_the_very_token_is_right() -> None:
    right = token.mint()
    assert token.verify(right, right)
    assert not token.verify(right[:-1], right)
    assert not token.verify("", right)
    assert not token.verify("ключ", right)
    assert not token.verify(right + "\udcff", right)


def test_a_written_file_is_private_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    token.write_private(path, "new\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token.read(path) == "new"
    assert list(tmp_path.iterdir()) == [path]
