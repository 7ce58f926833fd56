"""The command line in the hands of a user: real processes, real terminals, what is shown and what is left behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import typer
from typer.core import TyperGroup

from rfm_runtime import Client
from rfm_runtime.cli.app import app
from rfm_runtime.core.simulation.plan import plan
from rfm_runtime.protocol.messages import Live
from rfm_runtime.protocol.operation import Operation, ProgressUpdate
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import COMMAND, cli, document, environment, output, two_lines
from tests.whole import ENDLESS, KIND, QUICK, Recorder

pytestmark = pytest.mark.integration

PNG = b"\x89PNG\r\n\x1a\n"
QUICK_OPTIONS = ["--re=-0.7463", "--im=0.1102", "--width=0.005", "--size=320x200", "--max-iter=500"]
ENDLESS_OPTIONS = [
    *("--re=-0.1", "--im=0.1", "--width=0.01", "--size=256x256"),
    *("--max-iter=1000000000", "--no-interior-tests"),
]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*[349][0-7](?:;[0-9]+)*m")


@pytest.fixture
def env(running: Runtime, tmp_path: Path) -> dict[str, str]:
    """Where the module's runtime is."""
    return environment(tmp_path, RFM_STATE_DIR=running.settings.state_dir, RFM_RUNTIME_DIR=running.settings.runtime_dir)


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """Where no runtime is."""
    return environment(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *arguments: str, env: dict[str, str], cwd: Path | None = None, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._seen = b""
        # setsid: Ctrl-C is a signal only in the terminal that controls the process. env: and not one that is ignored,
        # as it is below a shell that runs the tests in the background.
        command = ["setsid", "--ctty", "env", "--default-signal=INT", *COMMAND, *arguments]
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                # What Linux says when the last one has closed the terminal.
                return
            if not data:
                return
            self._seen += data

    @property
    def raw(self) -> str:
        return self._seen.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """Without control sequences."""
        return ESCAPE.sub("", self.raw)

    def lines(self) -> list[str]:
        """Every line that was ever shown, also those that were written over."""
        return [line for line in re.split(r"[\r\n]+", self.text) if line.strip()]

    def until(self, text: str) -> None:
        try:
            eventually(lambda: text in self.text, timeout_s=45, what=f"{text!r} is shown")
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown, but:\n{self.text}") from None

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def end(self, timeout_s: float = 45) -> int:
        code = self.process.wait(timeout=timeout_s)
        self._reader.join(timeout=10)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=10)
        os.close(self._master)


@contextmanager
def terminal(*arguments: str, env: dict[str, str], cwd: Path | None = None, columns: int = 80) -> Iterator[Terminal]:
    shown = Terminal(*arguments, env=env, cwd=cwd, columns=columns)
    try:
        yield shown
    finally:
        shown.close()


@pytest.fixture
def finished(client: Client) -> str:
    """The id of a finished render."""
    operation = client.submit(KIND, QUICK, name="done")
    assert operation.wait(60) == "completed"
    return operation.id


@pytest.fixture
def endless(client: Client) -> Iterator[str]:
    """The id of a render that runs until the test is over."""
    operation = client.submit(KIND, ENDLESS, name="endless")
    eventually(lambda: operation.state == "running", timeout_s=30, what="it runs")
    yield operation.id
    operation.cancel()
    operation.wait(30)


# --- I1 to I5: errors -------------------------------------------------------------------------


@pytest.mark.scenario("I1")
@pytest.mark.parametrize(
    "arguments",
    [
        *(
            "ps",
            "status",
            "stop",
            "watch",
            "watch X",
            "cancel X",
            "pause X",
            "resume X",
            "priority X 1",
            "explain X",
            "show X",
        ),
        *("fetch X -o x.png", "render home --detach", "simulate", "history", "report"),
    ],
)
def test_no_runtime_there(alone: dict[str, str], tmp_path: Path, arguments: str) -> None:
    what, todo = two_lines(cli(*arguments.split(), env=alone, cwd=tmp_path), 3)
    assert what.startswith("no runtime is running")
    assert str(tmp_path / "run") in what
    assert "rfm-runtime start" in todo or arguments == "stop"
    assert not (tmp_path / "x.png").exists()


@pytest.mark.scenario("I2")
@pytest.mark.parametrize("how", [[], ["--daemon"]])
def test_one_already_running(running: Runtime, env: dict[str, str], how: list[str]) -> None:
    what, todo = two_lines(cli("start", *how, env=env), 3)
    assert running.url in what
    assert f"pid {running.info.pid}" in what
    assert "rfm-runtime stop" in todo


@pytest.mark.scenario("I3")
@pytest.mark.parametrize("how", [[], ["--daemon"]])
def test_a_taken_port_names_its_holder(alone: dict[str, str], tmp_path: Path, how: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        what, todo = two_lines(cli("start", "--port", str(port), *how, env=alone), 3)
        doctor = cli("doctor", env={**alone, "RFM_PORT": str(port)})
    assert f"port {port} is taken by {psutil.Process().name()} (pid {os.getpid()})" in what
    assert "--port" in todo
    assert doctor.returncode == 1
    assert f"{port} is taken by {psutil.Process().name()} (pid {os.getpid()})" in doctor.stdout
    assert not (tmp_path / "run" / "connection.json").exists()


@pytest.mark.scenario("I4")
def test_an_existing_file_is_kept_without_force(
    env: dict[str, str], client: Client, finished: str, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"mine")
    before = len(client.operations())
    for arguments in (["render", *QUICK_OPTIONS], ["fetch", finished]):
        what, todo = two_lines(cli(*arguments, "-o", str(picture), env=env), 2)
        assert what == f"{picture} exists and was kept"
        assert "--force" in todo
        assert picture.read_bytes() == b"mine"
    assert len(client.operations()) == before, "it was said only after the work"
    for arguments in (["render", *QUICK_OPTIONS], ["fetch", finished]):
        picture.write_bytes(b"mine")
        assert cli(*arguments, "-o", str(picture), "--force", env=env).returncode == 0
        assert picture.read_bytes().startswith(PNG)


WRONG = {
    "nonsense": "nonsense",
    "ps --nonsense": "--nonsense",
    "ps extra": "extra",
    "ps --limit 0": "--limit",
    "render --max-iter x": "--max-iter",
    "render seahors": "seahors",
    "render": "preset",
    "render home --size 10": "--size",
    "render home --max-iter=-1": "--max-iter",
    "render home --palette gray": "gray",
    "render home -o picture.jpg": "picture.jpg",
    "render home -o nowhere/picture.png": "nowhere",
    "render home -o .": "is a folder",
    "render home --detach -o x.png": "-o",
    "render home --detach --raw x.npz": "--raw",
    "render home --raw x.npy": ".npz",
    "render home --exr x.png": ".exr",
    "render home --save-params x.txt": ".txt",
    "render julia_rabbit --save-params x.kfr": "Julia",
    "render --like nowhere.toml": "nowhere.toml",
    "render --like broken.toml": "broken.toml",
    "render --like unknown.toml": "colour",
    "render --like view.jpg": ".jpg",
    "render --like centre.toml": "centre.toml has no im, no width",
    "render --like .": "Is a directory",
    "render home --like view.toml": "both home and view.toml",
    "presets --toml seahors": "seahors",
    "render --re=nan --im=0 --width=1": "nan",
    "priority X 101": "100",
    "priority X": "NUMBER",
    "cancel": "ID",
    "fetch X": "--output",
    "config nonsense": "nonsense",
    "config show --config nowhere.toml": "nowhere.toml",
    "config show --config broken.toml": "broken.toml",
    "config show --config unknown.toml": "colour",
    "start --port 70000": "70000",
    "start --host 0.0.0.0": "0.0.0.0",
    "start --log-level loud": "loud",
    "start --json": "--daemon",
    "logs": "nothing was logged",
    "stop --timeout x": "--timeout",
    "simulate --operations 0": "--operations",
    "simulate --at-once 0": "--at-once",
    "simulate --seed=-1": "--seed",
    "simulate --duration 0": "--duration",
    "simulate --duration nan": "--duration",
    "simulate --fail 101": "--fail",
    "simulate --cancel nan": "--cancel",
    "simulate --fail 60 --cancel 41": "101 %",
}


@pytest.mark.scenario("I5")
@pytest.mark.parametrize(("arguments", "named"), WRONG.items())
def test_a_wrong_option_value_or_file(alone: dict[str, str], tmp_path: Path, arguments: str, named: str) -> None:
    (tmp_path / "broken.toml").write_text("port = = 1\n", encoding="utf-8")
    (tmp_path / "unknown.toml").write_text("colour = 1\n", encoding="utf-8")
    (tmp_path / "view.toml").write_text('re = "0"\nim = "0"\nwidth = "4"\n', encoding="utf-8")
    (tmp_path / "centre.toml").write_text("re = 1", encoding="utf-8")
    (tmp_path / "view.jpg").write_bytes(b"\xff\xd8")
    what, todo = two_lines(cli(*arguments.split(), env=alone, cwd=tmp_path), 2)
    assert named in what
    assert todo
    assert not (tmp_path / "run").exists(), "it was said only after something was made"


@pytest.mark.scenario("I5")
def test_a_wrong_environment_is_named(alone: dict[str, str]) -> None:
    what, _ = two_lines(cli("ps", env={**alone, "RFM_WORKERS": "many"}), 2)
    assert "RFM_WORKERS" in what
    assert "many" in what


@pytest.mark.scenario("I5")
def test_wrong_ids(env: dict[str, str], finished: str, endless: str) -> None:
    for wanted in ("nope", "b a d"):
        what, todo = two_lines(cli("cancel", wanted, env=env), 4)
        assert wanted in what
        assert "ps" in todo
    two_lines(cli("cancel", "", env=env), 2)
    what, _ = two_lines(cli("fetch", finished, "--artifact", "m.npy", "-o", "m.npy", env=env), 2)
    assert "m.npy" in what
    what, todo = two_lines(cli("fetch", endless, "-o", "x.png", env=env), 6)
    assert "--wait" in todo
    two_lines(cli("pause", finished, env=env), 2)


# --- help -------------------------------------------------------------------------------------


def test_help_is_a_page_and_lists_the_exit_codes(alone: dict[str, str]) -> None:
    page = output("--help", env=alone)
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert re.search(rf"^ +{code}  \w", page, re.MULTILINE), code
    without = cli(env=alone)
    assert (without.returncode, without.stderr, without.stdout) == (2, page, "")
    narrow = output("--help", env={**alone, "COLUMNS": "40"})
    assert narrow != page


def test_help_and_ps_load_neither_kernels_nor_arrays(env: dict[str, str]) -> None:
    for arguments in (["--help"], ["ps", "--json"], ["presets"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *COMMAND[1:], *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert "typer" in loaded
        assert not loaded & {"numba", "numpy", "llvmlite", "PIL", "rfm_kernels", "psutil", "sqlalchemy"}


def test_shell_completion(alone: dict[str, str], env: dict[str, str], endless: str) -> None:
    # The shell is recognised by being the parent.
    script = f"{shlex.join([*COMMAND, '--show-completion'])}; exit $?"
    shown = subprocess.run(["bash", "-c", script], env=alone, capture_output=True, text=True, timeout=60, check=True)
    assert "complete -o default -F _rfm_runtime_completion rfm-runtime" in shown.stdout

    def offered(line: str, where: dict[str, str]) -> list[str]:
        asked = {"_RFM_RUNTIME_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return output(env={**where, **asked}).split()

    assert sorted(offered("rfm-runtime pr", alone)) == ["presets", "priority", "probe"]
    assert offered("rfm-runtime render se", alone) == ["seahorse"]
    assert offered("rfm-runtime cancel 0", alone) == []
    assert endless in offered("rfm-runtime cancel 0", env)


# --- I6: Ctrl-C -------------------------------------------------------------------------------


def active(client: Client) -> list[str]:
    return [o.operation_id for o in client.operations(states=["queued", "running", "cancelling"])]


@pytest.mark.scenario("I6")
def test_ctrl_c_in_render_cancels(client: Client, env: dict[str, str], tmp_path: Path) -> None:
    with terminal("render", *ENDLESS_OPTIONS, "-o", "x.png", env=env, cwd=tmp_path) as shown:
        shown.until("%")
        [operation_id] = eventually(lambda: active(client), timeout_s=30, what="it is submitted")
        shown.press_ctrl_c()
        assert shown.end() == 130
        assert "cancelled (nothing was written)" in shown.text
        assert "Traceback" not in shown.text
    assert client.operation(operation_id).state == "canceled"
    assert names(tmp_path) == []


@pytest.mark.scenario("I6")
def test_ctrl_c_without_a_connection_says_that_nothing_is_cancelled(tmp_path: Path) -> None:
    with runtime(tmp_path) as stopped:
        env = environment(
            tmp_path, RFM_STATE_DIR=stopped.settings.state_dir, RFM_RUNTIME_DIR=stopped.settings.runtime_dir
        )
        with terminal("render", *ENDLESS_OPTIONS, "-o", "x.png", env=env, cwd=tmp_path) as shown:
            shown.until("%")
            stopped.stop(now=True)
            shown.until("connection lost")
            shown.press_ctrl_c()
            shown.until("the cancel waits for it")
            shown.press_ctrl_c()
            assert shown.end() == 6
        assert "not cancelled" in shown.text
        assert "rfm-runtime cancel" in shown.text


@pytest.mark.scenario("I6")
def test_a_private_runtime_that_dies_ends_its_render(alone: dict[str, str], tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="rfm-") as temporary:
        env = {**alone, "TMPDIR": temporary}
        command = [*COMMAND, "render", *ENDLESS_OPTIONS, "-o", "x.png"]
        with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as render:
            assert render.stderr is not None
            while "%" not in render.stderr.readline():
                assert render.poll() is None
            [file] = Path(temporary).glob("rfm-*/run/connection.json")
            os.kill(json.loads(file.read_bytes())["pid"], signal.SIGKILL)
            _, said = render.communicate(timeout=40)
        assert render.returncode == 1
        assert "the private runtime of this render is gone" in said
        assert list(Path(temporary).iterdir()) == []


@pytest.mark.scenario("I5")
def test_a_cancel_that_takes_long_says_why(running: Runtime, client: Client, env: dict[str, str]) -> None:
    operation = client.submit(KIND, ENDLESS)
    eventually(lambda: operation.state == "running", what="it runs")
    frozen = [running.processes()["engine-0"], *running.workers()]
    for process in frozen:
        process.suspend()
    try:
        with subprocess.Popen(
            [*COMMAND, "cancel", operation.id], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as command:
            assert command.stderr is not None
            assert "nothing of it runs any more" in command.stderr.readline()
            assert "has been silent" in command.stderr.readline()
            for process in frozen:
                process.resume()
            assert command.communicate(timeout=30)[0] == f"{operation.id} is canceled\n"
    finally:
        for process in frozen:
            process.resume()


@pytest.mark.scenario("I6")
def test_a_second_ctrl_c_quits(running: Runtime, client: Client, env: dict[str, str], tmp_path: Path) -> None:
    with terminal("render", *ENDLESS_OPTIONS, "-o", "x.png", env=env, cwd=tmp_path) as shown:
        shown.until("%")
        [operation_id] = eventually(lambda: active(client), timeout_s=30, what="it is submitted")
        # Nobody there answers the cancel now.
        frozen = [running.processes()["engine-0"], *running.workers()]
        for process in frozen:
            process.suspend()
        try:
            shown.press_ctrl_c()
            shown.until("Ctrl-C again quits")
            eventually(lambda: client.operation(operation_id).state == "cancelling", what="the cancel has arrived")
            assert shown.process.poll() is None
            shown.press_ctrl_c()
            assert shown.end(timeout_s=8) == 130
            assert client.operation(operation_id).state == "cancelling"
            assert "Traceback" not in shown.text
        finally:
            for process in reversed(frozen):
                process.resume()
    eventually(lambda: client.operation(operation_id).state == "canceled", timeout_s=30, what="it is cancelled")
    assert names(tmp_path) == []


@pytest.mark.scenario("I6")
def test_detach_leaves_it_running(client: Client, env: dict[str, str], tmp_path: Path) -> None:
    operation_id = output("render", *ENDLESS_OPTIONS, "--detach", env=env, cwd=tmp_path).strip()
    operation = client.handle(operation_id)
    eventually(lambda: operation.state == "running", timeout_s=30, what="it runs")
    assert json.loads(output("cancel", operation_id[-8:], "--json", env=env))["state"] == "canceled"
    assert names(tmp_path) == []


def test_watch_ends_with_the_outcome_and_says_which(env: dict[str, str], client: Client, finished: str) -> None:
    done = cli("watch", finished[-10:], env=env)
    assert done.returncode == 0
    assert done.stdout.endswith("done is completed\n")
    assert done.stderr == ""
    operation = client.submit(KIND, ENDLESS, name="endless")
    watching = subprocess.Popen([*COMMAND, "watch", operation.id], env=env, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline()
    operation.cancel()
    rest = watching.communicate(timeout=60)[0]
    assert watching.returncode == 130
    assert "endless canceled" in rest


def test_the_screen_of_watch(env: dict[str, str], client: Client, endless: str) -> None:
    with terminal("watch", env=env) as shown:
        shown.until(endless[-8:])
        shown.until("running")
        client.cancel(endless)
        shown.until("canceled")
        shown.press_ctrl_c()
        assert shown.end() == 130
        assert "Traceback" not in shown.text


# --- I7: pipes and terminals ------------------------------------------------------------------


@pytest.mark.scenario("I7")
@pytest.mark.parametrize("arguments", ["ps --all", "ps --json", "presets", "config show", "logs", "status", "--help"])
def test_nobody_reads_the_pipe(env: dict[str, str], finished: str, arguments: str) -> None:
    assert finished
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments.split()],
            env=env,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.scenario("I7")
@pytest.mark.parametrize("arguments", ["watch", "watch --json", "logs --follow"])
def test_head_ends_what_would_go_on_for_ever(env: dict[str, str], finished: str, arguments: str) -> None:
    assert finished
    pipe = f"set -o pipefail; {shlex.join([*COMMAND, *arguments.split()])} | head -1"
    done = subprocess.run(["bash", "-c", pipe], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.scenario("I7")
def test_without_a_terminal(env: dict[str, str], finished: str, tmp_path: Path) -> None:
    done = cli("render", *QUICK_OPTIONS, "-o", "x.png", env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"x\.png  [0-9.]+ s, .+ iterations/s\n", done.stderr)
    for arguments in (["ps", "--all"], ["status"], ["doctor"], ["presets"]):
        assert "\x1b" not in output(*arguments, env=env)
    assert finished[-8:] in output("ps", "--all", env=env)


@pytest.mark.scenario("I7")
def test_a_terminal_that_can_do_nothing_gets_lines(env: dict[str, str], finished: str) -> None:
    with terminal("watch", env={**env, "TERM": "dumb"}) as shown:
        shown.until(finished[-8:])
        shown.press_ctrl_c()
        shown.end()
    assert "\x1b" not in shown.raw


@pytest.mark.scenario("I7")
def test_a_name_without_letters_here_is_shown_by_codes(env: dict[str, str], client: Client) -> None:
    operation = client.submit(KIND, QUICK, name="é→日本")
    assert operation.wait(30) == "completed"
    ascii_only = {**env, "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "\\xe9\\u2192" in output("ps", "--all", env=ascii_only)


@pytest.mark.scenario("I7")
def test_a_narrow_terminal(env: dict[str, str], client: Client, endless: str) -> None:
    for columns in (80, 40):
        with terminal("ps", env=env, columns=columns) as shown:
            assert shown.end() == 0
            assert any(endless[-8:] in line and "running" in line for line in shown.lines()), shown.text
            assert max(map(len, shown.lines())) <= columns
            assert ("priority" in shown.text) == (columns == 80)
    with terminal("render", *ENDLESS_OPTIONS, "-o", "/tmp/never.png", env=env, columns=40) as shown:
        shown.until("%")
        mine = eventually(lambda: [i for i in active(client) if i != endless], timeout_s=30, what="it is submitted")
        shown.press_ctrl_c()
        assert shown.end() == 130
        # The terminal itself shows the key.
        assert max(len(line.removesuffix("^C")) for line in shown.lines()) <= 40, shown.lines()
    assert client.operation(mine[0]).state == "canceled"


@pytest.mark.scenario("I7")
def test_no_color(env: dict[str, str], finished: str) -> None:
    assert finished
    with terminal("ps", "--all", env=env) as shown:
        assert shown.end() == 0
        assert COLOUR.search(shown.raw)
    with terminal("ps", "--all", env={**env, "NO_COLOR": "1"}) as shown:
        assert shown.end() == 0
        assert "completed" in shown.text
        assert not COLOUR.search(shown.raw)


@pytest.mark.scenario("I7")
def test_foreign_text_moves_no_terminal(env: dict[str, str], client: Client) -> None:
    operation = client.submit(KIND, QUICK, name="[bold]a\x1b[2J\nb")
    assert operation.wait(60) == "completed"
    with terminal("ps", "--all", env=env) as shown:
        assert shown.end() == 0
        assert "[bold]a?[2J?b" in shown.text
        assert "\x1b[2J" not in shown.raw


# --- I8: no room, no permission ---------------------------------------------------------------


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder that nobody writes into, not even root, who heeds no permissions."""
    folder.mkdir()
    if os.getuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.scenario("I8")
def test_a_read_only_home(env: dict[str, str], client: Client, finished: str) -> None:
    # A short path: sockets below a home in pytest's own folder would be too long.
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder, read_only(Path(folder) / "home") as home:
        env = {**env, "HOME": str(home)}
        bare = {key: value for key, value in env.items() if not key.startswith("RFM_")}
        for how in ([], ["--daemon"]):
            what, _ = two_lines(cli("start", "--port=0", *how, env=bare), 2)
            assert str(home) in what
        what, _ = two_lines(cli("--install-completion", "bash", env=bare), 1)
        assert str(home) in what
        doctor = cli("doctor", env=bare)
        assert doctor.returncode == 1
        assert f"make {home} writable" in doctor.stdout
        before = len(client.operations())
        for arguments in (["render", *QUICK_OPTIONS], ["fetch", finished]):
            what, todo = two_lines(cli(*arguments, "-o", str(home / "x.png"), env=env), 2)
            assert str(home) in what
            assert "-o" in todo
        assert len(client.operations()) == before, "it was said only after the work"
        assert output("ps", "--all", env=env)


@pytest.mark.scenario("I8")
def test_a_full_disk_keeps_the_picture_in_the_runtime(env: dict[str, str], tmp_path: Path) -> None:
    done = cli("render", *QUICK_OPTIONS, "-o", "x.png", env=env, cwd=tmp_path, file_limit_blocks=4)
    what, todo = two_lines(done, 2)
    assert "cannot write x.png" in what
    assert todo
    kept = re.search(r"rfm-runtime fetch (\S+) -o", what)
    assert kept is not None
    assert names(tmp_path) == []
    output("fetch", kept[1], "-o", "x.png", env=env, cwd=tmp_path)
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


@pytest.mark.scenario("I8")
def test_start_on_a_full_disk(alone: dict[str, str], tmp_path: Path) -> None:
    what, todo = two_lines(cli("start", env=alone, file_limit_blocks=0), 1)
    assert "cannot start" in what
    assert todo
    assert not (tmp_path / "run" / "connection.json").exists()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        listing = subprocess.run(
            [*COMMAND, "presets"], env=alone, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert listing.returncode == 1
    assert listing.stderr.splitlines()[0] == "error[system]: No space left on device"


# --- fetch, clean, start, stop ----------------------------------------------------------------


def test_fetch_shows_nobody_half_a_file(env: dict[str, str], client: Client, tmp_path: Path) -> None:
    operation = client.submit(KIND, QUICK | {"width_px": 2000, "height_px": 1500, "max_iter": 50})
    assert operation.wait(60) == "completed"
    assert operation.info is not None
    size = next(a.size_bytes for a in operation.info.artifacts if a.name == "n.npy")
    target = tmp_path / "n.npy"
    command = subprocess.Popen(
        [*COMMAND, "fetch", operation.id, "--artifact", "n.npy", "-o", str(target)], env=env, stdout=subprocess.PIPE
    )
    seen = set()
    while command.poll() is None:
        if target.exists():
            seen.add(target.stat().st_size)
        select.select([], [], [], 0.001)
    command.communicate()
    assert command.returncode == 0
    assert seen <= {size}
    assert target.stat().st_size == size
    assert names(tmp_path) == ["n.npy"]


def test_clean_removes_only_what_nobody_needs(alone: dict[str, str], tmp_path: Path) -> None:
    state, run = tmp_path / "state", tmp_path / "run"
    started = document("start", "--daemon", env={**alone, "RFM_DRAIN_TIMEOUT_S": "0"})
    try:
        done = document("render", *QUICK_OPTIONS, "-o", str(tmp_path / "x.png"), env=alone)["operation"]["operation_id"]
        unfinished = output("render", *ENDLESS_OPTIONS, "--detach", env=alone).strip()
        eventually((state / "frames" / f"op-{unfinished}").exists, timeout_s=30, what="its frame is there")
        sockets = sorted(run.glob("*.sock"))
        assert document("clean", env=alone) == {"removed": {}, "dry_run": False}
        assert sorted(run.glob("*.sock")) == sockets
        assert len(sockets) > 0
    finally:
        os.kill(started["pid"], signal.SIGKILL)
    eventually(lambda: cli("status", env=alone).returncode == 3, timeout_s=30, what="it is gone")
    half = state / "frames" / ".op-half.1"
    half.mkdir()
    (half / "n.npy").write_bytes(bytes(1000))
    files = ("connection.json", "token", "settings.json", "engine-0.tmp")
    left = sorted([*sockets, *(run / name for name in files), half])
    assert sorted(document("clean", "--dry-run", env=alone)["removed"]) == sorted(map(str, left))
    assert all(path.exists() for path in left)
    assert document("clean", env=alone)["removed"][str(half)] == 1000
    assert not any(path.exists() for path in left)
    assert (state / "frames" / f"op-{unfinished}" / "n.npy").exists()
    assert (state / "artifacts" / f"op-{done}").exists()
    # Nothing that is needed was lost: it goes on, and its files can still be fetched until they are cleaned.
    document("start", "--daemon", env=alone)
    try:
        assert [o["operation_id"] for o in document("ps", env=alone)["operations"]] == [unfinished]
        document("cancel", unfinished, env=alone)
        assert str(state / "artifacts" / f"op-{done}") in document("clean", "--older-than-days=0", env=alone)["removed"]
        assert (state / "journal.db").exists()
    finally:
        assert document("stop", env=alone) == {"stopped": True, "unfinished": 0}


def test_status_of_the_runtime_that_rfm_url_names(env: dict[str, str], running: Runtime, tmp_path: Path) -> None:
    far = {**env, "RFM_RUNTIME_DIR": str(tmp_path / "none"), "RFM_URL": running.url, "RFM_TOKEN": running.info.token}
    status = document("status", env=far)
    assert (status["ready"], status["url"], status["pid"]) == (True, running.url, None)
    assert f"at {running.url}\n" in output("status", env=far)


def test_start_daemon_status_stop(alone: dict[str, str], tmp_path: Path) -> None:
    started = cli("start", "--daemon", env=alone)
    assert (started.returncode, started.stdout) == (0, "")
    assert re.search(
        r"^ready at ws://127\.0\.0\.1:\d+, pid \d+; stop it with `rfm-runtime stop`$", started.stderr, re.MULTILINE
    )
    status = document("status", env=alone)
    assert status["ready"]
    assert status["state_dir"] == str(tmp_path / "state")
    tree = [psutil.Process(status["pid"]), *psutil.Process(status["pid"]).children(recursive=True)]
    stopped = cli("stop", "--now", env=alone)
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "stopped\n", "")
    assert psutil.wait_procs(tree, timeout=10)[1] == []
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]


def test_ctrl_c_in_start_drains_and_a_second_one_stops_at_once(alone: dict[str, str], tmp_path: Path) -> None:
    with terminal("start", env={**alone, "RFM_DRAIN_TIMEOUT_S": "600"}) as shown:
        shown.until("ready at")
        operation_id = output("render", *ENDLESS_OPTIONS, "--detach", env=alone).strip()
        eventually(
            lambda: document("ps", env=alone)["operations"][0]["state"] == "running", timeout_s=30, what="it runs"
        )
        tree = psutil.Process(shown.process.pid).children(recursive=True)
        shown.press_ctrl_c()
        shown.until("Ctrl-C again")
        assert psutil.wait_procs(tree, timeout=0.5)[0] == [], "it did not wait for the tile"
        shown.press_ctrl_c()
        assert shown.end() == 0
        assert "stopped" in shown.text
        assert "Traceback" not in shown.text
    assert psutil.wait_procs(tree, timeout=10)[1] == []
    assert (tmp_path / "state" / "frames" / f"op-{operation_id}").exists()


@pytest.mark.scenario("J49")
@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["render", "--formula", "mandelbort"], "there is no formula 'mandelbort'", "did you mean mandelbrot?"),
        (["render", "home", "--samples", "9", "-o", "there.png"], "--samples is 9,", "the nearest that can be is 8"),
        (["recolour", "abc", "--shine", "9", "-o", "there.png"], "--shine is 9.0,", "the nearest that can be is 1.0"),
        (["recolour", "abc", "--palette", "virdis", "-o", "there.png"], "there is no palette", "did you mean viridis?"),
    ],
)
def test_what_is_wrong_is_said_before_what_is_missing_or_in_the_way(
    alone: dict[str, str], tmp_path: Path, arguments: list[str], message: str, hint: str
) -> None:
    (tmp_path / "there.png").write_bytes(b"mine")
    said, what_to_do = two_lines(cli(*arguments, env=alone, cwd=tmp_path), 2)
    assert message in said
    assert hint in what_to_do


@pytest.mark.scenario("J48")
def test_a_stop_says_what_it_waits_for_and_that_it_did_not_see_the_end(alone: dict[str, str]) -> None:
    document("start", "--daemon", env={**alone, "RFM_DRAIN_TIMEOUT_S": "600"})
    try:
        operation_id = output("render", *ENDLESS_OPTIONS, "--detach", env=alone).strip()
        eventually(
            lambda: document("show", operation_id, env=alone)["operation"]["state"] == "running",
            timeout_s=30,
            what="it runs",
        )
        waited = cli("stop", "--timeout", "3.5", env=alone)
    finally:
        stopped = cli("stop", "--now", env=alone)
    assert waited.returncode == 6, waited
    doing, what, hint = waited.stderr.splitlines()
    assert doing == "stopping: work in hand is finished"
    assert re.match(
        r"error\[still_stopping\]: the runtime \(pid \d+\) is still stopping after 3\.5 s: work in hand", what
    )
    assert "stop --now" in hint
    assert (stopped.returncode, stopped.stdout) == (0, "stopped; 1 unfinished operation kept\n")
    again = cli("start", "--daemon", env=alone)
    try:
        assert again.stderr.splitlines()[0] == "1 unfinished operation of the last runtime: renders go on"
        document("cancel", operation_id, env=alone)
    finally:
        assert document("stop", "--now", env=alone) == {"stopped": True, "unfinished": 0}


def test_a_private_runtime_leaves_nothing(alone: dict[str, str], tmp_path: Path) -> None:
    # Short: sockets below it have a limit.
    temporary = Path("/tmp") / f"cli-{os.getpid()}"
    temporary.mkdir()
    try:
        env = {**alone, "TMPDIR": str(temporary)}
        done = cli("render", *QUICK_OPTIONS, "-o", "x.png", env=env, cwd=tmp_path)
        assert done.returncode == 0, done
        assert "starting a private one" in done.stderr
        assert (tmp_path / "x.png").read_bytes().startswith(PNG)
        assert names(temporary) == []
        assert names(tmp_path) == ["x.png"]
        with terminal("render", *ENDLESS_OPTIONS, "-o", "y.png", env=env, cwd=tmp_path) as shown:
            shown.until("0.0 %")
            [folder] = [found.parent for found in temporary.glob("rfm-*/run")]
            pid = json.loads((folder / "run" / "connection.json").read_bytes())["pid"]
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            shown.process.kill()
            assert psutil.wait_procs(tree, timeout=30)[1] == []
        eventually(lambda: not any(temporary.iterdir()), timeout_s=30, what="the folder is gone")
    finally:
        temporary.rmdir()


# --- I9: JSON ---------------------------------------------------------------------------------

KEYS = {
    "status": {
        *("url", "pid", "version", "state_dir", "ready", "detail", "operations", "resources", "troubles"),
        *("parts", "broker_address", "certificate"),
    },
    "history": {"operations", "more"},
    "show {running}": {"operation", "performance", "params", "events"},
    "report -o day.html": {"file", "format", "size_bytes", "since_ms", "until_ms", "operations"},
    "report {finished} -o one.html": {"file", "format", "size_bytes", "operation_id", "state"},
    "presets": {"presets"},
    "ps": {"operations"},
    "doctor": {"findings"},
    "clean --dry-run": {"removed", "dry_run"},
    "explain {running}": {"operation_id", "lines"},
    "priority {running} -3": {"operation_id", "priority"},
    "pause {running}": {"operation_id", "asked"},
    "resume {running}": {"operation_id", "asked"},
    "fetch {finished} -o f.png": {"operation_id", "artifact", "file", "size_bytes"},
    "render home --size 32x32 -o h.png": {"operation", "file", "files"},
    "render home --size 32x32 --detach": {"operation_id"},
    "cancel {running}": {"operation_id", "answer", "state"},
}

OPERATION = {
    *("operation_id", "kind", "name", "owner", "state", "at_seq", "created_at_ms", "started_at_ms", "ended_at_ms"),
    *("generation", "latest", "artifacts", "grid", "location", "attempts", "correlation_id"),
}


@pytest.mark.scenario("I9")
def test_json_everywhere(env: dict[str, str], tmp_path: Path, client: Client, finished: str) -> None:
    running = client.submit(KIND, ENDLESS)
    eventually(lambda: running.state == "running", timeout_s=30, what="it runs")
    for command, keys in KEYS.items():
        arguments = command.format(running=running.id, finished=finished).split()
        assert set(document(*arguments, env=env, cwd=tmp_path)) == keys, command
    settings = document("config", "show", env=env)
    assert {"state_dir", "port", "workers"} <= set(settings)
    assert all(set(entry) == {"value", "origin"} for entry in settings.values())
    assert settings["runtime_dir"]["origin"] == "environment RFM_RUNTIME_DIR"
    [operation] = [o for o in document("ps", "--all", env=env)["operations"] if o["operation_id"] == finished]
    assert set(operation) == OPERATION
    assert {"what", "fine", "detail", "todo"} == set(document("doctor", env=env)["findings"][0])
    assert {"name", "title", "request"} == set(document("presets", env=env)["presets"][0])
    for line in output("logs", "--json", "-n", "20", env=env).splitlines():
        assert {"timestamp", "level", "event", "component"} <= set(json.loads(line))
    for line in output("watch", finished, "--json", env=env).splitlines():
        assert set(json.loads(line)) == {"type", "data"}


@pytest.mark.scenario("I9")
def test_every_command_takes_json() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    groups = {name: command for name, command in group.commands.items() if isinstance(command, TyperGroup)}
    assert groups.keys() == {"certs", "config", "db", "keys", "rules", "token"}
    commands = dict(group.commands)
    for name, inner in groups.items():
        commands |= {f"{name} {one}": command for one, command in inner.commands.items()}
    without = {name for name, c in commands.items() if not any("--json" in p.opts for p in c.params)}
    # A window has nothing to print.
    assert without == {*groups, "viewer"}


# --- simulate ---------------------------------------------------------------------------------

COUNTS = {"started", "completed", "failed", "canceled", "lost", "doubled"}
BRIEF = ["simulate", "--operations", "5", "--duration", "0.1", "--cancel", "0", "--fail", "0"]
LONG = ["simulate", "--operations", "30", "--duration", "60", "--cancel", "0", "--fail", "0", "--seed", "3"]


def simulated(client: Client, count: int = 1) -> list[Operation]:
    """What is simulated just now, once it is so many."""

    def found() -> list[Operation]:
        return [o for o in client.operations(states=["running"]) if "simulation" in o.labels]

    eventually(lambda: len(found()) >= count, timeout_s=45, what=f"{count} simulated operations run")
    return found()


@pytest.mark.scenario("A7", "B4", "I9")
def test_a_simulation_is_told_as_it_was(running: Runtime, client: Client, env: dict[str, str]) -> None:
    recorder = Recorder(running)
    eventually(lambda: any(isinstance(notice, Live) for notice in recorder.notices), what="a live watcher")
    said = document("simulate", "--operations", "100", "--duration", "0.7", "--seed", "4", env=env)
    assert set(said) == {
        *("seed", "took_s", "label", "interrupted", "canceled_by_others", "agrees", "total", "kinds", "differences"),
    }
    assert (said["seed"], said["agrees"], said["differences"]) == (4, True, [])
    assert (said["interrupted"], said["canceled_by_others"]) == (False, 0)
    total = {"started": 100, "completed": 95, "failed": 2, "canceled": 3, "lost": 0, "doubled": 0}
    assert said["total"] == total
    assert len(said["kinds"]) == 5
    assert all(counts["started"] == 20 and set(counts) == COUNTS for counts in said["kinds"].values())
    operations = client.operations(labels={"simulation": said["label"]})
    assert len(operations) == 100
    for operation in operations:
        recorder.await_end(operation.operation_id)
        recorder.check_story(operation.operation_id)
        told = recorder.types(operation.operation_id)
        assert told == ["accepted", "started", *(["cancelling"] if operation.state == "canceled" else []), told[-1]]
        assert (operation.error is not None) == (operation.state == "failed")
        assert operation.latest is not None
        assert operation.latest.details
        assert operation.state != "completed" or operation.latest.progress == 100.0
    recorder.close()
    steps = {notice.step for notice in recorder.notices if isinstance(notice, ProgressUpdate)}
    assert any(" / validation" in step for step in steps)


@pytest.mark.scenario("A7")
def test_the_same_seed_does_the_same(client: Client, env: dict[str, str]) -> None:
    told = []
    for _ in range(2):
        arguments = ["--fail", "20", "--cancel", "20", "--operations", "10", "--duration", "0.1", "--seed", "9"]
        said = document("simulate", *arguments, env=env)
        found = client.operations(labels={"simulation": said["label"]})
        told.append(sorted((o.kind, o.name, o.state, o.error.code if o.error else "") for o in found))
    assert told[0] == told[1]


@pytest.mark.scenario("A7")
def test_no_more_are_simulated_at_once_than_wanted(env: dict[str, str]) -> None:
    said = document(*BRIEF, "--at-once", "1", "--seed", "6", env=env)
    planned = plan(random.Random(6), 5, duration_s=0.1, fail_share=0.0, cancel_share=0.0)
    assert said["took_s"] >= sum(one.ends_s for one in planned)


@pytest.mark.scenario("A7", "B3")
def test_somebody_else_may_cancel_what_is_simulated(client: Client, env: dict[str, str]) -> None:
    # It would take minutes.
    arguments = ["simulate", "--operations", "1", "--duration", "1000", "--cancel", "0", "--fail", "0", "--json"]
    command = subprocess.Popen([*COMMAND, *arguments], env=env, stdout=subprocess.PIPE, text=True)
    try:
        [operation] = simulated(client)
        client.cancel(operation.operation_id)
        said = json.loads(command.communicate(timeout=60)[0])
    finally:
        command.kill()
        command.wait()
    assert command.returncode == 0
    assert (said["canceled_by_others"], said["agrees"], said["total"]["canceled"]) == (1, True, 1)
    latest = client.operation(operation.operation_id).latest
    assert latest is not None
    assert latest.message.startswith("stopped at")


@pytest.mark.scenario("A7")
def test_what_a_simulation_finds_is_an_error(tmp_path: Path) -> None:
    # A runtime that forgets what has ended has lost it, in the eyes of who asks.
    with runtime(tmp_path, finished_keep=2) as forgetful:
        env = environment(
            tmp_path, RFM_STATE_DIR=forgetful.settings.state_dir, RFM_RUNTIME_DIR=forgetful.settings.runtime_dir
        )
        done = cli("simulate", "--operations", "10", "--duration", "0.5", "--seed", "1", env=env)
    assert done.returncode == 1, done
    assert re.search(r"^all +10 ", done.stdout, re.MULTILINE)
    assert "is not there" in done.stderr
    *_, what, todo = done.stderr.splitlines()
    assert re.fullmatch(r"critical\[internal\]: \d of 10 operations are not told as they were", what)
    assert "--seed 1" in todo


@pytest.mark.scenario("A7", "I1")
def test_a_simulation_goes_where_its_option_says(running: Runtime, client: Client, alone: dict[str, str]) -> None:
    said = document(*BRIEF, "--runtime-dir", running.settings.runtime_dir, env=alone)
    assert len(client.operations(labels={"simulation": said["label"]})) == 5


@pytest.mark.scenario("A7", "I7")
def test_a_simulation_without_a_terminal(env: dict[str, str]) -> None:
    done = cli(*BRIEF, env=env)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["kind", "started", "completed", "failed", "cancelled", "lost", "doubled"]
    assert len(lines) == 7
    assert lines[-1].split() == ["all", "5", "5", "0", "0", "0", "0"]
    first, last = done.stderr.splitlines()
    found = re.fullmatch(r"5 operations of about 0\.10 s, seed (\d+)", first)
    assert found
    assert re.fullmatch(rf"all ended as planned; [0-9.]+ s, again with --seed {found[1]}", last)


@pytest.mark.scenario("A7", "I7")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_nobody_reads_what_a_simulation_found(env: dict[str, str], option: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        command = [*COMMAND, *BRIEF, *option]
        done = subprocess.run(
            command, env=env, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(write)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.scenario("A7", "I6", "I7")
@pytest.mark.parametrize(("columns", "more"), [(80, {}), (40, {}), (80, {"NO_COLOR": "1"})])
def test_ctrl_c_in_a_simulation_cancels_everything(
    client: Client, env: dict[str, str], columns: int, more: dict[str, str]
) -> None:
    with terminal(*LONG, env={**env, **more}, columns=columns) as shown:
        shown.until("model_training")
        operations = simulated(client, 3)
        shown.press_ctrl_c()
        assert shown.end() == 130
        assert "Ctrl-C again quits at once" in shown.text
        assert re.search(r"cancelled: \d+ operations stopped, \d+ never began", shown.text)
        assert "Traceback" not in shown.text
        # Of the bars; a narrow terminal has none.
        assert ("\x1b[38;" in shown.raw) == (columns == 80 and not more)
        assert not more or not COLOUR.search(shown.raw)
        table = [line for line in shown.lines() if re.match("fractal_render|backup|all ", line)]
        assert max(len(line) for line in table) <= columns, table
    states = {client.operation(operation.operation_id).state for operation in operations}
    assert states == {"canceled"}


@pytest.mark.scenario("A7", "I6")
def test_a_second_ctrl_c_quits_a_simulation(running: Runtime, client: Client, env: dict[str, str]) -> None:
    with terminal(*LONG, env=env) as shown:
        operations = simulated(client, 2)
        # Nobody acknowledges an outcome now.
        broker = running.processes()["broker"]
        broker.suspend()
        try:
            shown.press_ctrl_c()
            shown.until("Ctrl-C again quits")
            assert shown.process.poll() is None
            shown.press_ctrl_c()
            assert shown.end(timeout_s=20) == 130
            assert "Traceback" not in shown.text
        finally:
            broker.resume()
    for operation in operations:
        eventually(
            lambda one=operation.operation_id: client.operation(one).ended_at_ms, timeout_s=30, what="it is over"
        )
