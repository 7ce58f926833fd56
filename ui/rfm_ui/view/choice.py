"""A row of buttons of which one is down."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtWidgets import QBoxLayout, QButtonGroup, QToolButton, QWidget

__all__ = ["one_of"]


def one_of(names: Iterable[str], row: QBoxLayout, parent: QWidget) -> QButtonGroup:
    """Put a button for each name into the row, the first one down; ids count from 0."""
    group = QButtonGroup(parent)
    for number, name in enumerate(names):
        button = QToolButton()
        button.setText(name)
        button.setCheckable(True)
        button.setChecked(number == 0)
        group.addButton(button, number)
        row.addWidget(button)
    return group
