"""Tells the user what his rules say, by all the ways there are; and keeps the rules with the server."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QSettings, Qt, QTimer, Signal
from PySide6.QtWidgets import QWidget

from rfm_runtime.core.notifying.notifier import Moment, Notifier, Telling, telling
from rfm_runtime.core.notifying.rules import DEFAULTS
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.notifying import Rule, Rules, RulesReply
from rfm_ui.bridge import News
from rfm_ui.model.rule_texts import an_example
from rfm_ui.view.actions import action
from rfm_ui.view.notifications.aloud import Speaker, Tones
from rfm_ui.view.notifications.toasts import Toasts
from rfm_ui.view.notifications.tray import Tray
from rfm_ui.view.session import Session, is_wanted

__all__ = ["Notifications"]

TICK_MS = 1000
SILENT = "notifications/silent"

LATELY = 100
"""That can be looked at again."""


class Notifications(QObject):
    """wanted(Telling): somebody wants to see what he was told of. told(Telling): each, however it is.

    rules_known(RulesReply): they came, or are others now. known: those of the server, None before it has said them.
    lately: when (ms since 1970) what was told, the newest last.
    silent: checked, there is neither tone nor voice, in this window and the next one.
    """

    wanted = Signal(object)
    told = Signal(object)
    rules_known = Signal(object)

    def __init__(self, session: Session, window: QWidget, settings: QSettings) -> None:
        super().__init__(window)
        self._session = session
        self._window = window
        self._settings = settings
        self.known: RulesReply | None = None
        self.lately: deque[tuple[int, Telling]] = deque(maxlen=LATELY)
        # Before the server has said what is wanted, nothing is.
        self.notifier = Notifier(Rules())
        self.toasts = Toasts(window)
        self.toasts.wanted.connect(self.wanted)
        self.tray = Tray(window)
        self.tray.wanted.connect(self.wanted)
        self.tray.raised.connect(self._raise)
        self.tones = Tones(self)
        self.speaker = Speaker(self)
        self._was_caught_up = False
        self._clock = QTimer(self)
        self._clock.setInterval(TICK_MS)
        self._clock.timeout.connect(lambda: self._tell(self.notifier.tick(_now())))
        self._clock.start()
        everywhere = Qt.ShortcutContext.WindowShortcut
        self.go_to = action(
            window, "Go to the newest notification", self.toasts.focus_newest, ["F8"], context=everywhere
        )
        self.away = action(
            window, "Dismiss all notifications", self.toasts.dismiss_all, ["Shift+F8"], context=everywhere
        )
        self.silent = action(
            window, "Silence", self._silence, about="Neither tone nor voice of notifications, until it is chosen again"
        )
        self.silent.setCheckable(True)
        self.silent.setChecked(bool(settings.value(SILENT, False, bool)))
        if self.tray.menu is not None:
            self.tray.menu.addAction(self.silent)
        session.news.connect(self._heard)

    def close(self) -> None:
        """Tell nothing any more."""
        self._clock.stop()
        self._session.news.disconnect(self._heard)
        self.toasts.dismiss_all()
        self.tray.close()
        self.tones.close()
        self.speaker.close()

    def save(self, rules: Rules | None, version: int, answer: Callable[[RfmError | None], None]) -> None:
        """Have the server keep them; None: those that everybody has at first. answer: whether it does; as that
        of `Session.ask` for those that are there still.
        """

        def told(reply: Any, error: RfmError | None) -> None:
            if error is None:
                self._use(reply)
            if is_wanted(answer):
                answer(error)

        self._session.ask(lambda client: client.set_rules(rules, version), told)

    def look_again(self) -> None:
        """Ask the server which rules there are."""

        def told(reply: Any, error: RfmError | None) -> None:
            if error is None:
                self._use(reply)
            elif self.known is None:
                # A server that keeps none, or is away again.
                self.notifier.use(DEFAULTS, self.notifier.user)

        self._session.ask(lambda client: client.rules(), told)

    def show_example(self, rule: Rule) -> None:
        """As if an operation had come that the rule means; also in quiet hours."""
        user = self.notifier.user
        when, operation = an_example(rule, user, round(time.time() * 1000))
        self._tell([telling(when, operation, [rule], user, still_s=rule.stalled_s)])

    def _silence(self) -> None:
        self._settings.setValue(SILENT, self.silent.isChecked())
        if self.silent.isChecked():
            self.tones.stop()
            self.speaker.stop()

    def _use(self, reply: RulesReply) -> None:
        self.known = reply
        self.notifier.use(reply.rules, self.notifier.user)
        self.rules_known.emit(reply)

    def _heard(self, news: News) -> None:
        if news.is_new_server:
            # What they are about is not there.
            self.lately.clear()
            self.toasts.dismiss_all()
            self.tray.forget()
            self.notifier.forget()
            self.notifier.use(Rules(), "")
            self.known, self._was_caught_up = None, False
        if news.server is not None:
            self.notifier.user = news.server.user
        if news.rules or (news.is_caught_up and not self._was_caught_up):
            self.look_again()
        self._was_caught_up = news.is_caught_up
        self._tell(
            self.notifier.take(news.operations, _now(), gone=news.gone, missed=news.missed, is_live=news.is_caught_up)
        )

    def _tell(self, tellings: list[Telling]) -> None:
        for one in tellings:
            ways = one.ways
            # Who looks at the window sees the toast in it.
            in_tray = ways.tray and not self._window.isActiveWindow() and self.tray.tell(one)
            if ways.toast or (ways.tray and not in_tray):
                self.toasts.put(one)
            if ways.sound and not self.silent.isChecked():
                self.tones.play(one.tone)
            if ways.voice and not self.silent.isChecked():
                self.speaker.say(one.said)
            self.lately.append((round(time.time() * 1000), one))
            self.told.emit(one)

    def _raise(self) -> None:
        window = self._window.window()
        window.showNormal() if window.isMinimized() else window.show()
        window.raise_()
        window.activateWindow()


def _now() -> Moment:
    wall_s = time.time()
    return Moment(time.monotonic(), round(wall_s * 1000), time.localtime(wall_s).tm_gmtoff)
