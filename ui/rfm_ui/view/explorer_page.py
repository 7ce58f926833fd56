"""The page to explore fractals on: each view is a render of the runtime, and one that nobody looks at is stopped."""

from __future__ import annotations

import time
from math import ceil
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace
from PySide6.QtCore import QPointF, Qt, QTimer
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage, QKeySequence, QShortcut
from PySide6.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.client.async_client import RENDER
from rfm_runtime.client.handle import write_file
from rfm_runtime.client.ids import ulid
from rfm_runtime.core.text import duration, number
from rfm_runtime.errors import BadRequestError, RfmError
from rfm_runtime.protocol.messages import TilePixels
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_runtime.render.colouring import Colouring
from rfm_runtime.render.files.png import text_chunks
from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.image_metadata import from_text
from rfm_runtime.render.palettes import PALETTES
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.bridge import News
from rfm_ui.model.exploring import Cancel, Exploring, Order
from rfm_ui.model.lines import line
from rfm_ui.model.picture import Part, Picture
from rfm_ui.model.views import fitted, sized, under
from rfm_ui.view.canvas import Canvas
from rfm_ui.view.session import Session

__all__ = ["ExplorerPage"]

AT_ONCE = 4
"""Parts of a picture that are under way."""
AGAIN_MS = 150
"""Until a part that could not be had is asked for again."""
PRIORITY = 10
"""Somebody waits for it."""
LOOK = frozenset(Colouring.__struct_fields__)

HOME = replace(PRESETS["home"].request, max_iter=0)


class ExplorerPage(QWidget):
    """Explores with the runtime of a session."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.exploring = Exploring(HOME, ulid)
        self.canvas = Canvas(HOME)
        self.canvas.wanted.connect(self.go)
        self.canvas.pointed.connect(self._point)
        self.canvas.resized.connect(self._resized)
        self._has_begun = False
        self._picture = Picture(HOME.width_px, HOME.height_px)
        self._under_way = 0
        self._operation: Operation | None = None
        self._recolour_again = False
        self.state = QLabel()
        self.state.setAccessibleName("State of the picture")
        self.place = QLabel()
        self.place.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.place.setAccessibleName("Where this is")
        self._due = QTimer(self)
        self._due.setSingleShot(True)
        self._due.setTimerType(Qt.TimerType.PreciseTimer)
        self._due.timeout.connect(self._tick)
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(self._fetch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(10)
        layout.addLayout(self._head())
        layout.addWidget(self.canvas, 1)
        foot = QHBoxLayout()
        foot.addWidget(self.place, 1)
        foot.addWidget(self.state)
        layout.addLayout(foot)
        self.setAcceptDrops(True)
        # Who turns to the page has its keys at once.
        self.setFocusProxy(self.canvas)
        session.news.connect(self._heard)

    @property
    def is_complete(self) -> bool:
        """Whether every pixel of the view is computed, and here."""
        done = self._operation is not None and self._operation.state == "completed"
        return done and self._picture.is_exhausted and self._under_way == 0

    # --- where to ---------------------------------------------------------------------------

    def go(self, view: RenderRequest) -> None:
        """Show a view. What is wrong with it is said."""
        try:
            validate(asdict(view))
        except BadRequestError as error:
            self.state.setText(f"{error.message} – {error.hint}")
            return
        before = self.exploring.view
        self._follow(self.exploring.go(view, time.monotonic()))
        if self.exploring.view != before:
            self._shown()

    def undo(self) -> None:
        """Back to the view before."""
        self._follow(self.exploring.undo(time.monotonic()))
        self._shown()

    def redo(self) -> None:
        """To the view from which one went back."""
        self._follow(self.exploring.redo(time.monotonic()))
        self._shown()

    def home(self) -> None:
        """The whole set."""
        self.go(self._fitting(HOME))

    def open(self, path: Path) -> None:
        """Go where a picture was made. Raises BadRequestError if it does not say."""
        self.go(self._fitting(from_text(text_chunks(path.read_bytes()))))

    def save(self, path: Path) -> None:
        """Write the picture, with its parameters in it. It is fetched from the runtime."""
        operation_id = self.exploring.operation_id
        if operation_id is None:
            self.state.setText("Nothing to save yet.")
            return

        def fetched(data: Any, error: RfmError | None) -> None:
            if error is None:
                try:
                    write_file(path, lambda file: file.write(data), force=True)
                except (OSError, RfmError) as fault:
                    self.state.setText(f"Could not write {path}: {fault}")
                    return
                self.state.setText(f"Saved {path}.")
            else:
                self.state.setText(f"Could not save: {error}")

        self._session.ask(lambda client: client.fetch_artifact(operation_id, "image.png"), fetched)

    def leave(self) -> None:
        """Nobody looks any more."""
        self._due.stop()
        self._follow(self.exploring.leave())

    # --- as a widget ------------------------------------------------------------------------

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Pictures are welcome."""
        if any(url.toLocalFile().lower().endswith(".png") for url in event.mimeData().urls()):
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        """Go where it was made."""
        try:
            self.open(Path(event.mimeData().urls()[0].toLocalFile()))
        except (BadRequestError, OSError) as error:
            self.state.setText(f"That picture cannot be opened: {error}")

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        self.preset = _choice("Preset", ["Presets", *PRESETS])
        self.preset.activated.connect(self._preset)
        self.formula = _choice("Formula", list(FORMULAS))
        self.formula.activated.connect(self._formula)
        self.palette_choice = _choice("Palette", list(PALETTES))
        self.palette_choice.activated.connect(self._palette)
        self.back, self.forth = QPushButton("Back"), QPushButton("Forth")
        buttons = (
            (QPushButton("Home"), self.home, "Home"),
            (self.back, self.undo, "Alt+Left"),
            (self.forth, self.redo, "Alt+Right"),
            (QPushButton("Open …"), self._ask_open, "Ctrl+O"),
            (QPushButton("Save …"), self._ask_save, "Ctrl+S"),
        )
        for button, action, key in buttons[:3]:
            _button(button, action, key, self)
            head.addWidget(button)
        for choice in (self.preset, self.formula, self.palette_choice):
            head.addWidget(choice)
        head.addStretch(1)
        for button, action, key in buttons[3:]:
            _button(button, action, key, self)
            head.addWidget(button)
        return head

    def _ask_open(self) -> None:
        name, _kind = QFileDialog.getOpenFileName(self, "Go where a picture was made", "", "Pictures (*.png)")
        if name:
            try:
                self.open(Path(name))
            except (BadRequestError, OSError) as error:
                self.state.setText(f"That picture cannot be opened: {error}")

    def _ask_save(self) -> None:
        name, _kind = QFileDialog.getSaveFileName(self, "Save the picture", "explorer.png", "Pictures (*.png)")
        if name:
            self.save(Path(name))

    def _preset(self, number_: int) -> None:
        if number_ > 0:
            self.go(self._fitting(PRESETS[self.preset.itemText(number_)].request))

    def _formula(self) -> None:
        name = self.formula.currentText()
        look = {field: getattr(self.exploring.view, field) for field in ("palette", "density", "offset", "cyclic")}
        self.go(self._fitting(replace(HOME, formula=name, **look)))

    def _palette(self) -> None:
        view = replace(self.exploring.view, palette=self.palette_choice.currentText())
        if self.exploring.look(view):
            self._recolour()

    def _fitting(self, view: RenderRequest) -> RenderRequest:
        return fitted(view, *self.canvas.size_px())

    def _resized(self) -> None:
        """More of the plane, as there is room for it. The first time nothing was shown yet."""
        if self._has_begun:
            self.go(sized(self.exploring.view, *self.canvas.size_px()))
        else:
            self._has_begun = True
            self.home()

    # --- what happens -----------------------------------------------------------------------

    def _shown(self) -> None:
        view = self.exploring.view
        self.canvas.show_view(view)
        self._picture = Picture(view.width_px, view.height_px)
        self._operation = None
        self.state.setText("")
        self.formula.setCurrentText(view.formula)
        self.palette_choice.setCurrentText(view.palette)
        self.back.setEnabled(self.exploring.can_undo)
        self.forth.setEnabled(self.exploring.can_redo)
        self.place.setText(f"{view.re}  {view.im}   width {float(view.width):.4g}")
        self._wait()

    def _wait(self) -> None:
        if self.exploring.due_s is not None:
            self._due.start(max(0, ceil((self.exploring.due_s - time.monotonic()) * 1000)))

    def _tick(self) -> None:
        self._follow(self.exploring.tick(time.monotonic()))
        # Qt's clock may be early.
        self._wait()

    def _follow(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Cancel):
                self._cancel(order.operation_id)
            else:
                self._submit(order.operation_id, order.view)

    def _cancel(self, operation_id: str) -> None:
        self._session.ask(lambda client: client.cancel(operation_id))

    def _submit(self, operation_id: str, view: RenderRequest) -> None:
        params, labels = non_defaults(view), {"from": "explorer"}

        def answered(_result: Any, error: RfmError | None) -> None:
            if error is not None:
                self.exploring.ended(operation_id)
                if operation_id == self.exploring.operation_id:
                    self.state.setText(f"{error.message} – {error.hint}" if error.hint else error.message)

        self._session.ask(
            lambda client: client.submit(
                RENDER, params, name="explorer", priority=PRIORITY, labels=labels, operation_id=operation_id
            ),
            answered,
        )

    def _heard(self, news: News) -> None:
        operation_id = self.exploring.operation_id
        operation = news.operations.get(operation_id or "")
        if operation is None or operation_id is None:
            return
        self._operation = operation
        if operation.grid is not None:
            if operation.latest is not None and operation.latest.tiles is not None:
                self._picture.told(operation.grid, operation.latest.tiles)
            if operation.state == "completed":
                self._picture.finished(operation.grid)
        if operation.state in TERMINAL_STATES:
            self.exploring.ended(operation_id)
        self._say(operation)
        self._fetch()

    def _say(self, operation: Operation) -> None:
        shown = line(operation, time.time() * 1000)
        latest = operation.latest
        speed = f"{number(latest.iterations)} iterations" if latest is not None and latest.iterations else ""
        if operation.state == "completed" and operation.started_at_ms and operation.ended_at_ms:
            took = duration((operation.ended_at_ms - operation.started_at_ms) / 1000)
            self.state.setText(", ".join(part for part in (f"done in {took}", speed) if part))
        else:
            percent = "" if shown.percent is None else f"{shown.percent:.0f} %"
            self.state.setText(
                " · ".join(part for part in (shown.remark or shown.state, percent, *shown.facts[:1]) if part)
            )

    def _fetch(self) -> None:
        """Ask for what is computed and not here, a few parts at a time."""
        operation_id = self.exploring.operation_id
        while operation_id is not None and self._under_way < AT_ONCE and (part := self._picture.next()) is not None:
            self._under_way += 1
            self._ask_for(operation_id, part)

    def _ask_for(self, operation_id: str, part: Part) -> None:
        picture = self._picture

        def come(pixels: Any, error: RfmError | None) -> None:
            self._under_way -= 1
            if operation_id != self.exploring.operation_id or picture is not self._picture:
                self._fetch()
                return
            if isinstance(pixels, TilePixels):
                self.canvas.put(part, pixels)
                self._fetch()
            elif error is not None and self._operation is not None and self._operation.state != "canceled":
                picture.put_back(part)
                self._again.start(AGAIN_MS)

        self._session.ask(
            lambda client: client.fetch_tiles(
                operation_id, x=part.x, y=part.y, width=part.width, height=part.height, step=part.step
            ),
            come,
        )

    def _recolour(self) -> None:
        """In other colours, without computing it again: as soon as it is finished."""
        operation, view = self._operation, self.exploring.view
        if operation is None or operation.state != "completed":
            return
        look = {name: getattr(view, name) for name in LOOK}

        def coloured(data: Any, error: RfmError | None) -> None:
            if view != self.exploring.view or operation.operation_id != self.exploring.operation_id:
                return
            if error is not None:
                self.state.setText(f"Could not change the colours: {error}")
            else:
                self.canvas.put_whole(QImage.fromData(data))

        self._session.ask(lambda client: client.recolour(operation.operation_id, **look), coloured)

    def _point(self, place: QPointF) -> None:
        re, im = under(self.exploring.view, place.x(), place.y())
        digits = max(4, 3 - int(f"{float(self.exploring.view.width):e}".partition("e")[2]) + 3)
        self.place.setText(
            f"{float(re):.{digits}f}  {float(im):.{digits}f}   width {float(self.exploring.view.width):.4g}"
        )


def _choice(name: str, entries: list[str]) -> QComboBox:
    choice = QComboBox()
    choice.setAccessibleName(name)
    choice.setToolTip(name)
    choice.addItems(entries)
    return choice


def _button(button: QPushButton, action: Any, key: str, page: QWidget) -> None:
    button.clicked.connect(action)
    button.setToolTip(f"{button.text().removesuffix(' …')} ({key})")
    shortcut = QShortcut(QKeySequence(key), page, action)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
