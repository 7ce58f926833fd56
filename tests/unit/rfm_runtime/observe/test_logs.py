"""Logs: one JSON line an event that says which process it is from; nothing twice, nothing without end.

Each test configures a fresh interpreter, since logging belongs to the whole process.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PREAMBLE = """
import logging, sys, threading, structlog
from pathlib import Path
from rfm_runtime.observe import logs
folder = Path(sys.argv[1])
"""


def run(folder: Path, code: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines in the log file of `broker`, and those on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    file = folder / "broker.log"
    written = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in written], [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_says_what_when_how_bad_and_which_process(tmp_path: Path) -> None:
    [line], on_stderr = run(
        tmp_path / "logs",
        """
logs.configure("broker", "info", folder)
logs.get("x").bind(operation_id="op", correlation_id="c0ffee").info("operation_started", tiles=3, name="é\\nb")
import os; Path(folder, "pid").write_text(str(os.getpid()))
""",
    )
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "component": "broker",
        "pid": int((tmp_path / "logs" / "pid").read_text()),
        "level": "info",
        "event": "operation_started",
        "operation_id": "op",
        "correlation_id": "c0ffee",
        "tiles": 3,
        "name": "é\nb",
    }
    assert on_stderr == []


def test_bound_context_is_in_every_line_and_the_process_is_so_in_every_thread(tmp_path: Path) -> None:
    lines, _ = run(
        tmp_path,
        """
logs.configure("broker", "info", folder)
structlog.contextvars.bind_contextvars(correlation_id="c0ffee")
logs.get("x").info("here")
thread = threading.Thread(target=logs.get("x").info, args=("there",)); thread.start(); thread.join()
logging.getLogger("websockets").warning("%s of a library", "a line")
""",
    )
    assert [line["event"] for line in lines] == ["here", "there", "a line of a library"]
    assert [line.get("correlation_id") for line in lines] == ["c0ffee", None, "c0ffee"]
    assert {line["component"] for line in lines} == {"broker"}
    assert len({line["pid"] for line in lines}) == 1


def test_an_exception_is_one_line_with_its_traceback(tmp_path: Path) -> None:
    lines, _ = run(
        tmp_path,
        """
logs.configure("broker", "info", folder)
for log in (logs.get("x"), logging.getLogger("x")):
    try: {}["missing"]
    except KeyError: log.exception("failed")
""",
    )
    assert [line["event"] for line in lines] == ["failed", "failed"]
    assert all("KeyError: 'missing'" in line["exception"] and "Traceback" in line["exception"] for line in lines)


def test_what_is_no_json_is_written_as_it_prints(tmp_path: Path) -> None:
    [line], _ = run(
        tmp_path, 'logs.configure("broker", "info", folder); logs.get("x").info("odd", path=Path("/a"), raw=b"\\xff")'
    )
    assert "/a" in line["path"]
    assert "xff" in line["raw"]


def test_nothing_is_written_twice_also_if_logs_are_configured_again(tmp_path: Path) -> None:
    lines, on_stderr = run(
        tmp_path,
        """
log = logs.get("x")
logs.configure("earlier", "info", folder); log.info("first")
logs.configure("broker", "info", folder); log.info("second"); log.error("third")
""",
    )
    assert [(line["component"], line["event"]) for line in lines] == [("broker", "second"), ("broker", "third")]
    earlier = (tmp_path / "earlier.log").read_text().splitlines()
    assert [json.loads(line)["event"] for line in earlier] == ["first"]
    assert [line["event"] for line in on_stderr] == ["third"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_what_is_as_bad_as_the_level_is_written(tmp_path: Path, level: str, expected: list[str]) -> None:
    lines, on_stderr = run(
        tmp_path,
        f"""
logs.configure("broker", "{level}", folder)
for bad in ("debug", "info", "warning", "error"): getattr(logs.get("x"), bad)("event")
""",
    )
    assert [line["level"] for line in lines] == expected
    assert [line["level"] for line in on_stderr] == ["error"]


def test_without_a_folder_everything_goes_to_stderr(tmp_path: Path) -> None:
    lines, on_stderr = run(tmp_path, 'logs.configure("broker", "debug", None); logs.get("x").debug("event")')
    assert lines == []
    assert [(line["component"], line["event"]) for line in on_stderr] == [("broker", "event")]


def test_a_log_is_bounded_and_its_lines_stay_whole(tmp_path: Path) -> None:
    assert run(
        tmp_path,
        """
assert logs.LOG_LIMIT_BYTES == 10 * 1024 * 1024
logs.LOG_LIMIT_BYTES = 20_000
logs.configure("broker", "info", folder)
for number in range(1000): logs.get("x").info("event", number=number)
""",
    )
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["broker.log", "broker.log.1"]
    assert all(file.stat().st_size <= 20_000 for file in files)
    numbers = [json.loads(line)["number"] for file in reversed(files) for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 1000))


def test_a_folder_that_is_made_for_logs_is_private(tmp_path: Path) -> None:
    run(tmp_path / "state" / "logs", 'logs.configure("broker", "info", folder)')
    assert (tmp_path / "state" / "logs").stat().st_mode & 0o077 == 0


def test_on_a_terminal_errors_are_readable_and_move_no_cursor(tmp_path: Path) -> None:
    code = """
logs.configure("broker", "info", folder)
logs.get("x").error("process_died", process="engine-0", tail="\\x1b[2Jgone")
"""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-W", "error", "-c", PREAMBLE + code, str(tmp_path)],
            stderr=theirs,
            env=os.environ | {"NO_COLOR": "1"},
            check=True,
            timeout=60,
        )
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "process_died" in shown
    assert "process='engine-0'" in shown
    assert "\x1b" not in shown
    assert "{" not in shown


@pytest.mark.scenario("F12")
def test_that_no_descriptor_is_left_is_said_once_a_second_and_other_faults_each_time(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib, resource, socket
from rfm_runtime.observe import logs

async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    await asyncio.start_server(lambda reader, writer: writer.close(), sock=listener)
    client = socket.create_connection(listener.getsockname())
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, 4096))
    for _ in range(3):
        asyncio.get_running_loop().call_exception_handler({{"message": "something else"}})
    await asyncio.sleep(0.5)

logs.configure("gateway-0", "info", pathlib.Path({str(tmp_path)!r}))
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=30)
    lines = (tmp_path / "gateway-0.log").read_text(encoding="utf-8").splitlines()
    assert sum("out of system resource" in line for line in lines) == 1
    assert sum("something else" in line for line in lines) == 3
