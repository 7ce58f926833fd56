"""One connection as Qt objects see it: news once a frame, and questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from rfm_runtime.client.async_client import AsyncClient
from rfm_ui.bridge import Answer, Bridge, News
from rfm_ui.model.link import LinkNews

__all__ = ["FRAME_S", "Session"]

FRAME_S = 1 / 60


class Session(QObject):
    """news(News): at most sixty times a second, in the thread of the session. options: as of `AsyncClient`.

    Whoever makes one closes it, or destroys it.
    """

    news = Signal(object)
    _woken = Signal()

    def __init__(self, parent: QObject | None = None, **options: Any) -> None:
        super().__init__(parent)
        self.link = LinkNews("connecting", time.monotonic())
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setTimerType(Qt.TimerType.PreciseTimer)
        self._frame.timeout.connect(self._deliver)
        self._last_s = 0.0
        self._is_closed = False
        self._woken.connect(self._schedule, Qt.ConnectionType.QueuedConnection)
        self._bridge = Bridge(self._woken.emit, **options)
        # Whoever owns it may be destroyed by Qt without a word, and the bridge's thread must not outlive it.
        self.destroyed.connect(self._bridge.let_go)

    def start(self) -> None:
        """Begin to connect."""
        self._bridge.start()

    def close(self) -> None:
        """End the connection; nothing is delivered any more."""
        self._is_closed = True
        self._frame.stop()
        self._bridge.close()

    def ask(self, question: Callable[[AsyncClient], Coroutine[Any, Any, Any]], answer: Answer | None = None) -> None:
        """Ask the runtime. The answer comes with the news of a frame, before the news itself."""
        self._bridge.ask(question, answer)

    def aside(self, work: Callable[[], Any], answer: Answer | None = None) -> None:
        """Do what takes a while outside of the window's thread; the answer comes with the news of a frame."""
        self._bridge.aside(work, answer)

    def retry_now(self) -> None:
        """Try to connect at once."""
        self._bridge.retry_now()

    def use(self, **options: Any) -> None:
        """Connect anew with other options: another server, another token."""
        self._bridge.use(**options)

    def _schedule(self) -> None:
        if self._is_closed:
            # It was woken before, and hears of it now: whom it would tell may be gone.
            return
        wait_s = max(0.0, self._last_s + FRAME_S - time.monotonic())
        self._frame.start(round(wait_s * 1000))

    def _deliver(self) -> None:
        self._last_s = time.monotonic()
        news: News = self._bridge.take()
        if news.link is not None:
            self.link = news.link
        for answer in news.answers:
            answer()
        self.news.emit(news)
