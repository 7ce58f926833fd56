"""Charts of what processes use and of what goes through them: a curve for each process. Loads its library when made."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QGridLayout, QWidget
from typing_extensions import override

from rfm_ui.model.lines import Tone
from rfm_ui.model.machine import Chart, Curve, ago, ago_unit, spacing_s, top
from rfm_ui.view import theme

__all__ = ["Charts"]

COLUMNS = 3
LINE = 1.6
DOT = 4
INKS: tuple[Tone, ...] = ("running", "stopped", "waiting", "good", "idle", "stale", "bad")
"""Of processes, in their order: neighbours are told apart best."""


class Charts(QWidget):
    """One plot for each of `charts`, in rows of three; which colour is whose stands in the first."""

    def __init__(self, charts: Sequence[Chart]) -> None:
        super().__init__()
        # Takes a quarter of a second to load.
        import pyqtgraph

        self._library = pyqtgraph
        self._charts = charts
        self._span_s = 0
        self.names: list[str] = []
        """Of the processes that have a curve."""
        self._shown: Sequence[Curve] = ()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        self._plots = []
        for number, chart in enumerate(charts):
            plot = pyqtgraph.PlotWidget()
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            plot.showGrid(x=True, y=True, alpha=0.15)
            plot.setMenuEnabled(False)
            # One unit for all numbers of a chart: the one that its title names.
            plot.getAxis("left").enableAutoSIPrefix(False)
            plot.getAxis("bottom").enableAutoSIPrefix(False)
            plot.getAxis("bottom").tickStrings = self._ticks
            plot.setAccessibleName(chart.title)
            # It does nothing by keys: they go on to what does.
            plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            layout.addWidget(plot, number // COLUMNS, number % COLUMNS)
            self._plots.append(plot)
        self._legend = self._plots[0].addLegend(offset=(8, 8))
        self._dress()

    @override
    def changeEvent(self, event: QEvent) -> None:
        """Another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_legend"):
            self._dress()

    def _dress(self) -> None:
        colours = theme.current()
        for chart, plot in zip(self._charts, self._plots, strict=True):
            plot.setBackground(colours.panel)
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(colours.faint)
                plot.getAxis(side).setTextPen(colours.faint)
            plot.setTitle(chart.title, color=colours.text, size="10pt")
        self._legend.setLabelTextColor(colours.text)
        if self._shown:
            self.show_curves(self._shown, self._span_s)

    def show_curves(self, shown: Sequence[Curve], span_s: int) -> None:
        """These, of the last `span_s` seconds."""
        inks = [theme.current().tones[tone] for tone in INKS]
        self._shown, self._span_s = shown, span_s
        self.names = [curve.name for curve in shown if any(curve.is_known(chart.figure) for chart in self._charts)]
        # The library takes names for HTML.
        self._legend.clear()
        for number, (chart, plot) in enumerate(zip(self._charts, self._plots, strict=True)):
            plot.clear()
            if number >= len(self._charts) - COLUMNS:
                plot.setLabel("bottom", ago_unit(span_s))
            plot.setXRange(-span_s, 0.0, padding=0.0)
            plot.setYRange(0.0, top(getattr(curve, chart.figure) for curve in shown), padding=0.0)
            plot.getAxis("bottom").setTickSpacing(spacing_s(span_s), spacing_s(span_s) / 2)
            for place, curve in enumerate(shown):
                if curve.is_known(chart.figure):
                    row, name = list(getattr(curve, chart.figure)), escape(curve.name) if number == 0 else None
                    ink = inks[place % len(inks)]
                    dots = {"symbol": "o", "symbolSize": DOT, "symbolPen": None, "symbolBrush": ink}
                    pen = self._library.mkPen(ink, width=LINE)
                    plot.plot(
                        list(curve.seconds), row, pen=pen, connect="finite", name=name, **(dots if chart.dotted else {})
                    )

    def _ticks(self, values: Sequence[float], _scale: float, _spacing: float) -> list[str]:
        return [ago(value, self._span_s) for value in values]
