"""What a killed process leaves in its temporary folder is found by the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rfm_runtime.observe.temporaries import remove_temporaries

PROGRAM = """
import os, sys, tempfile
from pathlib import Path
from rfm_runtime.observe.temporaries import keep_temporaries
keep_temporaries(Path(sys.argv[1]))
print(tempfile.mkdtemp(), flush=True)
os.kill(os.getpid(), 9)
"""


def killed(link: Path) -> Path:
    """The temporary folder of a process that made one and was killed."""
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM, str(link)], capture_output=True, text=True, check=False)
    return Path(done.stdout.strip())


def test_the_next_one_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    link = tmp_path / "engine-0.tmp"
    first = killed(link)
    assert first.is_dir()
    assert first.parent == link.resolve()
    second = killed(link)
    assert not first.parent.exists()
    remove_temporaries(link)
    assert not second.parent.exists()
    assert not link.is_symlink()


def test_nothing_to_remove_is_no_error(tmp_path: Path) -> None:
    remove_temporaries(tmp_path / "engine-0.tmp")
    (tmp_path / "engine-0.tmp").symlink_to(tmp_path / "gone")
    remove_temporaries(tmp_path / "engine-0.tmp")
    assert not (tmp_path / "engine-0.tmp").is_symlink()
