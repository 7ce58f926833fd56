"""Beside the explorer's picture: its colours and its light, and the parameters of its formula."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QImage, QPixmap
from PySide6.QtWidgets import (
    QColorDialog,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLineEdit,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.colouring import BY_PERIOD, ENDS, Colouring
from rfm_runtime.render.palettes import PALETTES, gradient
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.looking import (
    SLIDERS,
    STEPS,
    Parameter,
    Slider,
    colourings_for,
    parameters_for,
    swatch,
    with_look,
    with_parameter,
)
from rfm_ui.view.words import Label, set_tip

__all__ = ["LookPanel"]

SWATCH = QSize(72, 14)
LABELS = 88
"""Width of the names, so that all fields stand in one line."""

COLOURING_WORDS = {
    "smooth": "by count",
    "histogram": "by share of the picture",
    "distance": "by distance",
    "field_lines": "with field lines",
    "orbit_trap": "by orbit trap",
}
END_WORDS = {"mirror": "runs back", "wrap": "begins again", "clamp": "stays"}


class LookPanel(QWidget):
    """Shows the look of a view, and says which one is wanted: `wanted(RenderRequest)`. refused(str): what is wrong."""

    wanted = Signal(object)
    refused = Signal(str)

    def __init__(self, view: RenderRequest, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)
        self._grid.setColumnMinimumWidth(0, LABELS)
        self.palette_choice = _choice("Palette")
        self.palette_choice.setIconSize(SWATCH)
        for name in PALETTES:
            self.palette_choice.addItem(_icon(name), name)
        self.palette_choice.activated.connect(lambda _: self._set(palette=self.palette_choice.currentText()))
        self.colouring = _choice("Coloured")
        self.colouring.activated.connect(lambda _: self._set(colouring=self.colouring.currentData()))
        self.ends = _choice("After its end")
        set_tip(self.ends, "What comes where the palette ends")
        for name in ENDS:
            self.ends.addItem(END_WORDS[name], name)
        self.ends.activated.connect(lambda _: self._set(cyclic=self.ends.currentData()))
        self.interior = _choice("Inside")
        set_tip(self.interior, "Colour of points that never escape")
        for words, data in (("black", "#000000"), ("white", "#ffffff"), ("by period", BY_PERIOD), ("a colour …", "")):
            self.interior.addItem(words, data)
        self.interior.activated.connect(self._interior)
        self.sliders = {one.field: _Number(one, self) for one in SLIDERS}
        self._row("Palette", self.palette_choice)
        self._row("Coloured", self.colouring)
        self._number("density")
        self._number("offset")
        self._row("After its end", self.ends)
        self._row("Inside", self.interior)
        self._title("Light")
        for field in ("slopes", "light_azimuth_deg", "light_elevation_deg", "shine"):
            self._number(field)
        self.flat = QPushButton("As it was")
        set_tip(self.flat, "The colours that a render has by itself")
        self.flat.clicked.connect(self._reset)
        self._grid.addWidget(self.flat, self._grid.rowCount(), 1, Qt.AlignmentFlag.AlignRight)
        self._title("Formula")
        self._parameters = QGridLayout()
        self._parameters.setHorizontalSpacing(10)
        self._parameters.setVerticalSpacing(6)
        self._parameters.setColumnStretch(1, 1)
        self._parameters.setColumnMinimumWidth(0, LABELS)
        self.fields: dict[str, QLineEdit] = {}
        self._known: list[str] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._grid)
        layout.addLayout(self._parameters)
        layout.addStretch(1)
        self.show_view(view)

    def show_view(self, view: RenderRequest) -> None:
        """What is set now."""
        self._view = view
        self._show_palette(view.palette)
        ways = colourings_for(view)
        if [self.colouring.itemData(place) for place in range(self.colouring.count())] != list(ways):
            self.colouring.clear()
            for way in ways:
                self.colouring.addItem(COLOURING_WORDS[way], way)
        self.colouring.setCurrentIndex(max(0, self.colouring.findData(view.colouring)))
        self.ends.setCurrentIndex(self.ends.findData(view.cyclic))
        self._show_interior(view.interior)
        for field, number in self.sliders.items():
            number.show_value(getattr(view, field))
        flat = view.slopes == 0.0
        for field in ("light_azimuth_deg", "light_elevation_deg", "shine"):
            self.sliders[field].setEnabled(not flat)
        # Distances are estimated from how fast a point escapes.
        self.sliders["slopes"].setEnabled("distance" in ways)
        self._show_parameters(view)

    def set_number(self, field: str, value: float) -> None:
        """One of the sliders."""
        self._set(**{field: value})

    def _set(self, **look: Any) -> None:
        self.wanted.emit(replace(self._view, **look))

    # --- colours ----------------------------------------------------------------------------

    def _show_palette(self, name: str) -> None:
        place = self.palette_choice.findText(name)
        if place < 0:
            # One of somebody's own, as it came with a file.
            self.palette_choice.addItem(_icon(name), name)
            place = self.palette_choice.count() - 1
        self.palette_choice.setCurrentIndex(place)

    def _show_interior(self, interior: str) -> None:
        place = self.interior.findData(interior)
        if place < 0:
            place = self.interior.count() - 1
            self.interior.setItemIcon(place, QIcon(_plain(interior)))
        self.interior.setCurrentIndex(place)

    def _interior(self, place: int) -> None:
        chosen: str = self.interior.itemData(place)
        if not chosen:
            before = QColor("#000000" if self._view.by_period else self._view.interior)
            colour = QColorDialog.getColor(before, self, "Colour of the inside")
            if not colour.isValid():
                self._show_interior(self._view.interior)
                return
            chosen = colour.name()
        self._set(interior=chosen)

    def _reset(self) -> None:
        self.wanted.emit(with_look(self._view, Colouring()))

    # --- parameters -------------------------------------------------------------------------

    def _show_parameters(self, view: RenderRequest) -> None:
        wanted = parameters_for(view)
        if [one.field for one in wanted] != self._known:
            self._known = [one.field for one in wanted]
            while (item := self._parameters.takeAt(0)) is not None:
                if (widget := item.widget()) is not None:
                    widget.hide()
                    widget.deleteLater()
            self.fields = {}
            for row, parameter in enumerate(wanted):
                field = QLineEdit()
                field.setAccessibleName(parameter.name)
                set_tip(field, parameter.says)
                field.setPlaceholderText("automatic" if parameter.field == "max_iter" else "the formula's own")
                field.returnPressed.connect(lambda parameter=parameter: self._typed(parameter))
                label = Label(parameter.name)
                label.setBuddy(field)
                self._parameters.addWidget(label, row, 0)
                self._parameters.addWidget(field, row, 1)
                self.fields[parameter.field] = field
        for parameter in wanted:
            field = self.fields[parameter.field]
            if field.text() != parameter.value:
                field.setText(parameter.value)
                field.setCursorPosition(0)

    def _typed(self, parameter: Parameter) -> None:
        try:
            self.wanted.emit(with_parameter(self._view, parameter, self.fields[parameter.field].text()))
        except BadRequestError as error:
            self.refused.emit(f"{error.message} – {error.hint}")

    # --- parts ------------------------------------------------------------------------------

    def _row(self, name: str, widget: QWidget) -> None:
        label = Label(name)
        label.setBuddy(widget)
        row = self._grid.rowCount()
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(widget, row, 1)

    def _number(self, field: str) -> None:
        number = self.sliders[field]
        self._row(number.slider.name, number)

    def _title(self, text: str) -> None:
        label = Label(text)
        font = label.font()
        font.setWeight(font.Weight.DemiBold)
        label.setFont(font)
        label.setContentsMargins(0, 8, 0, 0)
        self._grid.addWidget(label, self._grid.rowCount(), 0, 1, 2)


class _Number(QWidget):
    """A slider, and the number to type."""

    def __init__(self, slider: Slider, panel: LookPanel) -> None:
        super().__init__(panel)
        self.slider = slider
        self._panel = panel
        self.bar = QSlider(Qt.Orientation.Horizontal)
        self.bar.setRange(0, STEPS)
        self.bar.setPageStep(STEPS // 20)
        self.box = QDoubleSpinBox()
        self.box.setRange(*slider.typed)
        self.box.setDecimals(slider.decimals)
        self.box.setSingleStep(slider.step)
        self.box.setSuffix(slider.unit)
        self.box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.box.setKeyboardTracking(False)
        self.box.setFixedWidth(64)
        for widget in (self.bar, self.box):
            widget.setAccessibleName(slider.name)
            set_tip(widget, slider.says)
        self.bar.valueChanged.connect(lambda place: panel.set_number(slider.field, slider.value(place)))
        self.box.valueChanged.connect(lambda value: panel.set_number(slider.field, value))
        row = QGridLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.bar, 0, 0)
        row.addWidget(self.box, 0, 1)
        self.setFocusProxy(self.bar)

    def show_value(self, value: float) -> None:
        """Without saying that it is wanted."""
        for widget in (self.bar, self.box):
            widget.blockSignals(True)
        if self.slider.value(self.bar.value()) != value:
            self.bar.setValue(self.slider.at(value))
        self.box.setValue(value)
        for widget in (self.bar, self.box):
            widget.blockSignals(False)


def _choice(name: str) -> QComboBox:
    choice = QComboBox()
    choice.setAccessibleName(name)
    choice.setMinimumContentsLength(3)
    choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return choice


def _icon(palette: str) -> QIcon:
    colours = swatch(gradient(palette), SWATCH.width())
    line = QImage(colours, SWATCH.width(), 1, 3 * SWATCH.width(), QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(line.scaled(SWATCH)))


def _plain(colour: str) -> QPixmap:
    pixmap = QPixmap(SWATCH.height(), SWATCH.height())
    pixmap.fill(QColor(colour))
    return pixmap
