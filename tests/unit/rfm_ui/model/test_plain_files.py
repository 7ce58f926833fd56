"""Files that somebody names: nothing waits, nothing is endless, and what is wrong is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rfm_ui.model.plain_files import content, opened

pytestmark = [pytest.mark.scenario("J110"), pytest.mark.timeout(20)]


def descriptors() -> int:
    return sum(1 for _one in Path("/proc/self/fd").iterdir())


def test_a_file_is_read_to_its_limit_and_not_beyond(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    assert content(path, 8) == b"12345678"
    with pytest.raises(OSError, match="more than 7 bytes"):
        content(path, 7)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no plain file"):
        opened(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["/dev/zero", "/", "a\0b"])
def test_what_is_no_plain_file_is_refused(name: str) -> None:
    before = descriptors()
    with pytest.raises(OSError, match=r"more than|no plain file|can be called"):
        content(Path(name), 100)
    assert descriptors() == before
