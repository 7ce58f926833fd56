"""Everything about one operation: how far it is, why it is so, what is known, how it went, what happened to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QFont, QShowEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QScrollArea, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.core.reports.telling import facts, happening
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.history import PerformanceReply
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_ui.bridge import News
from rfm_ui.model.actions import Wish, plan
from rfm_ui.model.telling import Curve, fault_of, hands, parts, progress_curve, rate_curve, tiles_of, workers
from rfm_ui.view import theme
from rfm_ui.view.actions import COVERED
from rfm_ui.view.carrying import Carrier
from rfm_ui.view.components.progress_bar import ProgressBar
from rfm_ui.view.curves import CurveView, TilesView
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

__all__ = ["DetailsPanel"]

CANCEL = Wish("cancel")
AGAIN_MS = 2000
"""Between two looks at what changes without an event, such as CPU time."""


class DetailsPanel(QScrollArea):
    """Shows the operation that it is told of, and asks the runtime for the rest. parts_of: its parts, by its id."""

    def __init__(
        self,
        session: Session,
        parts_of: Callable[[str], Iterable[Operation]] = lambda _operation_id: (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName("The chosen operation")
        # Cancelling is an action of the page.
        self.setProperty(COVERED, True)
        self._session = session
        self._parts_of = parts_of
        self._operation: Operation | None = None
        self._went: PerformanceReply | None = None
        self.name = _text()
        self.name.setAccessibleName("Name")
        theme.heading(self.name, "part")
        # What has no blanks is cut off.
        self.name.setMinimumWidth(1)
        self.bar = ProgressBar(is_brief=True)
        self.bar.cancel_wanted.connect(self._cancel)
        self.carrier = Carrier(self, session, self._newest, parts_of)
        self.carrier.left.connect(self._offer_cancel)
        self.carrier.told.connect(self._say)
        self.said = _text()
        self.said.setAccessibleName("What became of the last request")
        self.fault, self.kept = _text(), _text()
        self.fault.setAccessibleName("What went wrong")
        self.kept.setAccessibleName("What was kept")
        self.why = _text()
        self.why.setAccessibleName("Why it is in this state")
        self.hint = _text()
        self.hint.setAccessibleName("What to do")
        self.progress, self.rate = CurveView("Progress over time"), CurveView("Rate over time")
        self.tiles = TilesView()
        self.facts, self.parameters, self.events = _Table(), _Table(), _Table()
        self.workers, self.parts = _Table(), _Table()
        self._crew: list[tuple[str, str]] = []
        self._hands: list[tuple[str, str]] = []
        self._heads: dict[QWidget, Label] = {}
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(16, 12, 16, 16)
        layout.setSpacing(10)
        for head, widget in (
            ("", self.name),
            ("", self.bar),
            ("", self.said),
            ("", self.fault),
            ("", self.hint),
            ("", self.kept),
            ("", self.why),
            ("Progress over time", self.progress),
            ("Rate over time", self.rate),
            ("Tiles", self.tiles),
            ("Workers", self.workers),
            ("Parts", self.parts),
            ("What is known", self.facts),
            ("What happened", self.events),
            ("Parameters", self.parameters),
        ):
            if head:
                label = Label(head)
                strong = label.font()
                strong.setWeight(QFont.Weight.DemiBold)
                label.setFont(strong)
                label.setContentsMargins(0, 6, 0, 0)
                layout.addWidget(label)
                self._heads[widget] = label
            layout.addWidget(widget)
        layout.addStretch(1)
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(300)
        self.hide()
        self._again = QTimer(self)
        self._again.setInterval(AGAIN_MS)
        self._again.timeout.connect(self._ask)
        session.news.connect(self._heard)

    def show_operation(self, operation: Operation | None) -> None:
        """Show this one; None: nothing."""
        before, self._operation = self._operation, operation
        was_visible = self.isVisible()
        self.setVisible(operation is not None)
        if operation is None:
            self._again.stop()
            return
        if before is None or before.operation_id != operation.operation_id:
            self._went = None
            self._crew, self._hands = [], []
            for table in (self.facts, self.events, self.parameters, self.workers):
                self._show_rows(table, [])
            self.why.setText("")
            self._say("")
            for curve in (self.progress, self.rate):
                curve.show_curve(Curve([], 0.0, "", ""))
            if was_visible:
                # Otherwise it is asked as it becomes visible.
                self._ask()
        if operation.state in TERMINAL_STATES:
            self._again.stop()
        elif not self._again.isActive():
            # Begun anew with each measure it would never come to its end.
            self._again.start()
        self.name.setText(printable(operation.name or operation.kind))
        set_tip(self.name, self.name.text())
        self.bar.show_operation(operation)
        self._offer_cancel()
        for label, said in zip((self.fault, self.hint, self.kept), fault_of(operation), strict=True):
            label.setText(said)
            label.setVisible(bool(said))
        theme.toned(self.fault, "bad")
        self._show_rows(self.parts, parts(self._parts_of(operation.operation_id), time.time() * 1000))
        tiles = tiles_of(operation)
        for widget in (self.tiles, self._heads[self.tiles]):
            widget.setVisible(tiles is not None)
        if tiles is not None:
            self.tiles.show_tiles(tiles)
            self._heads[self.tiles].setText(f"Tiles: {tiles.said}")
        # How it ended stands in the bar.
        self.why.setVisible(operation.state not in TERMINAL_STATES and bool(self.why.text()))

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Only what is looked at is asked for."""
        super().showEvent(event)
        self._ask()

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            # It is another server's, and this one knows nothing of it.
            self.show_operation(None)
        if self._operation is None:
            return
        if newest := news.operations.get(self._operation.operation_id):
            self.show_operation(newest)
        is_back = news.link is not None and news.link.state == "live"
        if is_back or any(event.operation_id == self._operation.operation_id for event in news.events):
            self._ask()

    def _ask(self) -> None:
        if self._operation is None or not self.isVisible() or not self._session.is_there:
            # Once somebody looks, and can be answered.
            return
        operation_id = self._operation.operation_id

        def told(went: Any, error: RfmError | None) -> None:
            if error is None and self._operation is not None and self._operation.operation_id == operation_id:
                self._tell(went)

        def explained(sentences: Any, error: RfmError | None) -> None:
            if error is None and self._operation is not None and self._operation.operation_id == operation_id:
                self.why.setText("\n".join(printable(sentence) for sentence in sentences))
                self.why.setVisible(self._operation.state not in TERMINAL_STATES)

        def manned(crews: Any, error: RfmError | None) -> None:
            if error is None and self._operation is not None and self._operation.operation_id == operation_id:
                self._hands = hands(crews, operation_id)
                self._show_workers()

        if self._operation.grid is not None and self._operation.state not in TERMINAL_STATES:
            self._session.ask(lambda client: client.workers(), manned)
        else:
            self._hands = []
        self._session.ask(lambda client: client.performance(operation_id), told)
        self._session.ask(lambda client: client.explain(operation_id), explained)

    def _tell(self, went: PerformanceReply) -> None:
        self._went = went
        now_ms = time.time() * 1000
        # Name, error and hint stand above.
        known = [one for one in facts(went, now_ms) if one[0] not in ("name", "error", "hint")]
        self._show_rows(self.facts, known)
        happened = [(f"{when[11:]}  {what}", remark) for when, what, remark in map(happening, went.events)]
        self._show_rows(self.events, happened)
        params = [(name, json.dumps(value, ensure_ascii=False).strip('"')) for name, value in went.params.items()]
        self._show_rows(self.parameters, params)
        report = operation_report(went, now_ms=round(now_ms))
        self.progress.show_curve(progress_curve(report))
        self.rate.show_curve(rate_curve(report))
        self._crew = workers(report, ended=went.operation.state in TERMINAL_STATES)
        self._show_workers()

    def _show_workers(self) -> None:
        self._show_rows(self.workers, self._crew + self._hands)

    def _show_rows(self, table: _Table, rows: list[tuple[str, str]]) -> None:
        """A head over nothing is left out."""
        table.show_rows(rows)
        self._heads[table].setVisible(bool(rows))

    def _newest(self, operation_id: str) -> Operation | None:
        shown = self._operation
        return shown if shown is not None and shown.operation_id == operation_id else None

    def _cancel(self, _operation_id: str) -> None:
        if self._operation is not None:
            self.carrier.do(CANCEL, [self._operation])

    def _say(self, said: str) -> None:
        self.said.setText(said)
        self.said.setVisible(bool(said))

    def _offer_cancel(self) -> None:
        """Say why it cannot be had."""
        if self._operation is not None:
            reason = plan(CANCEL, [self._operation], self.carrier.asker).why_nothing
            self.bar.cancel.setEnabled(not reason)
            set_tip(self.bar.cancel, reason or "Have it stop")


class _Table(QWidget):
    """Names and values; labels are made anew only where there are more. shown: what is to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, str]] = []
        self._rows: list[tuple[Label, Label]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(1, 1)

    def show_rows(self, rows: list[tuple[str, str]]) -> None:
        self.shown = rows
        while len(self._rows) < len(rows):
            name, value = _text(), _text()
            name.setWordWrap(False)
            # An id has no blanks to break it at, and must not make the panel wider than it is.
            value.setMinimumWidth(1)
            name.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(name, len(self._rows), 0)
            self._grid.addWidget(value, len(self._rows), 1)
            self._rows.append((name, value))
        for place, (name, value) in enumerate(self._rows):
            is_shown = place < len(rows)
            name.setVisible(is_shown)
            value.setVisible(is_shown)
            if is_shown:
                name.setText(rows[place][0])
                theme.toned(name, "faint")
                value.setText(printable(rows[place][1]))
        self.setVisible(bool(rows))


def _text() -> Label:
    label = Label()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
