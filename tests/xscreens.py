"""A screen of its own, and somebody who sits at it: real events, from outside of the program."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ImageGrab

__all__ = ["Person", "are_there", "screen"]


def are_there() -> bool:
    """Whether what is needed is installed."""
    return shutil.which("Xvfb") is not None and shutil.which("xdotool") is not None


@contextmanager
def screen() -> Iterator[str]:
    """An X server, which goes on when its last client goes; its name for DISPLAY."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x860x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


class Person:
    """Somebody at the screen. folder: for what is seen."""

    def __init__(self, display: str, folder: Path) -> None:
        self._display = display
        self._env = os.environ | {"DISPLAY": display}
        self._folder = Path(os.environ.get("SCREENS", folder))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._steps = 0

    def sees(self, step: str) -> int:
        """Keep what is on the screen; how many colours the poorer half of a fractal's picture would have."""
        seen = ImageGrab.grab(xdisplay=self._display).convert("RGB")
        self._steps += 1
        seen.save(self._folder / f"{self._steps:02}-{step}.png")
        halves = (seen.crop((160, 100, 1100, 400)), seen.crop((160, 420, 1100, 720)))
        return min(len(half.getcolors(maxcolors=half.width * half.height) or ()) for half in halves)

    def does(self, *words: str) -> str:
        """One act of xdotool; what it says."""
        done = subprocess.run(
            ["xdotool", *words], env=self._env, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip()

    def turns(self, notches: int) -> None:
        """The wheel, towards what is under the pointer: the valley of the seahorses."""
        self.does("mousemove", "605", "386", "click", "--repeat", str(notches), "--delay", "60", "4")
