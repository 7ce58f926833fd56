"""What somebody has asked for while there is no connection, in the order in which it will be sent.

Pure, and held to tests/data/ui/pending.json, as every face of the runtime is. Of one operation at most one command of
each sort waits: what would be undone by the next word is not sent at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rfm_runtime.core.text import printable
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation

__all__ = ["Action", "Command", "Due", "PendingCommands", "badge", "dropped_in_words", "phrase", "why_not"]

Action = Literal["cancel", "pause", "resume", "priority", "retry"]

UNDOES: Mapping[Action, Action] = {"pause": "resume", "resume": "pause"}

SAID = 5
"""Of what was left out, by name."""

ENDED = {"completed": "has completed", "failed": "has failed", "canceled": "was cancelled"}


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be done to an operation. name: of the operation, for people. value: the priority, of that alone."""

    action: Action
    operation_id: str
    name: str = ""
    value: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command with its number, by which it can be taken back."""

    number: int
    command: Command


@dataclass(slots=True)
class Due:
    """What becomes of commands once the connection is there: to send, in order; and what is left out, with a word."""

    send: list[Waiting] = field(default_factory=list)
    dropped: list[tuple[Waiting, str]] = field(default_factory=list)


def phrase(command: Command) -> str:
    """What it does, for people."""
    name = printable(command.name) or command.operation_id[-8:]
    if command.action == "priority":
        return f"give {name} priority {command.value:+d}" if command.value else f"give {name} priority 0"
    return f"{command.action} {name}"


def badge(commands: list[Command]) -> str:
    """What waits for one operation, in its row; "" if nothing does."""
    words = [f"priority {one.value:+d}" if one.action == "priority" else one.action for one in commands]
    return f"to be sent: {', '.join(words)}" if words else ""


def dropped_in_words(said: list[str]) -> str:
    """The first of many, and how many more."""
    more = len(said) - SAID
    return "; ".join(said[:SAID]) + (f"; and {more:,} more" if more > 0 else "")


def why_not(command: Command, operation: Operation | None) -> str:
    """Why it would do nothing now, "" if it may do something. None: of an operation that is not known the server knows
    better.
    """
    if operation is None:
        return ""
    if command.action == "retry":
        return _why_no_retry(operation)
    if operation.state in TERMINAL_STATES:
        return f"it {ENDED[operation.state]}"
    if command.action == "cancel":
        return "it is being cancelled already" if operation.state == "cancelling" else ""
    if operation.state == "cancelling":
        return "it is being cancelled"
    if command.action == "pause" and operation.state == "paused":
        return "it is paused already"
    if command.action == "resume" and operation.state != "paused":
        return "it is not paused"
    if command.action == "priority" and operation.priority == command.value:
        return "it has that priority already"
    return ""


def _why_no_retry(operation: Operation) -> str:
    if operation.state == "completed":
        return "it has completed"
    return "" if operation.state in TERMINAL_STATES else "it has not ended"


class PendingCommands:
    """Commands that wait."""

    def __init__(self) -> None:
        self._waiting: dict[int, Command] = {}
        self._numbers: dict[str, list[int]] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def all(self) -> list[Waiting]:
        """In the order in which they will be sent."""
        return [Waiting(number, command) for number, command in self._waiting.items()]

    def of(self, operation_id: str) -> list[Command]:
        """Those for one operation."""
        return [self._waiting[number] for number in self._numbers.get(operation_id, ())]

    def add(self, command: Command) -> tuple[int | None, list[int]]:
        """(its number, those that it makes needless). None: it takes back one that waits, or says what one says."""
        same = {number: self._waiting[number] for number in self._numbers.get(command.operation_id, ())}
        if command.action == "cancel":
            if any(one.action == "cancel" for one in same.values()):
                return None, []
            gone = list(same)
        elif any(one.action == "cancel" for one in same.values()):
            # Somebody has cancelled it before: nothing that comes after that does anything.
            return None, []
        else:
            undone = [number for number, one in same.items() if one.action == UNDOES.get(command.action)]
            if undone:
                self._forget(undone)
                return None, undone
            if command in same.values():
                return None, []
            gone = [number for number, one in same.items() if one.action == command.action]
        self._forget(gone)
        number, self._next = self._next, self._next + 1
        self._waiting[number] = command
        self._numbers.setdefault(command.operation_id, []).append(number)
        return number, gone

    def take_back(self, number: int) -> bool:
        """Leave it out; whether it was waiting."""
        if number not in self._waiting:
            return False
        self._forget([number])
        return True

    def clear(self) -> list[Waiting]:
        """Leave all out: they are for another server."""
        waiting = self.all
        self._waiting.clear()
        self._numbers.clear()
        return waiting

    def due(self, known: Mapping[str, Operation]) -> Due:
        """The connection is there, and with it what operations have become meanwhile. Nothing waits any more."""
        found = Due()
        for one in self.clear():
            why = why_not(one.command, known.get(one.command.operation_id))
            if why:
                found.dropped.append((one, why))
            else:
                found.send.append(one)
        return found

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            operation_id = self._waiting.pop(number).operation_id
            self._numbers[operation_id].remove(number)
            if not self._numbers[operation_id]:
                del self._numbers[operation_id]
