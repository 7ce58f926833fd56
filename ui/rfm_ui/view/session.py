"""One connection as Qt objects see it: news once a frame, and questions."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from shiboken6 import isValid

from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.messages import Welcome
from rfm_ui.bridge import Answer, Bridge, News, Question
from rfm_ui.model.link import LinkNews
from rfm_ui.model.pending import Command, PendingCommands
from rfm_ui.view.pending_line import PendingLine

__all__ = ["FRAME_S", "Question", "Session", "is_wanted"]

FRAME_S = 1 / 60


class Session(QObject):
    """news(News): at most sixty times a second, in the thread of the session. options: as of `AsyncClient`.

    url, ca_file, has_token: how it was begun; "" for the runtime of this machine. pending: commands that wait for the
    connection; pending_changed: they are others. told(str): what became of some.

    Whoever makes one closes it, or destroys it.
    """

    news = Signal(object)
    pending_changed = Signal()
    told = Signal(str)
    _woken = Signal()
    _answered = Signal(object)

    def __init__(self, parent: QObject | None = None, **options: Any) -> None:
        super().__init__(parent)
        self.link = LinkNews("connecting", time.monotonic())
        self.url: str = options.get("url") or ""
        self.ca_file = str(options.get("ca_file") or "")
        self.has_token = bool(options.get("token"))
        self.server: Welcome | None = None
        self._user = ""
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setTimerType(Qt.TimerType.PreciseTimer)
        self._frame.timeout.connect(self._deliver)
        self._last_s = 0.0
        self._is_closed = False
        self._woken.connect(self._schedule, Qt.ConnectionType.QueuedConnection)
        self._answered.connect(_call)
        self._bridge = Bridge(self._woken.emit, **options)
        self._waiting = PendingLine(self._bridge, self)
        self._waiting.changed.connect(self.pending_changed)
        self._waiting.told.connect(self.told)
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

    @property
    def is_there(self) -> bool:
        """Whether what is asked for is asked now."""
        return self.link.state in ("live", "stale")

    @property
    def asker(self) -> tuple[str, str]:
        """Where something is asked, and as whom: the address of the server, and the user, "" before that is known."""
        return self.url, self._user

    def ask(self, question: Question, answer: Answer | None = None, command: Command | None = None) -> None:
        """Ask the runtime. The answer comes with the news of a frame, before the news itself; none comes to a method of
        what has been destroyed meanwhile, such as a dialog.

        command: what it does to an operation; while there is no connection it waits with the others, where it is seen
        and can be taken back.
        """
        if command is None or self.is_there:
            self._bridge.ask(question, _while_wanted(answer))
            return
        self._waiting.add(command, question, _while_wanted(answer))

    @property
    def pending(self) -> PendingCommands:
        """Commands that wait for the connection."""
        return self._waiting.commands

    def take_back(self, number: int | None = None) -> None:
        """Leave out a command that waits, or all of them."""
        if number is None:
            self._waiting.clear()
        else:
            self._waiting.take_back(number)

    def aside(self, work: Callable[[], Any], answer: Answer | None = None) -> None:
        """Do what takes a while outside of the window's thread; the answer comes as that of `ask` does."""
        self._bridge.aside(work, _while_wanted(answer))

    def retry_now(self) -> None:
        """Try to connect at once."""
        self._bridge.retry_now()

    def use(self, **options: Any) -> None:
        """Connect anew with other options besides those there are: another token, another certificate."""
        self._bridge.use(**options)

    def connect_to(self, **options: Any) -> None:
        """Connect anew with these options alone: another server. What waits was for the other one."""
        if (options.get("url") or "") != self.url:
            self._waiting.drop("They were for another server")
            self._user = ""
        self.url = options.get("url") or ""
        self._bridge.connect_to(**options)

    def sign_in(self, token: str) -> None:
        """Go on with another token, without a new connection where the server takes it on the one there is."""
        self._bridge.sign_in(token)

    def _schedule(self) -> None:
        if self._is_closed:
            # It was woken before, and hears of it now: whom it would tell may be gone.
            return
        wait_s = max(0.0, self._last_s + FRAME_S - time.monotonic())
        self._frame.start(round(wait_s * 1000))

    def _deliver(self) -> None:
        self._last_s = time.monotonic()
        news: News = self._bridge.take()
        was_live = self.link.state == "live"
        if news.link is not None:
            self.link = news.link
        self.server = news.server
        if news.server is not None and news.server.user != self._user:
            if self._user:
                # Nothing is done in the name of somebody who has not asked for it.
                self._waiting.drop(f"They were asked for by {printable(self._user)}")
            self._user = news.server.user
        for answer in news.answers:
            # What goes wrong there is said, as in any slot, and neither other answers nor the news are lost by it.
            self._answered.emit(answer)
        self.news.emit(news)
        if self.link.state == "live" and not was_live and len(self.pending):
            self._waiting.send()
        elif not self.is_there:
            self._waiting.hold()


def _call(answer: Callable[[], None]) -> None:
    answer()


def is_wanted(answer: Callable[..., Any]) -> bool:
    """False for a method of a QObject that has been destroyed."""
    while isinstance(answer, partial):
        answer = answer.func
    owner = getattr(answer, "__self__", None)
    return not isinstance(owner, QObject) or isValid(owner)


def _while_wanted(answer: Answer | None) -> Answer | None:
    if answer is None:
        return None

    def given(result: Any, error: RfmError | None) -> None:
        if is_wanted(answer):
            answer(result, error)

    return given
