"""What was asked for without a connection: held with its question, sent a few at a time once there is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from rfm_runtime.errors import RfmError
from rfm_ui.bridge import Answer, Bridge, Question
from rfm_ui.model.pending import Command, PendingCommands, dropped_in_words, phrase

__all__ = ["PendingLine"]

AT_ONCE = 8
"""Under way: a server has limits a second, and whoever waits for his turn may wait too long."""


class PendingLine(QObject):
    """Of a session. commands: those that wait. changed: they are others, told once for many. told(str): what became of
    some.
    """

    changed = Signal()
    told = Signal(str)

    def __init__(self, bridge: Bridge, parent: QObject) -> None:
        super().__init__(parent)
        self.commands = PendingCommands()
        self._bridge = bridge
        self._held: dict[int, tuple[Question, Answer | None]] = {}
        self._line: deque[tuple[Command, Question, Answer | None]] = deque()
        self._under_way = 0
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.changed)

    def add(self, command: Command, question: Question, answer: Answer | None) -> None:
        """Let it wait."""
        number, needless = self.commands.add(command)
        for gone in needless:
            self._held.pop(gone, None)
        if number is not None:
            self._held[number] = question, answer
        self._soon.start()

    def take_back(self, number: int) -> None:
        """Leave it out."""
        self.commands.take_back(number)
        self._held.pop(number, None)
        self._soon.start()

    def clear(self) -> None:
        """Leave all out."""
        self._line.clear()
        self._held.clear()
        self.commands.clear()
        self._soon.start()

    def drop(self, why: str) -> None:
        """Leave all out, and say so. why: the begin of a sentence."""
        commands = [command for command, _question, _answer in self._line]
        said = [phrase(one) for one in (*commands, *(one.command for one in self.commands.all))]
        self.clear()
        if said:
            self.told.emit(f"{why}: {dropped_in_words(said)}.")

    def send(self) -> None:
        """The connection is there, and what operations have become."""
        due = self.commands.due(self._bridge.known)
        held, self._held = self._held, {}
        self._line.extend((one.command, *held[one.number]) for one in due.send)
        self._soon.start()
        if due.dropped:
            said = [f"{phrase(one.command)}, since {why}" for one, why in due.dropped]
            self.told.emit(f"Left out: {dropped_in_words(said)}.")
        self._pump()

    def hold(self) -> None:
        """The connection is away: what was not sent yet waits again."""
        left, self._line = self._line, deque()
        for command, question, answer in left:
            self.add(command, question, answer)

    def _pump(self) -> None:
        while self._line and self._under_way < AT_ONCE:
            _command, question, answer = self._line.popleft()
            self._under_way += 1
            self._bridge.ask(question, self._after(answer))

    def _after(self, answer: Answer | None) -> Callable[[Any, RfmError | None], None]:
        def answered(result: Any, error: RfmError | None) -> None:
            self._under_way -= 1
            self._pump()
            if answer is not None:
                answer(result, error)

        return answered
