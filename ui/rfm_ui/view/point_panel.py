"""Beside the explorer's picture: what becomes of the point under the pointer, and its Julia set."""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QHideEvent, QKeyEvent, QMouseEvent, QPalette, QShowEvent
from PySide6.QtWidgets import QCheckBox, QGridLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.newest import Newest
from rfm_ui.model.pointing import facts_of, julia_of, orbit_lines, whole_of
from rfm_ui.view.canvas import Canvas
from rfm_ui.view.picture_view import PictureView
from rfm_ui.view.rendering import Rendering
from rfm_ui.view.session import Session
from rfm_ui.view.words import Label, set_tip

__all__ = ["JuliaPreview", "PointPanel"]

ORBIT = 200
"""Places that are drawn."""
JULIA_SETTLED_S = 0.12
"""Each is an operation of the runtime: of a pointer that passes none is made."""
JULIA_PRIORITY = -10
"""What one looks at goes before it."""
JULIA_HEIGHT = 190

Asked = tuple[str, int, int]
"""Operation, x, y."""


class JuliaPreview(PictureView):
    """A small live picture; `looked_at` when it has the keys, `chosen` when somebody wants to go there."""

    chosen = Signal()
    looked_at = Signal()

    def __init__(self, session: Session, home: RenderRequest, parent: QWidget | None = None) -> None:
        super().__init__(home, parent)
        self.rendering = Rendering(
            session, self, home, name="julia preview", priority=JULIA_PRIORITY, settled_s=JULIA_SETTLED_S
        )
        self.setFixedHeight(JULIA_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Julia set of the point")
        set_tip(self, "The Julia set of the point under the pointer. Click, or Enter, to go there")

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        """Without a pointer it is of the middle of the picture."""
        super().focusInEvent(event)
        self.update()
        self.looked_at.emit()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Go there."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.chosen.emit()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The same by keys."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.chosen.emit()
        else:
            super().keyPressEvent(event)


class PointPanel(QWidget):
    """Follows the pointer over a canvas. wanted(RenderRequest): a view to go to."""

    wanted = Signal(object)

    def __init__(self, session: Session, canvas: Canvas, rendering: Rendering, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._canvas, self._rendering = session, canvas, rendering
        self._place: QPointF | None = None
        self._questions: Newest[Asked] = Newest()
        self.point: ProbedPoint | None = None
        """The newest that is known, of what is shown."""
        self._names: list[Label] = []
        self._values: list[Label] = []
        self.orbit = QCheckBox("Draw its orbit")
        self.orbit.setChecked(True)
        set_tip(self.orbit, "The places that the formula takes the point to, one after the other")
        self.orbit.toggled.connect(self._draw)
        self.julia = JuliaPreview(session, rendering.view)
        self.julia.looked_at.connect(self._look)
        self.julia.chosen.connect(lambda: self.wanted.emit(self.julia_view()))
        self.julia_title = Label("Its Julia set")
        self.back = QPushButton("All Julia sets of this formula")
        set_tip(self.back, "The picture in which each point stands for a Julia set, about this one")
        self.back.clicked.connect(lambda: self.wanted.emit(whole_of(rendering.view)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addLayout(self._facts())
        layout.addWidget(self.orbit)
        layout.addWidget(self.julia_title)
        layout.addWidget(self.julia)
        layout.addWidget(self.back)
        layout.addStretch(1)
        canvas.pointed.connect(self._pointed)
        canvas.left.connect(self._left)
        rendering.changed.connect(self._changed)
        rendering.heard.connect(lambda _operation: self._ask())
        self._changed()

    @property
    def shown(self) -> list[tuple[str, str]]:
        """What is to be read."""
        return [(name.text(), value.text()) for name, value in zip(self._names, self._values, strict=True)]

    def julia_view(self) -> RenderRequest:
        """The Julia set in a picture of the canvas's size."""
        small = self.julia.rendering.view
        full = julia_of(self._rendering.view, *self._at(), *self._canvas.size_px())
        if full is None:
            return self._rendering.view
        # Of the one that is to be seen, wherever the pointer has gone meanwhile.
        return replace(full, julia_re=small.julia_re, julia_im=small.julia_im)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Of what is shown now."""
        super().showEvent(event)
        self._ask()
        self._draw()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        """Whoever looks at the picture sees it without an orbit."""
        super().hideEvent(event)
        self._canvas.show_orbit(())
        self.leave()

    def leave(self) -> None:
        """Nobody looks any more."""
        self._questions.forget()
        self.julia.rendering.leave()

    # --- what happens -----------------------------------------------------------------------

    def _facts(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for row, (name, value) in enumerate(facts_of(None, self._rendering.view)):
            label, text = Label(name), Label(value)
            label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            text.setAccessibleName(name)
            text.setWordWrap(True)
            grid.addWidget(label, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(text, row, 1)
            self._names.append(label)
            self._values.append(text)
        return grid

    def _at(self) -> tuple[float, float]:
        """Where the pointer is; the middle of the picture without one."""
        view = self._rendering.view
        place = self._place if self._place is not None else QPointF(view.width_px / 2.0, view.height_px / 2.0)
        return min(max(place.x(), 0.0), view.width_px - 1.0), min(max(place.y(), 0.0), view.height_px - 1.0)

    def _pointed(self, place: QPointF) -> None:
        self._place = place
        self._look()

    def _left(self) -> None:
        self._place = None
        self._canvas.show_orbit(())

    def _changed(self) -> None:
        """Another view: what is known of the point is of the one before."""
        self.point = None
        self._show()
        whole = whole_of(self._rendering.view)
        self.back.setVisible(whole is not None)
        has_julia = self._julia_there() is not None
        self.julia.setVisible(has_julia)
        self.julia_title.setVisible(has_julia)
        self.julia.rendering.leave()

    def _look(self) -> None:
        self._ask()
        if self.isVisible() and self._rendering.is_rendered and (there := self._julia_there()) is not None:
            self.julia.rendering.go(there)

    def _julia_there(self) -> RenderRequest | None:
        width, height = self.julia.size_px()
        return julia_of(self._rendering.view, *self._at(), width, height)

    def _ask(self) -> None:
        """What becomes of the point, if there is a frame to ask for it."""
        operation = self._rendering.operation
        if not self.isVisible() or operation is None or operation.grid is None or operation.location is None:
            return
        x, y = self._at()
        wanted = operation.operation_id, math.floor(x), math.floor(y)
        known = self.point
        if known is not None and (known.x, known.y) == wanted[1:] and known.n is not None:
            return
        if self._questions.want(wanted):
            self._ask_for(wanted)

    def _ask_for(self, wanted: Asked) -> None:
        operation_id, x, y = wanted

        def come(points: Any, error: RfmError | None) -> None:
            following = self._questions.answered()
            if error is None and operation_id == self._rendering.exploring.operation_id:
                self.point = points[0]
                self._show()
            if following is not None:
                self._ask_for(following)

        self._session.ask(lambda client: client.probe_points(operation_id, [(x, y)], orbit=ORBIT), come)

    def _show(self) -> None:
        for (name, value), label, text in zip(
            facts_of(self.point, self._rendering.view), self._names, self._values, strict=True
        ):
            label.setText(name)
            text.setText(value)
        self._draw()

    def _draw(self) -> None:
        point = self.point
        if point is None or self._place is None or not self.orbit.isChecked() or not self.isVisible():
            self._canvas.show_orbit(())
        else:
            self._canvas.show_orbit(orbit_lines(self._rendering.view, point.orbit))
