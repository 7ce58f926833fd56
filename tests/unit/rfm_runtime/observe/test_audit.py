"""The audit log on disk: modes, rotation, and a disk that takes none."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime.core.auditing import Entry
from rfm_runtime.observe.audit import AUDIT_FILES, AuditLog

pytestmark = pytest.mark.scenario("J51", "G11")


def entry(number: int) -> Entry:
    return Entry(at_ms=number, event="denied", user="ann", operation_id=f"op-{number:04}")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_are_appended_by_one_process_after_another(tmp_path: Path) -> None:
    for number in range(3):
        log = AuditLog(tmp_path / "audit", "gateway-0")
        log.write([entry(number), entry(number + 10)])
        log.write([])
        log.close()
        log.close()
    assert [line["at_ms"] for line in read(tmp_path / "audit" / "gateway-0.jsonl")] == [0, 10, 1, 11, 2, 12]
    assert read(tmp_path / "audit" / "gateway-0.jsonl")[0] == {
        "process": "gateway-0",
        "at_ms": 0,
        "event": "denied",
        "user": "ann",
        "operation_id": "op-0000",
    }


def test_nobody_else_can_read_it_whatever_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    path = folder / "g.jsonl"
    path.touch(mode=0o666)
    path.chmod(0o666)
    before = os.umask(0)
    try:
        log = AuditLog(folder, "g", limit_bytes=300)
        for number in range(20):
            log.write([entry(number)])
        log.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) > 2
    assert {stat.S_IMODE(found.stat().st_mode) for found in folder.iterdir()} == {0o600}


def test_the_oldest_are_left_out_and_no_line_is_cut(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "g", limit_bytes=1000)
    for number in range(500):
        log.write([entry(number)])
    log.close()
    names = ["g.jsonl", *(f"g.{number}.jsonl" for number in range(1, AUDIT_FILES))]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    kept = [line["at_ms"] for name in reversed(names) for line in read(tmp_path / name)]
    assert kept == list(range(500 - len(kept), 500))


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "g", limit_bytes=10)
    for number in range(3):
        log.write([entry(number)])
    log.close()
    assert [line["at_ms"] for line in read(tmp_path / "g.jsonl")] == [2]
    assert [line["at_ms"] for line in read(tmp_path / "g.1.jsonl")] == [1]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept", encoding="utf-8")
    (tmp_path / "g.jsonl").symlink_to(tmp_path / "elsewhere")
    log = AuditLog(tmp_path, "g")
    log.write([entry(1)])
    assert log.lost == 1
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "kept"


def test_a_disk_that_takes_none_stops_nobody_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A limit of the size of files is what a full disk is: a write of less than was asked for, then an error."""
    code = f"""
    import json, resource, signal, sys
    from pathlib import Path
    from rfm_runtime.core.auditing import Entry
    from rfm_runtime.observe.audit import AuditLog

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = AuditLog(Path({str(tmp_path)!r}), "g")
    entry = Entry(at_ms=1, event="denied", user="ann")
    log.write([entry])
    size = log.path.stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    log.write([entry, entry])
    log.write([entry])
    lost = log.lost
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.write([entry])
    print(json.dumps([lost, log.lost]))
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [3, 0]
    whole = []
    for line in (tmp_path / "g.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            whole.append(json.loads(line)["at_ms"])
        except ValueError:
            continue
    assert whole == [1, 1]
