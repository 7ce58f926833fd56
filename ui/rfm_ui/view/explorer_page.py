"""The page to explore fractals on: each view is a render of the runtime, and one that nobody looks at is stopped."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from msgspec.structs import asdict, replace
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from rfm_runtime.core.text import duration, number
from rfm_runtime.errors import BadRequestError, RfmError
from rfm_runtime.protocol.operation import Operation
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.bridge import News
from rfm_ui.model.exploring import Exploring
from rfm_ui.model.formats import filters, format_of
from rfm_ui.model.left import left, where_left
from rfm_ui.model.lines import line
from rfm_ui.model.link import absent
from rfm_ui.model.looking import look_of, with_look
from rfm_ui.model.views import place_text, under
from rfm_ui.view.actions import action, button, offer
from rfm_ui.view.canvas import Canvas
from rfm_ui.view.choice import one_of
from rfm_ui.view.look_panel import LookPanel
from rfm_ui.view.one_line import OneLine
from rfm_ui.view.opening import OPENED, view_in
from rfm_ui.view.places_panel import PlacesPanel
from rfm_ui.view.point_panel import PointPanel
from rfm_ui.view.rendering import Rendering, said
from rfm_ui.view.saving import Saver
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

__all__ = ["ExplorerPage"]

PRIORITY = 10
"""Somebody waits for it."""
PANELS = ("Point", "Colours", "Places")
PANEL_WIDTH = 272
MARGIN = 16

HOME = replace(PRESETS["home"].request, max_iter=0)


class ExplorerPage(QWidget):
    """Explores with the runtime of a session. full_screen_wanted(bool): the whole screen, or not any more."""

    full_screen_wanted = Signal(bool)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.canvas = Canvas(HOME)
        self.rendering = Rendering(session, self.canvas, HOME, name="explorer", priority=PRIORITY)
        self._was_shown = True
        self.state = OneLine(Qt.AlignmentFlag.AlignRight)
        self.state.setAccessibleName("State of the picture")
        self.place = Label()
        self.place.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.place.setAccessibleName("Where this is")
        self.point = PointPanel(session, self.canvas, self.rendering)
        self.look = LookPanel(HOME)
        self.places = PlacesPanel(session, self.rendering)
        self.panels = QStackedWidget()
        self.panels_of = QWidget()
        self._saver = Saver(session, self.rendering, self.state.setText)
        self._lay_out()
        self.canvas.wanted.connect(self.go)
        self.canvas.pointed.connect(self._point)
        self.canvas.resized.connect(self._resized)
        self.rendering.changed.connect(self._shown)
        self.rendering.heard.connect(self._say)
        self.rendering.refused.connect(self.state.setText)
        self.point.wanted.connect(self.go)
        self.look.wanted.connect(self.go)
        self.look.refused.connect(self.state.setText)
        self.places.wanted.connect(self.go)
        self.places.told.connect(self.state.setText)
        session.news.connect(self._heard)
        self.setAcceptDrops(True)
        # Who turns to the page has its keys at once.
        self.setFocusProxy(self.canvas)

    @property
    def exploring(self) -> Exploring:
        """Where one is, and has been."""
        return self.rendering.exploring

    @property
    def palette_choice(self) -> QComboBox:
        """Of the panel."""
        return self.look.palette_choice

    @property
    def is_complete(self) -> bool:
        """Whether every pixel of the view is computed, and here."""
        return self.rendering.is_complete

    # --- where to ---------------------------------------------------------------------------

    def go(self, view: RenderRequest) -> None:
        """Show a view. What is wrong with it is said."""
        try:
            validate(asdict(view))
        except BadRequestError as error:
            self.state.setText(said(error))
            self.look.show_view(self.exploring.view)
            return
        self.rendering.go(view)

    def undo(self) -> None:
        """Back to the view before."""
        self.rendering.undo()

    def redo(self) -> None:
        """To the view from which one went back."""
        self.rendering.redo()

    def home(self) -> None:
        """The whole set."""
        self.go(HOME)

    def open(self, path: Path) -> None:
        """Go where a picture was made, or what a file of parameters says. Raises BadRequestError, SetupError."""
        view, notes = view_in(path)
        self.go(view)
        if notes:
            self.state.setText(notes)

    def save(self, path: Path, chosen: str = "") -> None:
        """Write the picture, its raw data or its parameters, by the name's end, or the filter of a dialog."""
        try:
            target, wanted = format_of(path, chosen)
            # Of a name that was not typed so nobody was asked whether it may be replaced.
            self._saver.save(target, wanted, force=target == path)
        except BadRequestError as error:
            self.state.setText(f"Could not save: {said(error)}")

    def kept(self) -> str:
        """Where one is, and what is beside it."""
        has_panel = self.panel.isChecked() or self._leave_full.isEnabled()
        return left(self.exploring.view, self.panels.currentIndex(), has_panel=has_panel)

    def find_again(self, kept: str) -> None:
        """Be there, in a new window."""
        found = where_left(kept)
        if found is None:
            return
        if found.view is not None:
            self.exploring.begin_at(found.view)
        if 0 <= found.panel < len(PANELS):
            self.show_panel(found.panel)
        self.panel.setChecked(found.has_panel)

    def leave(self) -> None:
        """Nobody looks any more."""
        self.rendering.leave()
        self.point.leave()
        self.places.leave()

    def fill_screen(self, is_full: bool) -> None:
        """Nothing but the picture, and the panel if it is wanted."""
        for bar in (self._head_bar, self._foot_bar):
            bar.setHidden(is_full)
        margin = 0 if is_full else MARGIN
        self._layout.setContentsMargins(margin, margin, margin, margin * 3 // 4)
        self._was_shown = self.panel.isChecked() if is_full else self._was_shown
        self.panel.setChecked(self._was_shown and not is_full)
        self._leave_full.setEnabled(is_full)

    # --- as a widget ------------------------------------------------------------------------

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Pictures and parameters are welcome."""
        if _fitting(event) is not None:
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        """Go where it was made."""
        if (path := _fitting(event)) is not None:
            self._open(path)

    def _lay_out(self) -> None:
        side = QVBoxLayout(self.panels_of)
        side.setContentsMargins(12, 0, 0, 0)
        side.setSpacing(10)
        row = QHBoxLayout()
        row.setSpacing(6)
        choice = one_of(PANELS, row, self)
        row.addStretch(1)
        side.addLayout(row)
        for panel in (_scrolled(self.point, "Point"), _scrolled(self.look, "Colours"), self.places):
            self.panels.addWidget(panel)
        side.addWidget(self.panels, 1)
        choice.idClicked.connect(self.panels.setCurrentIndex)
        self._panel_choice = choice
        middle = QSplitter(Qt.Orientation.Horizontal)
        middle.addWidget(self.canvas)
        middle.addWidget(self.panels_of)
        middle.setStretchFactor(0, 1)
        for part in range(2):
            # A button hides the panel.
            middle.setCollapsible(part, False)
        self.panels_of.setMinimumWidth(PANEL_WIDTH)
        middle.setSizes([PANEL_WIDTH * 3, PANEL_WIDTH])
        layout = self._layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN * 3 // 4)
        layout.setSpacing(10)
        self._head_bar, self._foot_bar = QWidget(), QWidget()
        head, foot = self._head(), QHBoxLayout(self._foot_bar)
        self._head_bar.setLayout(head)
        for row in (head, foot):
            row.setContentsMargins(0, 0, 0, 0)
        # What is said there never makes the window larger.
        self.place.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        foot.addWidget(self.place, 1)
        foot.addWidget(self.state, 1)
        layout.addWidget(self._head_bar)
        layout.addWidget(middle, 1)
        layout.addWidget(self._foot_bar)
        self._leave_full = action(self, "Leave the full screen", self._leave_screen, ["Esc"])
        self._leave_full.setEnabled(False)

    def _leave_screen(self) -> None:
        self.full_screen_wanted.emit(False)

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        self.preset = _choice("Preset", ["Presets", *PRESETS])
        self.preset.activated.connect(self._preset)
        self.formula = _choice("Formula", list(FORMULAS))
        self.formula.activated.connect(self._formula)
        self._back = action(self, "Back", self.undo, ["Alt+Left"], about="To the view before")
        self._forth = action(self, "Forth", self.redo, ["Alt+Right"], about="To the view from which one went back")
        self._offer_ways()
        self.back, self.forth = button(self._back), button(self._forth)
        self.panel = action(self, "Panel", lambda: None, ["Ctrl+B"], about="The panel beside the picture")
        self.panel.setCheckable(True)
        self.panel.setChecked(True)
        self.panel.toggled.connect(self.panels_of.setVisible)
        action(self, "Keep this place", self.places.keep, ["Ctrl+D"], about="As a bookmark")
        for number_, name in enumerate(PANELS):
            action(self, f"Show the panel {name}", partial(self.show_panel, number_))
        head.addWidget(button(action(self, "Home", self.home, ["Home"], about="The whole set")))
        for widget in (self.back, self.forth, self.preset, self.formula):
            head.addWidget(widget)
        head.addStretch(1)
        opening = action(self, "Open …", self._ask_open, ["Ctrl+O"], about="Go where a picture was made")
        saving = action(self, "Save …", self._ask_save, ["Ctrl+S"], about="The picture, its data or its parameters")
        for made in (opening, saving, self.panel):
            head.addWidget(button(made))
        return head

    def show_panel(self, number_: int) -> None:
        """One of those beside the picture."""
        self.panel.setChecked(True)
        self._panel_choice.button(number_).setChecked(True)
        self.panels.setCurrentIndex(number_)

    def _ask_open(self) -> None:
        kinds = f"Pictures and parameters ({' '.join(f'*{suffix}' for suffix in OPENED)})"
        name, _kind = QFileDialog.getOpenFileName(self, "Go where a picture was made", "", kinds)
        if name:
            self._open(Path(name))

    def _open(self, path: Path) -> None:
        try:
            self.open(path)
        except RfmError as error:
            self.state.setText(f"Could not open {path.name}: {said(error)}")

    def _ask_save(self) -> None:
        name, chosen = QFileDialog.getSaveFileName(self, "Save", "explorer.png", filters())
        if name:
            self.save(Path(name), chosen)

    def _preset(self, number_: int) -> None:
        if number_ > 0:
            self.go(PRESETS[self.preset.itemText(number_)].request)

    def _formula(self) -> None:
        name = self.formula.currentText()
        look = look_of(self.exploring.view)
        if FORMULAS[name].converges:
            # There is nothing that they could follow from.
            look = replace(look, slopes=0.0, colouring="smooth")
        self.go(with_look(replace(HOME, formula=name), look))

    def _resized(self) -> None:
        """All of what was shown, in another size."""
        self.rendering.fit(*self.canvas.size_px())

    # --- what happens -----------------------------------------------------------------------

    def _heard(self, news: News) -> None:
        if news.link is not None:
            self.canvas.tell(absent(news.link))

    def _shown(self) -> None:
        view = self.exploring.view
        if self.rendering.operation is None:
            self.state.setText("")
        self.formula.setCurrentText(view.formula)
        self.look.show_view(view)
        self._offer_ways()
        self.place.setText(f"{view.re}  {view.im}   width {float(view.width):.4g}")

    def _offer_ways(self) -> None:
        offer(self._back, "" if self.exploring.can_undo else "There is no view before this one.")
        offer(self._forth, "" if self.exploring.can_redo else "There is no view after this one.")

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

    def _point(self, place: QPointF) -> None:
        self.rendering.look_at(place.x(), place.y())
        view = self.exploring.view
        re, im = under(view, place.x(), place.y())
        self.place.setText(f"{place_text(view, re)}  {place_text(view, im)}   width {float(view.width):.4g}")


def _fitting(event: QDropEvent) -> Path | None:
    """The first of what is dropped that can be opened."""
    names = (url.toLocalFile() for url in event.mimeData().urls())
    return next((Path(name) for name in names if name.lower().endswith(OPENED)), None)


def _scrolled(panel: QWidget, name: str) -> QScrollArea:
    area = QScrollArea()
    # It has the focus of who scrolls by keys.
    area.setAccessibleName(name)
    area.setWidget(panel)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    # Nothing of it is cut off, whatever the letters' size.
    area.setMinimumWidth(panel.minimumSizeHint().width())
    return area


def _choice(name: str, entries: list[str]) -> QComboBox:
    choice = QComboBox()
    choice.setAccessibleName(name)
    set_tip(choice, name)
    choice.setMinimumContentsLength(9)
    choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    choice.addItems(entries)
    return choice
