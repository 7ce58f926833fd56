"""Quiet hours: a row for each range, with its days."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QTime, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QTimeEdit, QToolButton, QVBoxLayout, QWidget

from rfm_runtime.core.notifying.sentences import DAYS
from rfm_runtime.protocol.notifying import QUIET_LIMIT, Quiet
from rfm_ui.view.words import Label, set_tip

__all__ = ["QuietEditor"]

AT_FIRST = Quiet(from_minute=22 * 60, to_minute=7 * 60)
DAY_MINUTES = 1440
HEIGHT = 28


class QuietEditor(QWidget):
    """changed: hours say something else now."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[_Row] = []
        self.none = Label("None: what rules say is told at any time.")
        self.more = QPushButton("Add quiet hours")
        self.more.setAutoDefault(False)
        self.more.clicked.connect(self._add)
        self._below = QVBoxLayout()
        self._below.setSpacing(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.none)
        layout.addLayout(self._below)
        foot = QHBoxLayout()
        foot.addWidget(self.more)
        foot.addStretch(1)
        layout.addLayout(foot)

    @property
    def quiet(self) -> tuple[Quiet, ...]:
        """As the rows say."""
        return tuple(row.quiet for row in self.rows)

    def show_quiet(self, hours: tuple[Quiet, ...]) -> None:
        """Show these."""
        for row in self.rows:
            row.deleteLater()
        self.rows = []
        for quiet in hours:
            self._put(quiet)
        self._tidy()

    def _add(self) -> None:
        self._put(AT_FIRST)
        self._tidy()
        self.rows[-1].begin.setFocus()
        self.changed.emit()

    def _put(self, quiet: Quiet) -> None:
        row = _Row(quiet, self)
        row.changed.connect(self.changed)
        row.away.clicked.connect(partial(self._remove, row))
        self.rows.append(row)
        self._below.addWidget(row)

    def _remove(self, row: _Row, _checked: bool = False) -> None:
        self.rows.remove(row)
        row.hide()
        row.deleteLater()
        self._tidy()
        self.more.setFocus()
        self.changed.emit()

    def _tidy(self) -> None:
        self.none.setVisible(not self.rows)
        self.more.setEnabled(len(self.rows) < QUIET_LIMIT)


class _Row(QWidget):
    changed = Signal()

    def __init__(self, quiet: Quiet, parent: QWidget) -> None:
        super().__init__(parent)
        self.begin, self.end = _time(quiet.from_minute, "Begin"), _time(quiet.to_minute, "End")
        self.begin.timeChanged.connect(self.changed)
        self.end.timeChanged.connect(self.changed)
        self.days = [QToolButton() for _day in DAYS]
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.begin)
        layout.addWidget(Label("to"))
        layout.addWidget(self.end)
        layout.addSpacing(8)
        for number, (button, day) in enumerate(zip(self.days, DAYS, strict=True)):
            button.setText(day)
            button.setCheckable(True)
            button.setChecked(not quiet.days or number in quiet.days)
            button.setAccessibleName(f"Begins on {day}")
            button.toggled.connect(self.changed)
            layout.addWidget(button)
        layout.addStretch(1)
        self.away = QToolButton()
        self.away.setText("×")
        self.away.setAccessibleName("Remove these quiet hours")
        set_tip(self.away, "Remove these quiet hours")
        layout.addWidget(self.away)

    @property
    def quiet(self) -> Quiet:
        days = tuple(number for number, button in enumerate(self.days) if button.isChecked())
        # On no day is on none of them: that is no range at all, and is said as every day.
        every = len(days) in (0, len(DAYS))
        return Quiet(from_minute=_minute(self.begin), to_minute=_minute(self.end), days=() if every else days)


def _time(minute: int, name: str) -> QTimeEdit:
    edit = QTimeEdit(QTime(minute // 60, minute % 60))
    edit.setDisplayFormat("HH:mm")
    edit.setAccessibleName(name)
    edit.setWrapping(True)
    edit.setMinimumHeight(HEIGHT)
    return edit


def _minute(edit: QTimeEdit) -> int:
    return (edit.time().hour() * 60 + edit.time().minute()) % DAY_MINUTES
