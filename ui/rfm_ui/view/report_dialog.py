"""A report in a window: its figures as the runtime has them, and a file with all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QFont, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.handle import check_target, write_file
from rfm_runtime.core.pages.formats import FORMATS, Format, written
from rfm_runtime.core.pages.words import Local
from rfm_runtime.core.reports.period import period_report
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.figures import PeriodReport, Report
from rfm_ui.model.report import Section, file_name, heading, sections
from rfm_ui.view import theme
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

__all__ = ["ReportDialog"]

LISTED = 500
"""Operations that come with the figures; of more, the file asks again."""
FILTERS = "Page (*.html);;Table (*.csv);;JSON (*.json)"
SIZE = 700, 600
LONG = 42
"""Letters that want a column of their own width."""


class ReportDialog(QDialog):
    """Of a period (ms since 1970), or of an operation. It is gone when it is closed."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Report")
        self.resize(*SIZE)
        self._session = session
        self._local = Local()
        self.report: Report | None = None
        self.saved: Path | None = None
        self.head, self.told = Label("Asking the runtime …"), Label()
        strong = self.head.font()
        strong.setWeight(QFont.Weight.DemiBold)
        self.head.setFont(strong)
        for label in (self.head, self.told):
            label.setWordWrap(True)
        self.told.setAccessibleName("What became of the file")
        self.body = QScrollArea()
        self.body.setWidgetResizable(True)
        self.body.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.body.setFrameShape(QFrame.Shape.NoFrame)
        self.body.setAccessibleName("Figures of the report")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.save = self._button("Save …", "As a page that opens anywhere, a table, or JSON")
        self.save.setShortcut(QKeySequence("Ctrl+S"))
        self.save.clicked.connect(self.ask_where)
        self.open_page = self._button("Open the page", "In the browser, once it is saved")
        self.open_page.clicked.connect(self._open_page)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.addWidget(self.head)
        layout.addWidget(self.body, 1)
        layout.addWidget(self.told)
        layout.addWidget(self.buttons)

    def _button(self, name: str, about: str) -> QPushButton:
        made = self.buttons.addButton(name, QDialogButtonBox.ButtonRole.ActionRole)
        set_tip(made, about)
        made.setEnabled(False)
        return made

    def of_period(self, since_ms: int, until_ms: int) -> None:
        """Show that of what was submitted in a period."""
        offset_ms = self._local.offset_ms(since_ms)
        self._session.ask(
            lambda client: client.period_report(
                since_ms=since_ms, until_ms=until_ms, offset_ms=offset_ms, operations=LISTED
            ),
            self._heard,
        )
        self.open()

    def of_operation(self, operation_id: str) -> None:
        """Show that of one operation."""
        self._session.ask(lambda client: client.operation_report(operation_id), self._heard)
        self.open()

    # --- the file ---------------------------------------------------------------------------

    def ask_where(self) -> None:
        """Ask for its place, and save it there."""
        if self.report is None:
            return
        chosen, _filter = QFileDialog.getSaveFileName(
            self, "Save the report", file_name(self.report, self._local), FILTERS
        )
        if chosen:
            self.save_to(Path(chosen))

    def save_to(self, path: Path) -> None:
        """Write it, over one that is there, whole or not at all. The suffix says as what."""
        report, form = self.report, next((one for one in FORMATS if path.suffix.lower() == f".{one}"), None)
        if report is None:
            return
        if form is None:
            self.told.setText(f"Not saved: name it .html, .csv or .json, not {printable(path.name)}.")
            return
        self.told.setText(f"Saving {printable(str(path))} …")

        async def made(client: AsyncClient) -> Path:
            # What cannot be written is said before anything is asked for.
            target = await asyncio.to_thread(check_target, path, force=True)
            content = await _content(client, report, form, self._local)
            return await asyncio.to_thread(write_file, target, content, force=True)

        self._session.ask(made, self._told)

    def _told(self, target: Any, error: RfmError | None) -> None:
        if error is not None:
            hint = f": {error.hint}" if error.hint else ""
            self.told.setText(f"Not saved: {error.message}{hint}. The report is still here.")
            return
        self.saved = target
        self.told.setText(f"Saved {printable(str(target))}.")
        self.open_page.setEnabled(target.suffix.lower() == ".html")

    def _open_page(self) -> None:
        if self.saved is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.saved.absolute()))):
            self.told.setText(f"No program here opens pages: {printable(str(self.saved))} opens in any browser.")

    # --- the figures ------------------------------------------------------------------------

    def _heard(self, report: Any, error: RfmError | None) -> None:
        if error is not None:
            hint = f"\nWhat to do: {error.hint}." if error.hint else ""
            self.head.setText(f"There is no report: {error.message}.{hint}")
            return
        self.report = report
        self.head.setText(heading(report, self._local))
        self.save.setEnabled(True)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 8, 0)
        layout.setSpacing(8)
        for section in sections(report, self._local):
            if section.head:
                label = Label(section.head)
                label.setFont(self.head.font())
                label.setContentsMargins(0, 8, 0, 0)
                layout.addWidget(label)
            layout.addLayout(_grid(section))
        layout.addStretch(1)
        self.body.setWidget(inside)


async def _content(client: AsyncClient, report: Report, form: Format, local: Local) -> bytes:
    """All of it: of a period with more operations than were listed, as it is now."""
    if isinstance(report, PeriodReport) and len(report.operations) < report.everything.tally.submitted:
        found = await client.history(since_ms=report.since_ms, until_ms=report.until_ms)
        now_ms = max(one.ended_at_ms or 0 for one in found) if found else 0
        report = await asyncio.to_thread(
            period_report,
            found,
            since_ms=report.since_ms,
            until_ms=report.until_ms,
            now_ms=max(report.now_ms, now_ms),
            offset_ms=local.offset_ms(report.since_ms),
        )
    return await asyncio.to_thread(written, report, form, local)


def _grid(section: Section) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(18)
    grid.setVerticalSpacing(3)
    rows = [section.names, *section.rows] if section.names else list(section.rows)
    # What may be long has all the room, and its lines are broken; without such a one the rest is left free.
    wide = 1 if not section.names else 0 if any(len(row[0]) > LONG for row in section.rows) else len(section.names)
    grid.setColumnStretch(wide, 1)
    for place, row in enumerate(rows):
        for column, text in enumerate(row):
            label = Label(text)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setWordWrap(column == wide)
            if place == 0 if section.names else column == 0:
                label.setStyleSheet(f"color: {theme.current().faint};")
            side = Qt.AlignmentFlag.AlignRight if section.names and column else Qt.AlignmentFlag.AlignLeft
            label.setAlignment(side | Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label, place, column)
    return grid
