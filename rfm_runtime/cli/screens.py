"""Whether a window can be opened here: Qt itself ends the process where it cannot, with a dump of its memory."""

from __future__ import annotations

import ctypes
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["has_screen", "unreachable"]

TRY_S = 5.0
"""For a screen on another host to answer."""

TRIES_S = 0.1, 0.3, 0.0
"""After each try, until the next: a server that begins anew lets nobody in for a moment."""


def has_screen(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a window may be opened. QT_QPA_PLATFORM: somebody knows better."""
    if not platform.startswith("linux"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def unreachable(environment: Mapping[str, str], platform: str) -> list[str]:
    """The screens that are named and do not let us in, as NAME=VALUE; none if one of them does, or nobody can say."""
    if not platform.startswith("linux"):
        return []
    wanted = [one.partition(":")[0] for one in environment.get("QT_QPA_PLATFORM", "").split(";") if one]
    if any(one not in ("xcb", "wayland", "wayland-egl") for one in wanted):
        return []
    refused = []
    display, wayland = environment.get("DISPLAY"), environment.get("WAYLAND_DISPLAY")
    if display and (not wanted or "xcb" in wanted):
        if _lets_in(display):
            return []
        refused.append(f"DISPLAY={display}")
    if wayland and wanted != ["xcb"]:
        if _answers(Path(environment.get("XDG_RUNTIME_DIR", ""), wayland)):
            return []
        refused.append(f"WAYLAND_DISPLAY={wayland}")
    return refused


def _lets_in(display: str) -> bool:
    """Asked as Qt does, so that what a screen wants to see first (`xauth`) counts as well."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        # Qt will say that.
        return True
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connect.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    for function in (xcb.xcb_connection_has_error, xcb.xcb_disconnect):
        function.argtypes = [ctypes.c_void_p]
    found: list[bool] = []

    def ask() -> None:
        for wait_s in TRIES_S:
            connection = xcb.xcb_connect(display.encode(), None)
            if xcb.xcb_connection_has_error(connection) == 0:
                # It stays until the process ends: a server without a desktop begins anew when its last client goes,
                # and would throw out Qt, which comes next.
                found.append(True)
                return
            xcb.xcb_disconnect(connection)
            time.sleep(wait_s)

    # A host that does not answer would be waited for for minutes.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(TRY_S)
    return bool(found)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(TRY_S)
        try:
            peer.connect(str(path))
        except OSError:
            return False
    return True
