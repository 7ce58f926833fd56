"""The page of the timeline: what runs and what was, over time; a click shows one of them."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSplitter, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_ui.bridge import News
from rfm_ui.model.gantt import Period
from rfm_ui.view.components.progress_timeline import ProgressTimeline
from rfm_ui.view.details import DetailsPanel
from rfm_ui.view.session import Session

__all__ = ["TimelinePage"]

MOST = 2000
"""Operations of a period that are asked for."""
ASK_MS = 400
"""From the last change of the period until its past is asked for."""
PERIODS = (("5 min", 300_000.0), ("1 h", 3_600_000.0), ("1 day", 86_400_000.0), ("1 week", 604_800_000.0))


class TimelinePage(QWidget):
    """Operations of a session over time."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._known: dict[str, Operation] = {}
        self._asked: tuple[float, float] = (0.0, 0.0)
        self.timeline = ProgressTimeline()
        self.timeline.chosen.connect(self._choose)
        self.timeline.period_changed.connect(self._period_changed)
        self.details = DetailsPanel(session)
        self.told = QLabel()
        head = QHBoxLayout()
        for name, length_ms in PERIODS:
            button = QPushButton(name)
            button.clicked.connect(lambda _checked=False, length_ms=length_ms: self._last(length_ms))
            head.addWidget(button)
        head.addWidget(self.told)
        head.addStretch(1)
        body = QSplitter(Qt.Orientation.Horizontal)
        body.addWidget(self.timeline)
        body.addWidget(self.details)
        body.setStretchFactor(0, 3)
        body.setStretchFactor(1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.addLayout(head)
        layout.addWidget(body, 1)
        self._ask_later = QTimer(self)
        self._ask_later.setSingleShot(True)
        self._ask_later.setInterval(ASK_MS)
        self._ask_later.timeout.connect(self._ask)
        session.news.connect(self._heard)
        self.setFocusProxy(self.timeline)

    def _last(self, length_ms: float) -> None:
        end_ms = self.timeline.period.end_ms
        self.timeline.show_period(Period(end_ms - length_ms, end_ms))

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            self._known.clear()
            self._asked = (0.0, 0.0)
        if news.operations or news.is_new_server:
            # What is known no longer to the live list was all the same.
            self._known.update(news.operations)
            if self.isVisible():
                self.timeline.show_operations(self._known.values())

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """What has happened while nobody looked."""
        super().showEvent(event)
        self.timeline.show_operations(self._known.values())

    def _period_changed(self, period: Period) -> None:
        if period.begin_ms < self._asked[0] or self._asked[1] == 0.0:
            self._ask_later.start()

    def _ask(self) -> None:
        period = self.timeline.period
        since_ms, until_ms = int(max(0.0, period.begin_ms)), int(period.end_ms) + 1

        def told(found: Any, error: RfmError | None) -> None:
            if error is not None:
                self.told.setText(f"The past cannot be had: {error}")
                return
            self._asked = (float(since_ms), float(until_ms))
            self.told.setText("the newest 2,000 of the period" if len(found) == MOST else "")
            for operation in found:
                known = self._known.get(operation.operation_id)
                if known is None or known.at_seq < operation.at_seq:
                    self._known[operation.operation_id] = operation
            self.timeline.show_operations(self._known.values())

        self._session.ask(lambda client: client.history(since_ms=since_ms, until_ms=until_ms, limit=MOST), told)

    def _choose(self, operation_id: str) -> None:
        self.details.show_operation(self._known.get(operation_id))
