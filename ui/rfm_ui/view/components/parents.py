"""Where a component is put: by widget, or by object name as the reference document has it."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QWidget

from rfm_runtime.errors import BadRequestError

__all__ = ["parent_of"]


def parent_of(parent_id: QWidget | str | None) -> QWidget | None:
    """The widget that is meant. Raises BadRequestError if no widget has that object name."""
    if parent_id is None or isinstance(parent_id, QWidget):
        return parent_id
    for widget in QApplication.allWidgets():
        if widget.objectName() == parent_id:
            return widget
    raise BadRequestError(
        f"no widget has the object name {parent_id!r}", hint="give a widget, or call setObjectName on one first"
    )
