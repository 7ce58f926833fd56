"""A desktop for tests: its tray, and who shows messages, on the session's bus. A program, which says what it is told.

A line `click` on standard input is a click on the last message.
"""

from __future__ import annotations

import sys

from PySide6.QtCore import ClassInfo, Property, QCoreApplication, QObject, QSocketNotifier, Signal, Slot
from PySide6.QtDBus import QDBusConnection

__all__ = ["main"]

NUMBER = 7


def say(*words: object) -> None:
    """A line on standard output."""
    print(*words, flush=True)


@ClassInfo({"D-Bus Interface": "org.kde.StatusNotifierWatcher"})
class Watcher(QObject):
    """Who has an icon in the tray. Names are those of the specification."""

    @Slot(str)
    def RegisterStatusNotifierItem(self, name: str) -> None:  # noqa: N802
        """It has one."""
        say("icon", name)

    def _has_host(self) -> bool:
        return True

    IsStatusNotifierHostRegistered = Property(bool, _has_host)


@ClassInfo({"D-Bus Interface": "org.freedesktop.Notifications"})
class Messages(QObject):
    """What is shown to the user. Names are those of the specification."""

    ActionInvoked = Signal("uint", str)

    @Slot(str, "uint", str, str, str, "QStringList", "QVariantMap", int, result="uint")
    def Notify(self, *given: object) -> int:  # noqa: N802
        """Show a message."""
        say("message", given[3], "|", given[4])
        return NUMBER

    @Slot(result="QStringList")
    def GetCapabilities(self) -> list[str]:  # noqa: N802
        """What can be shown."""
        return ["body", "actions"]

    @Slot("uint")
    def CloseNotification(self, _number: int) -> None:  # noqa: N802
        """Show it no longer."""


def main() -> int:
    """Until standard input ends."""
    application = QCoreApplication([])
    bus = QDBusConnection.sessionBus()
    watcher, messages = Watcher(), Messages()
    option = QDBusConnection.RegisterOption
    exported = option.ExportAllSlots | option.ExportAllProperties | option.ExportAllSignals
    for name, path, one in (
        ("org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher", watcher),
        ("org.freedesktop.Notifications", "/org/freedesktop/Notifications", messages),
    ):
        if not (bus.registerObject(path, one, exported) and bus.registerService(name)):
            say("no bus", bus.lastError().message())
            return 1

    def heard() -> None:
        if sys.stdin.readline().strip() == "click":
            messages.ActionInvoked.emit(NUMBER, "default")
        else:
            application.quit()

    listening = QSocketNotifier(0, QSocketNotifier.Type.Read)
    listening.activated.connect(heard)
    say("ready")
    return application.exec()


if __name__ == "__main__":
    sys.exit(main())
