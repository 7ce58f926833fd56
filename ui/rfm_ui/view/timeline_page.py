"""The page of the timeline: what runs and what was, over time, near and far; a click shows what it was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget, QToolButton, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.protocol.timeline import By, TimelineReply
from rfm_ui.bridge import News
from rfm_ui.model.far import MOST_BARS, again_ms, grid, too_many
from rfm_ui.model.gantt import Period, kept
from rfm_ui.view.actions import action, button
from rfm_ui.view.choice import one_of
from rfm_ui.view.components.activity_chart import ActivityChart
from rfm_ui.view.components.heatmap import Cell, Heatmap
from rfm_ui.view.components.progress_timeline import ProgressTimeline
from rfm_ui.view.components.time_view import TimeView
from rfm_ui.view.details import DetailsPanel
from rfm_ui.view.found import FoundPanel
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

if TYPE_CHECKING:
    from rfm_ui.view.report_dialog import ReportDialog

__all__ = ["TimelinePage"]

ASK_MS = 250
"""From the last change of the period until it is asked for."""
BIN = 4
"""Pixels of a bin, at least."""
LOW = 124
MOST_KNOWN = 20_000
"""Operations that are kept here, those that live and those of the period aside."""
"""The activity above what is shown in full."""
PERIODS = (("5 min", 300_000.0), ("1 h", 3_600_000.0), ("1 day", 86_400_000.0), ("1 week", 604_800_000.0))
ROWS: tuple[tuple[str, By], ...] = (("Kinds", "kind"), ("Owners", "owner"), ("States", "state"))


class TimelinePage(QWidget):
    """Operations of a session over time: bars of each, or a heatmap of all, below how many ran."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._known: dict[str, Operation] = {}
        self._asked: tuple[float, float] = (0.0, 0.0)
        self._room = MOST_KNOWN
        self._is_asking = self._is_outdated = False
        self._server = 0
        self.timeline, self.activity, self.heatmap = ProgressTimeline(), ActivityChart(), Heatmap()
        self.timeline.chosen.connect(self._choose)
        self.activity.chosen.connect(self._choose_bin)
        self.heatmap.chosen.connect(self._choose_cell)
        for view in (self.timeline, self.activity, self.heatmap):
            view.period_changed.connect(lambda period, view=view: self._period_changed(view, period))
        self.found = FoundPanel(session)
        self.found.chosen.connect(self._show)
        self.details = DetailsPanel(session)
        self.told = Label()
        self.told.setWordWrap(True)
        self.shown = QStackedWidget()
        self.shown.addWidget(self.timeline)
        self.shown.addWidget(self.heatmap)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.addLayout(self._head())
        layout.addWidget(self._body(), 1)
        self._ask_later = QTimer(self)
        self._ask_later.setSingleShot(True)
        self._ask_later.setInterval(ASK_MS)
        self._ask_later.timeout.connect(self._ask)
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(self._ask)
        session.news.connect(self._heard)
        self.setFocusProxy(self.timeline)
        self._show_mode()

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        self._modes = one_of(("Bars", "Heatmap"), head, self)
        self._modes.idToggled.connect(self._mode_changed)
        set_tip(self._modes.button(0), "Each operation as a bar")
        set_tip(self._modes.button(1), "How much ran when, by colour")
        self._rows = one_of([name for name, _by in ROWS], head, self)
        self._rows.idToggled.connect(self._mode_changed)
        head.addWidget(self.told, 1)
        about = "How it went in the period that is shown: figures, and a page to keep"
        head.addWidget(button(action(self, "Report …", self.report, ["Ctrl+R"], about=about)))
        for name, length_ms in PERIODS:
            last = QToolButton()
            last.setText(name)
            last.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            set_tip(last, f"The last {name}")
            last.clicked.connect(lambda _checked=False, length_ms=length_ms: self._last(length_ms))
            head.addWidget(last)
        return head

    def _body(self) -> QSplitter:
        left = QWidget()
        over = QVBoxLayout(left)
        over.setContentsMargins(0, 0, 0, 0)
        over.setSpacing(8)
        over.addWidget(self.activity, 1)
        over.addWidget(self.shown, 3)
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(self.found)
        right.addWidget(self.details)
        body = QSplitter(Qt.Orientation.Horizontal)
        body.addWidget(left)
        body.addWidget(right)
        body.setStretchFactor(0, 3)
        body.setStretchFactor(1, 2)
        return body

    @property
    def is_heatmap(self) -> bool:
        """Whether all operations are shown by colour."""
        return self._modes.checkedId() == 1

    def show_heatmap(self, by: By = "kind") -> None:
        """By colour, a row for each kind, owner or state."""
        self._rows.button([one for _name, one in ROWS].index(by)).setChecked(True)
        self._modes.button(1).setChecked(True)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Only what is looked at is asked for."""
        super().showEvent(event)
        # What has happened while nobody looked.
        self.timeline.show_operations(self._known.values())
        self._ask()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self._again.stop()

    def report(self) -> ReportDialog:
        """Show the report of the period."""
        # With it come the pages, which take a while to load.
        from rfm_ui.view.report_dialog import ReportDialog

        period = self.timeline.period
        dialog = ReportDialog(self._session, self)
        dialog.of_period(int(max(0.0, period.begin_ms)), int(min(period.end_ms, time.time() * 1000)) + 1)
        return dialog

    def _last(self, length_ms: float) -> None:
        end_ms = self.timeline.period.end_ms
        self.timeline.show_period(Period(end_ms - length_ms, end_ms))

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._known.clear()
            self.found.forget()
            self._asked = (0.0, 0.0)
            # What the other one was asked nobody waits for any more.
            self._server += 1
            self._is_asking = False
            self._show_reply(None)
            self._ask_later.start()
        if news.operations or news.is_new_server:
            # What is known no longer to the live list was all the same.
            self._known.update(news.operations)
            if len(self._known) > self._room:
                self._forget()
            if self.isVisible():
                self.timeline.show_operations(self._known.values())
                self.found.heard(news.operations)

    def _forget(self) -> None:
        """What has ended long ago is asked for again when it is looked at."""
        self._known = kept(self._known, self.timeline.period.at(time.time() * 1000))
        self._asked = (0.0, 0.0)
        # Of many that live none can be forgotten, and not each of their frames is to look for some.
        self._room = max(MOST_KNOWN, 2 * len(self._known))

    def _period_changed(self, changed: TimeView, period: Period) -> None:
        for view in (self.timeline, self.activity, self.heatmap):
            if view is not changed:
                view.follow(period)
        self._ask_later.start()

    def _mode_changed(self, _number: int, is_on: bool) -> None:
        if is_on:
            self._show_mode()
            self._ask()

    def _show_mode(self) -> None:
        """The activity takes the place of bars that are too many to be told apart."""
        for one in self._rows.buttons():
            one.setVisible(self.is_heatmap)
        far = not self.is_heatmap and too_many(self.activity.reply)
        view = self.heatmap if self.is_heatmap else self.activity if far else self.timeline
        self.setFocusProxy(view)
        if any(one.hasFocus() for one in (self.timeline, self.activity, self.heatmap)):
            # Before the one that has it is hidden, and the window gives it to whatever comes first.
            self.shown.setCurrentIndex(int(self.is_heatmap))
            view.setFocus()
        self.shown.setCurrentIndex(int(self.is_heatmap))
        self.shown.setVisible(not far)
        self.activity.setMaximumHeight(16_777_215 if far else LOW)
        reply = self.activity.reply
        count = "" if reply is None or not far else f"{reply.everything.operations:,} operations"
        self.told.setText(f"{count}: nearer in time, each is a bar" if count else "")

    # --- what is asked for ------------------------------------------------------------------

    def _ask(self) -> None:
        """One question at a time: the newest period follows the answer."""
        if not self.isVisible():
            return
        if self._is_asking:
            self._is_outdated = True
            return
        self._is_asking, self._is_outdated = True, False
        period, by = self.timeline.period, ROWS[self._rows.checkedId()][1]
        since_ms, width_ms, bins = grid(period, self.activity.width() // BIN)
        asked_s, server = time.monotonic(), self._server

        def told(reply: Any, error: RfmError | None) -> None:
            if server != self._server:
                return
            self._is_asking = False
            if self.isVisible() and self.timeline.period.at(time.time() * 1000).end_ms >= time.time() * 1000:
                self._again.start(round(again_ms(width_ms, 1000.0 * (time.monotonic() - asked_s))))
            if error is not None:
                self.told.setText(f"It cannot be counted: {error}")
            else:
                self._show_reply(reply, by)
                if not self.is_heatmap and not too_many(reply):
                    self._ask_each(period)
            if self._is_outdated:
                self._ask()

        self._session.ask(lambda client: client.timeline(since_ms=since_ms, width_ms=width_ms, bins=bins, by=by), told)

    def _show_reply(self, reply: TimelineReply | None, by: By = "kind") -> None:
        self.activity.show_reply(reply)
        self.heatmap.show_reply(reply, by)
        self._show_mode()

    def _ask_each(self, period: Period) -> None:
        """What is newer than what was asked for before is told unasked."""
        if self._asked[0] <= period.begin_ms and self._asked[1] != 0.0:
            return
        since_ms, until_ms = int(max(0.0, period.begin_ms)), int(period.end_ms) + 1

        def told(found: Any, error: RfmError | None) -> None:
            if error is not None:
                self.told.setText(f"The past cannot be had: {error}")
                return
            self._asked = (float(since_ms), float(until_ms))
            for operation in found:
                known = self._known.get(operation.operation_id)
                if known is None or known.at_seq < operation.at_seq:
                    self._known[operation.operation_id] = operation
            self.timeline.show_operations(self._known.values())

        self._session.ask(
            lambda client: client.history(since_ms=since_ms, until_ms=until_ms, during=True, limit=MOST_BARS), told
        )

    # --- what is chosen ---------------------------------------------------------------------

    def _choose(self, operation_id: str) -> None:
        self.found.hide()
        self.details.show_operation(self._known.get(operation_id))

    def _show(self, operation: Operation) -> None:
        self.details.show_operation(operation)

    def _choose_bin(self, when_ms: tuple[int, int]) -> None:
        self.details.show_operation(None)
        self.found.look_for("Then", *when_ms)

    def _choose_cell(self, cell: Cell) -> None:
        self.details.show_operation(None)
        by = ROWS[self._rows.checkedId()][1]
        if cell.name is not None:
            filters: dict[str, Any] = {"owner": cell.name} if by == "owner" else {f"{by}s": [cell.name]}
            self.found.look_for(cell.title, cell.begin_ms, cell.end_ms, **filters)
            return
        named = {row.name for row in self.heatmap.rows}
        self.found.look_for(cell.title, cell.begin_ms, cell.end_ms, lambda one: getattr(one, by) in named)
