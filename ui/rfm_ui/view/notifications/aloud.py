"""A tone and a voice, by programs of the desktop: never by a shell, never waited for, one at a time."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QStandardPaths, QTemporaryDir, QTimer, Signal
from PySide6.QtWidgets import QApplication

from rfm_runtime.core.notifying.words import Tone
from rfm_ui.model.speaking import Line, players, voice
from rfm_ui.model.tones import wav

__all__ = ["Speaker", "Tones"]

PLAY_MS = 5_000
SAY_MS = 30_000
"""After that it hangs, and is ended."""


class _One(QObject):
    """One program at a time. over(bool): it has ended, and whether it did what it was to do."""

    over = Signal(bool)

    def __init__(self, most_ms: int, parent: QObject) -> None:
        super().__init__(parent)
        self._process = QProcess(self)
        # What it says is nobody's to read, and a pipe that is full would hold it up.
        self._process.setStandardOutputFile(QProcess.nullDevice())
        self._process.setStandardErrorFile(QProcess.nullDevice())
        self._process.setStandardInputFile(QProcess.nullDevice())
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._failed)
        self._most = QTimer(self)
        self._most.setSingleShot(True)
        self._most.setInterval(most_ms)
        self._most.timeout.connect(self._process.kill)

    @property
    def is_busy(self) -> bool:
        """Whether it runs."""
        return self._process.state() != QProcess.ProcessState.NotRunning

    def start(self, program: str, arguments: list[str]) -> None:
        """Run it; `over` follows."""
        self._most.start()
        self._process.start(program, arguments)

    def stop(self) -> None:
        """Now; `over` follows."""
        self._process.kill()

    def end(self) -> None:
        """Now; nothing is told of it any more."""
        self._most.stop()
        self._process.finished.disconnect(self._finished)
        self._process.errorOccurred.disconnect(self._failed)
        if self.is_busy:
            self._process.kill()
            # A process object that goes before its process complains. It was killed: this is over at once.
            self._process.waitForFinished(1000)

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._most.stop()
        self.over.emit(status == QProcess.ExitStatus.NormalExit and code == 0)

    def _failed(self, error: QProcess.ProcessError) -> None:
        # Of every other one `finished` follows.
        if error == QProcess.ProcessError.FailedToStart:
            self._most.stop()
            self.over.emit(False)


class Tones(QObject):
    """A short tone of the project's own, by whichever player is there; a beep where none is."""

    beeped = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._folder: QTemporaryDir | None = None
        self._one = _One(PLAY_MS, self)
        self._one.over.connect(self._over)
        self._left: list[tuple[str, list[str]]] = []
        self._is_wanted = False

    def play(self, tone: Tone) -> None:
        """Have it heard; while one is played another is not, which would say no more."""
        if self._one.is_busy:
            return
        file = self._file(tone)
        self._is_wanted = True
        self._left = [] if file is None else players(QStandardPaths.findExecutable, str(file))
        self._next()

    def stop(self) -> None:
        """Be silent."""
        self._is_wanted = False
        self._one.stop()

    def close(self) -> None:
        """Be silent, and leave nothing behind."""
        self._left = []
        self._one.end()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _file(self, tone: Tone) -> Path | None:
        """Where the tone is, written when it is first wanted; None: nothing can be written there."""
        if self._folder is None:
            self._folder = QTemporaryDir()
        if not self._folder.isValid():
            return None
        file = Path(self._folder.filePath(f"{tone}.wav"))
        if not file.exists():
            try:
                file.write_bytes(wav(tone))
            except OSError:
                file.unlink(missing_ok=True)
                return None
        return file

    def _next(self) -> None:
        if self._left:
            self._one.start(*self._left.pop(0))
        else:
            QApplication.beep()
            self.beeped.emit()

    def _over(self, did_it: bool) -> None:
        # A player that is there may have no server of sound: the next one may do without.
        if not did_it and self._is_wanted:
            self._next()


class Speaker(QObject):
    """Says what it is given, one after the other, by spd-say or espeak-ng. Where neither is, nothing is said.

    said(bool): one was, or could not be.
    """

    said = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._line = Line()
        self._one = _One(SAY_MS, self)
        self._one.over.connect(self._over)

    @property
    def is_there(self) -> bool:
        """Whether anything here can speak."""
        return voice(QStandardPaths.findExecutable, "yes") is not None

    def say(self, text: str) -> None:
        """In its turn."""
        self._line.put(text)
        if not self._one.is_busy:
            self._next()

    def stop(self) -> None:
        """Be silent."""
        self._line.clear()
        self._one.stop()

    def close(self) -> None:
        """Be silent, for good."""
        self._line.clear()
        self._one.end()

    def _over(self, did_it: bool) -> None:
        self.said.emit(did_it)
        self._next()

    def _next(self) -> None:
        # What has nothing in it that can be spoken is passed over.
        while (text := self._line.take()) is not None:
            if (found := voice(QStandardPaths.findExecutable, text)) is not None:
                self._one.start(*found)
                return
