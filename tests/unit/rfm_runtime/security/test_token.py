"""The runtime's token: unguessable, private on disk, compared as a whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rfm_runtime.config import load
from rfm_runtime.security import token
from rfm_runtime.security.rotation import rotate
from rfm_runtime.security.token import make_private


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


def test_a_private_folder_and_those_made_above_it_are_nobody_elses(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        make_private(tmp_path / "state" / "rfm-runtime" / "keys")
        make_private(tmp_path / "state" / "rfm-runtime" / "keys")
    finally:
        os.umask(before)
    made = [tmp_path / "state", tmp_path / "state" / "rfm-runtime", tmp_path / "state" / "rfm-runtime" / "keys"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700] * 3


def test_the_first_secret_of_an_account_needs_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "config" / "rfm-runtime" / "secret"
    assert rotate(load({"token_secret_file": str(file)}, environ={"HOME": str(tmp_path)}).settings, None) is None
    assert len(file.read_text().strip()) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
