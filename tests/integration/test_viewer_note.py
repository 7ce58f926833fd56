"""Notifications of the viewer, with a real server: toasts, the tray, a tone and a voice, and the rules for them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.core.notifying.rules import DEFAULTS
from rfm_runtime.protocol.notifying import Quiet, Rule, Rules
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_ui.model.speaking import voice
from rfm_ui.model.toasts import ROOM
from rfm_ui.view.notifications.rules_page import RulesDialog, RulesPage
from rfm_ui.view.notifications.settings_page import NotificationsPage
from rfm_ui.view.notifications.toasts import Toast
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E12")]

ESPEAK = shutil.which("espeak-ng")
AUTHENTICATOR = JWTAuthenticator(secret_key="0123456789abcdef0123456789abcdef")
BOB = AUTHENTICATOR.issue("bob", ["viewer"])
ENDS = Rules(rules=(Rule(rule_id="ends", when=("completed", "failed"), whose="anybody"),))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    # Nothing of this machine is to be heard.
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "state", authenticator=AUTHENTICATOR
    ) as running:
        yield running


def ruled(server: ProgressReportingServer, rules: Rules, token: str = "") -> None:
    """As the server's own user, for whom this process reports, or another."""
    with Client(server.url, token or server.token) as client:
        client.set_rules(rules, client.rules().version)


def knowing(qtbot: QtBot, folder: Path, server: ProgressReportingServer, token: str = "") -> ViewerWindow:
    """A window that has heard of its rules."""
    window = opened(qtbot, folder, server.url, token or server.token)
    qtbot.waitUntil(lambda: window.notifications.known is not None, timeout=MOST_MS)
    return window


def program(folder: Path, name: str, text: str) -> Path:
    """A real program of that name where programs are looked for; where it writes what it was given."""
    path = folder / "programs" / name
    told = folder / f"{name}.told"
    # Its own folder of programs is not to be the test's, which is empty.
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\ntold={told}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return told


def toasts(window: ViewerWindow) -> list[str]:
    return [one.title.text() for one in window.notifications.toasts.toasts]


def report(name: str, *, fails: bool = False) -> str:
    with ProgressReporter("copying", name) as reporter:
        reporter.report_progress(40.0)
        if fails:
            reporter.report_failed("the disk is full")
        else:
            reporter.report_completed()
        return reporter.operation_id


@pytest.mark.scenario("J119")
def test_what_fails_is_told_and_a_click_leads_to_it(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    report("before anybody looked", fails=True)
    window = knowing(qtbot, tmp_path, server)
    window.turn_to(window.timeline)
    window.operations.search.setText("nothing is called so")
    assert window.notifications.known is not None
    assert window.notifications.known.rules == DEFAULTS

    report("videos")
    failed = report("photos", fails=True)

    # By the rules that everybody has at first: mine has failed; mine has completed, but took no time.
    qtbot.waitUntil(lambda: toasts(window) == ["photos has failed"], timeout=MOST_MS)
    toast = window.notifications.toasts.toasts[0]
    assert toast.body.text() == "the disk is full · copying"
    assert toast.accessibleName() == "photos has failed. the disk is full · copying"
    area = window.notifications.toasts.geometry()
    assert window.rect().contains(area)
    # It is no window of its own, and took the focus from nobody.
    assert window.isActiveWindow()
    qtbot.mouseClick(toast, Qt.MouseButton.LeftButton, pos=QPoint(30, 12))

    assert window.pages.currentWidget() is window.operations
    assert [one.operation_id for one in window.operations.chosen()] == [failed]
    assert window.operations.search.text() == ""
    assert toasts(window) == []
    assert not window.notifications.toasts.isVisible()


@pytest.mark.scenario("J119")
def test_toasts_with_keys_alone(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    ruled(server, ENDS)
    window = knowing(qtbot, tmp_path, server)
    window.operations.search.setFocus()
    for name in ("photos", "videos", "music"):
        report(name)
        qtbot.waitUntil(lambda name=name: toasts(window)[-1:] == [f"{name} has completed"], timeout=MOST_MS)

    qtbot.keyClick(window, Qt.Key.Key_F8)
    newest = window.focusWidget()
    assert isinstance(newest, Toast)
    assert newest.title.text() == "music has completed"
    qtbot.keyClick(newest, Qt.Key.Key_Escape)
    assert toasts(window) == ["photos has completed", "videos has completed"]
    following = window.focusWidget()
    assert isinstance(following, Toast)
    qtbot.keyClick(following, Qt.Key.Key_Return)
    assert [one.name for one in window.operations.chosen()] == ["videos"]

    qtbot.keyClick(window, Qt.Key.Key_F8, Qt.KeyboardModifier.ShiftModifier)
    assert toasts(window) == []


@pytest.mark.scenario("J119")
def test_a_toast_stays_while_somebody_looks_and_goes_by_itself(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rfm_ui.model.toasts.READ_S", 0.2)
    window = knowing(qtbot, tmp_path, server)
    rule = ENDS.rules[0]
    for _ in range(ROOM + 2):
        window.notifications.show_example(rule)
    shown = window.notifications.toasts
    assert (len(shown.toasts), shown.more.isVisible()) == (ROOM, True)
    assert shown.more.told.text() == "and 2 more notifications"
    shown.toasts[0].looked_at.emit(True)
    with qtbot.waitSignal(window.notifications._clock.timeout, timeout=MOST_MS):
        pass
    assert len(shown.toasts) == ROOM
    shown.toasts[0].looked_at.emit(False)
    qtbot.waitUntil(lambda: not shown.isVisible(), timeout=MOST_MS)
    window.notifications.show_example(rule)
    qtbot.mouseClick(shown.toasts[0].close_button, Qt.MouseButton.LeftButton)
    assert not shown.isVisible()


@pytest.mark.scenario("J116")
def test_a_flood_is_told_in_one_sentence(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    ruled(server, ENDS)
    window = knowing(qtbot, tmp_path, server)
    said: list[str] = []
    window.notifications.told.connect(lambda one: said.append(one.title))

    for number in range(30):
        report(f"photos {number}")

    qtbot.waitUntil(lambda: any("more have completed" in one for one in said), timeout=MOST_MS)
    assert said == [*(f"photos {number} has completed" for number in range(3)), "27 more have completed"]


@pytest.mark.scenario("J116", "E5")
def test_what_happened_while_the_connection_was_away_is_told_in_one_sentence(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    ruled(server, ENDS)
    with Cable(int(server.url.rpartition(":")[2])) as cable:
        window = opened(qtbot, tmp_path, f"ws://127.0.0.1:{cable.port}", server.token)
        qtbot.waitUntil(lambda: window.notifications.known is not None, timeout=MOST_MS)
        said: list[tuple[str, str]] = []
        window.notifications.told.connect(lambda one: said.append((one.title, one.body)))
        reporter = ProgressReporter("copying", "photos")
        reporter.report_progress(40.0)
        qtbot.waitUntil(lambda: [one.state for one in board(window)] == ["running"], timeout=MOST_MS)

        cable.pull()
        qtbot.waitUntil(lambda: window.indicator.word == "reconnecting", timeout=MOST_MS)
        reporter.report_failed("the disk is full")
        for name in ("videos", "music"):
            report(name)
        with Client(server.url, server.token) as client:
            states = ["completed", "completed", "failed"]
            assert eventually(lambda: sorted(one.state for one in client.operations()) == states)
        assert said == []
        cable.plug()
        window.indicator.retry_wanted.emit()

        qtbot.waitUntil(lambda: bool(said), timeout=MOST_MS)
        assert said == [("While there was no connection", "1 failed, 2 completed: photos, videos and music")]
        report("now")
        qtbot.waitUntil(lambda: len(said) == 2, timeout=MOST_MS)
        assert said[1][0] == "now has completed"


@pytest.mark.scenario("J118")
def test_rules_are_there_when_the_server_is_back(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    # The server's own token is another one each time.
    ruled(server, ENDS, BOB)
    window = knowing(qtbot, tmp_path, server, BOB)
    before = window.notifications.known
    server.stop()
    qtbot.waitUntil(lambda: window.indicator.word in ("reconnecting", "server restarts"), timeout=MOST_MS)
    with qtbot.waitSignal(window.notifications.rules_known, timeout=MOST_MS):
        server.start()
        window.indicator.retry_wanted.emit()
    assert window.notifications.known == before
    report("photos")
    qtbot.waitUntil(lambda: toasts(window) == ["photos has completed"], timeout=MOST_MS)


class Cable:
    """To a port of this machine, by another port; it can be pulled, and plugged in again."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = free_ports(1)
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Cable:
        self.plug()
        return self

    def __exit__(self, *_error: object) -> None:
        self.pull()
        for thread in self._threads:
            thread.join(10)

    def plug(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._ends = [listener]
        self._start(self._accept, listener)

    def pull(self) -> None:
        for end in self._ends:
            # Whoever waits at it is told at once.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _start(self, work: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                self._start(self._pump, near, far)
                self._start(self._pump, far, near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def board(window: ViewerWindow) -> list[Operation]:
    return list(window.operations.board.operations.values())


def test_rules_are_of_the_user_and_follow_what_is_saved_elsewhere(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    ruled(server, ENDS, BOB)
    mine, bobs = knowing(qtbot, tmp_path, server), knowing(qtbot, tmp_path, server, BOB)
    report("photos")
    qtbot.waitUntil(lambda: toasts(bobs) == ["photos has completed"], timeout=MOST_MS)
    assert bobs.notifications.toasts.toasts[0].body.text().endswith("of local")
    assert toasts(mine) == []

    ruled(server, ENDS)
    qtbot.waitUntil(lambda: mine.notifications.notifier.rules == ENDS, timeout=MOST_MS)
    report("videos")
    qtbot.waitUntil(lambda: toasts(mine) == ["videos has completed"], timeout=MOST_MS)


def test_in_quiet_hours_only_what_is_urgent_is_told(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    minute = time.localtime().tm_hour * 60 + time.localtime().tm_min
    now = Quiet(from_minute=(minute - 60) % 1440, to_minute=(minute + 60) % 1440)
    done = Rule(rule_id="done", when=("completed",), voice=True, sound=True)
    failed = Rule(rule_id="failed", when=("failed",), urgent=True)
    ruled(server, Rules(rules=(done, failed), quiet=(now,)))
    window = knowing(qtbot, tmp_path, server)

    report("photos")
    report("videos", fails=True)

    qtbot.waitUntil(lambda: toasts(window) == ["videos has failed"], timeout=MOST_MS)
    with Client(server.url, server.token) as client:
        client.set_rules(Rules(rules=(done, failed)), client.rules().version)
    qtbot.waitUntil(lambda: toasts(window) == ["videos has failed", "While it was quiet"], timeout=MOST_MS)
    assert window.notifications.toasts.toasts[1].body.text() == "1 completed: photos"


# --- aloud ----------------------------------------------------------------------------------------


@pytest.mark.scenario("J120")
def test_a_voice_says_one_after_the_other_and_nothing_waits_for_it(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    # It says how many of it run, and speaks until it is let go.
    gate = tmp_path / "gate"
    told = program(
        tmp_path, "espeak-ng", f'for one; do echo "$one"; done >> $told\nuntil [ -e {gate} ]; do sleep 0.02; done'
    )
    ruled(server, Rules(rules=(Rule(rule_id="f", when=("failed",), voice=True),)))
    window = knowing(qtbot, tmp_path, server)
    assert window.notifications.speaker.is_there

    report('photos --help; rm -rf "$HOME" `id`', fails=True)
    qtbot.waitUntil(lambda: told.exists() and len(told.read_text().splitlines()) == 2, timeout=MOST_MS)
    report("videos", fails=True)
    qtbot.waitUntil(lambda: len(toasts(window)) == 2, timeout=MOST_MS)

    # The first still speaks, and the window goes on.
    assert told.read_text().splitlines() == ["--", "photos help rm rf HOME id has failed: the disk is full"]
    gate.touch()
    qtbot.waitUntil(lambda: len(told.read_text().splitlines()) == 4, timeout=MOST_MS)
    assert told.read_text().splitlines()[3] == "videos has failed: the disk is full"


@pytest.mark.scenario("J120")
@pytest.mark.skipif(ESPEAK is None, reason="there is no espeak-ng here")
def test_a_real_voice_takes_what_it_is_given_for_words(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    found = voice(lambda name: str(ESPEAK) if name == "espeak-ng" else "", "--version: photos has failed")
    assert found is not None
    program, arguments = found
    spoken = subprocess.run([program, "--stdout", *arguments], capture_output=True, check=True, timeout=30).stdout
    # A second and more of samples, and no version number.
    assert spoken[:4] == b"RIFF"
    assert len(spoken) > 50_000
    # As it is started here: it ends by itself, whether this machine has a sound card or none.
    (tmp_path / "programs" / "espeak-ng").symlink_to(program)
    window = knowing(qtbot, tmp_path, server)
    with qtbot.waitSignal(window.notifications.speaker.said, timeout=MOST_MS) as told:
        window.notifications.show_example(Rule(rule_id="x", when=("failed",), voice=True))
    assert told.args == [True]


@pytest.mark.scenario("J120")
def test_a_tone_is_played_by_the_first_player_that_can(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    tried = program(tmp_path, "paplay", 'echo "$@" >> $told; exit 1')
    played = program(tmp_path, "aplay", 'cp "$2" $told.wav; echo "$@" >> $told')
    ruled(server, Rules(rules=(Rule(rule_id="f", when=("failed",), sound=True),)))
    window = knowing(qtbot, tmp_path, server)

    report("photos", fails=True)

    qtbot.waitUntil(lambda: played.exists() and played.read_text().endswith("\n"), timeout=MOST_MS)
    file = tried.read_text().strip()
    assert played.read_text() == f"-q {file}\n"
    assert Path(f"{played}.wav").read_bytes()[:4] == b"RIFF"
    window.close()
    assert not Path(file).exists()


@pytest.mark.scenario("J120")
def test_where_nothing_can_play_or_speak_the_rest_goes_on(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = knowing(qtbot, tmp_path, server)
    assert not window.notifications.speaker.is_there
    loud = Rule(rule_id="x", when=("failed",), sound=True, voice=True, tray=True)
    with qtbot.waitSignal(window.notifications.tones.beeped, timeout=MOST_MS):
        window.notifications.show_example(loud)
    assert toasts(window) == ["an example has failed"]


@pytest.mark.scenario("J120")
def test_silence_ends_what_is_said_and_is_kept(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    told = program(tmp_path, "espeak-ng", "echo $$ >> $told; exec sleep 600")
    played = program(tmp_path, "aplay", "echo $$ >> $told")
    window = knowing(qtbot, tmp_path, server)
    loud = Rule(rule_id="x", when=("failed",), sound=True, voice=True)
    window.notifications.show_example(loud)
    qtbot.waitUntil(lambda: told.exists() and played.exists() and bool(told.read_text()), timeout=MOST_MS)
    speaking = int(told.read_text())

    window.notifications.silent.trigger()

    qtbot.waitUntil(lambda: not alive(speaking), timeout=MOST_MS)
    window.notifications.show_example(loud)
    assert len(toasts(window)) == 2
    again = knowing(qtbot, tmp_path, server)
    assert again.notifications.silent.isChecked()
    assert told.read_text().split() == [str(speaking)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.scenario("J120")
def test_what_is_said_ends_with_the_window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    told = program(tmp_path, "spd-say", 'echo "$@" > $told.args; echo $$ > $told; exec sleep 600')
    window = knowing(qtbot, tmp_path, server)
    window.notifications.show_example(Rule(rule_id="x", when=("failed",), voice=True))
    qtbot.waitUntil(lambda: told.exists() and bool(told.read_text()), timeout=MOST_MS)
    expected = "--wait --application-name rfm-runtime -- an example has failed"
    assert Path(f"{told}.args").read_text().strip() == expected

    window.close()

    assert not alive(int(told.read_text()))


# --- rules ----------------------------------------------------------------------------------------


def dialog_of(qtbot: QtBot, window: ViewerWindow) -> RulesDialog:
    window.show_rules()
    dialog = window.findChild(RulesDialog)
    assert isinstance(dialog, RulesDialog)
    qtbot.waitUntil(dialog.isVisible, timeout=MOST_MS)
    return dialog


def write(qtbot: QtBot, page: RulesPage, field: str, text: str) -> None:
    edit = page.editor.fields[field]
    edit.clear()
    qtbot.keyClicks(edit, text)


@pytest.mark.scenario("J121")
def test_a_rule_is_made_tried_and_kept(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    window = knowing(qtbot, tmp_path, server)
    dialog = dialog_of(qtbot, window)
    page = dialog.page
    assert [page.list.item(row).text() for row in range(page.list.count())] == [rule.name for rule in DEFAULTS.rules]
    assert page.editor.meaning.text() == "When what is mine fails: toast, tray and sound"

    qtbot.mouseClick(page.add, Qt.MouseButton.LeftButton)
    write(qtbot, page, "name", "Renders")
    write(qtbot, page, "kinds", "render.*")
    write(qtbot, page, "at_least_s", "1 h")
    page.editor.whens["failed"].click()
    page.editor.ways["voice"].click()
    page.editor.whose.setCurrentIndex(2)
    expected = "When anything of kind render.* completes after 1 h 00 m or more: toast and voice"
    assert page.editor.meaning.text() == expected
    qtbot.mouseClick(page.test, Qt.MouseButton.LeftButton)
    assert toasts(window) == ["an example has completed"]
    assert window.notifications.toasts.toasts[0].body.text() == "took 1 h 00 m · render.example"

    write(qtbot, page, "labels", "site")
    assert page.editor.told.text().startswith("'site' is no label")
    assert not page.test.isEnabled()
    page.save()
    assert page.told.text().startswith("'site' is no label")
    write(qtbot, page, "labels", "site=b")
    page.list.item(1).setCheckState(Qt.CheckState.Unchecked)
    page.choice.button(1).click()
    qtbot.mouseClick(page.quiet.more, Qt.MouseButton.LeftButton)
    page.quiet.rows[0].days[6].click()
    qtbot.mouseClick(dialog.buttons.button(dialog.buttons.StandardButton.Save), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.findChild(RulesDialog) is None, timeout=MOST_MS)

    with Client(server.url, server.token) as client:
        kept = client.rules().rules
    assert [rule.is_on for rule in kept.rules] == [True, False, True, True]
    assert kept.rules[3] == Rule(
        rule_id="rule-1", name="Renders", when=("completed",), kinds=("render.*",), labels={"site": "b"},
        whose="anybody", at_least_s=3600.0, voice=True,
    )  # fmt: skip
    assert kept.quiet == (Quiet(from_minute=1320, to_minute=420, days=(0, 1, 2, 3, 4, 5)),)
    assert window.notifications.notifier.rules == kept


@pytest.mark.scenario("J118", "J121")
def test_what_another_window_has_saved_is_not_overwritten_unseen(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = knowing(qtbot, tmp_path, server)
    page = dialog_of(qtbot, window).page
    write(qtbot, page, "name", "changed here")
    ruled(server, ENDS)
    qtbot.waitUntil(lambda: window.notifications.notifier.rules == ENDS, timeout=MOST_MS)
    # What somebody is writing stays.
    assert page.rules[0].name == "changed here"

    page.save()

    qtbot.waitUntil(page.theirs.isVisible, timeout=MOST_MS)
    assert page.told.text().startswith("the rules were changed meanwhile")
    assert page.rules[0].name == "changed here"
    qtbot.mouseClick(page.theirs, Qt.MouseButton.LeftButton)
    assert tuple(page.rules) == ENDS.rules
    with Client(server.url, server.token) as client:
        assert client.rules().rules == ENDS
    qtbot.mouseClick(page.reset, Qt.MouseButton.LeftButton)
    page.save()
    qtbot.waitUntil(lambda: window.notifications.notifier.rules == DEFAULTS, timeout=MOST_MS)


@pytest.mark.scenario("J121")
def test_rules_are_copied_and_removed_and_nothing_is_kept_without_saving(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = knowing(qtbot, tmp_path, server)
    dialog = dialog_of(qtbot, window)
    page = dialog.page
    qtbot.mouseClick(page.copy, Qt.MouseButton.LeftButton)
    assert [rule.rule_id for rule in page.rules] == [*(rule.rule_id for rule in DEFAULTS.rules), "rule-1"]
    assert page.rules[3].name == page.rules[0].name
    for _ in range(4):
        qtbot.mouseClick(page.remove, Qt.MouseButton.LeftButton)
    assert page.rules == []
    assert not page.remove.isEnabled()
    assert not page.editor.isEnabled()
    dialog.reject()
    with Client(server.url, server.token) as client:
        assert client.rules().version == 0


@pytest.mark.scenario("J119")
def test_what_was_told_lately_can_be_looked_at_again(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    ruled(server, ENDS)
    window = knowing(qtbot, tmp_path, server)
    page = dialog_of(qtbot, window).page
    assert page.told_lately.list.count() == 0
    failed = report("photos", fails=True)
    report("videos")
    qtbot.waitUntil(lambda: page.told_lately.list.count() == 2, timeout=MOST_MS)
    window.notifications.toasts.dismiss_all()
    texts = [page.told_lately.list.item(row).text() for row in range(2)]
    assert "videos has completed" in texts[0]
    assert texts[1][5:] == "  photos has failed\nthe disk is full · copying"

    page.choice.button(2).click()
    page.told_lately.list.setCurrentRow(1)
    qtbot.keyClick(page.told_lately.list, Qt.Key.Key_Return)

    qtbot.waitUntil(lambda: window.findChild(RulesDialog) is None, timeout=MOST_MS)
    assert [one.operation_id for one in window.operations.chosen()] == [failed]


@pytest.mark.scenario("J119")
def test_a_toast_waits_for_a_window_that_nobody_can_see(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rfm_ui.model.toasts.READ_S", 0.1)
    window = knowing(qtbot, tmp_path, server)
    window.showMinimized()
    window.notifications.show_example(ENDS.rules[0])
    with qtbot.waitSignal(window.notifications._clock.timeout, timeout=MOST_MS):
        pass
    assert toasts(window) == ["an example has completed"]
    window.showNormal()
    qtbot.waitUntil(lambda: toasts(window) == [], timeout=MOST_MS)


@pytest.mark.scenario("J121")
def test_settings_say_what_is_told(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    window = knowing(qtbot, tmp_path, server)
    settings = window.open_settings("Notifications")
    page = settings.page("Notifications")
    assert isinstance(page, NotificationsPage)
    assert page.rules.text().splitlines()[0] == "When what is mine fails: toast, tray and sound"
    assert page.quiet.text() == "none"
    ruled(server, Rules(rules=ENDS.rules, quiet=(Quiet(from_minute=0, to_minute=0, days=(5, 6)),)))
    expected = ("When anything completes or fails: toast", "all day on Sat and Sun")
    qtbot.waitUntil(lambda: (page.rules.text(), page.quiet.text()) == expected, timeout=MOST_MS)
    qtbot.mouseClick(page.silent, Qt.MouseButton.LeftButton, pos=QPoint(8, page.silent.height() // 2))
    assert window.notifications.silent.isChecked()
    assert page.silent.isChecked()
    qtbot.mouseClick(page.change, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.findChild(RulesDialog) is not None, timeout=MOST_MS)
    settings.reject()
