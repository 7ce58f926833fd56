"""A theme on the screen."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from rfm_ui.model.themes import DARK, LIGHT, THEMES, Theme

__all__ = ["apply", "current", "heading", "put_on", "system", "toned"]

_STYLE = """
QToolTip {{ color: {text}; background: {panel}; border: 1px solid {line}; padding: 4px; }}
QDialog {{ border: 1px solid {line}; }}
QLineEdit {{ background: {panel}; border: 1px solid {line}; border-radius: 6px; padding: 5px 8px; }}
QLineEdit:focus {{ border-color: {accent}; }}
QPushButton, QToolButton {{ background: transparent; border: 1px solid {line}; border-radius: 6px; padding: 5px 12px; }}
QPushButton:hover, QToolButton:hover {{ background: {hover}; }}
QPushButton:focus, QToolButton:focus {{ border-color: {accent}; }}
QToolButton[popupMode="2"] {{ padding-right: 22px; }}
QToolButton::menu-indicator {{ subcontrol-origin: padding; subcontrol-position: right center; right: 7px; }}
QMenu {{ background: {panel}; border: 1px solid {line}; padding: 4px; }}
QMenu::item {{ padding: 5px 24px; border-radius: 4px; }}
QMenu::item:selected {{ background: {chosen}; }}
QMenu::item:disabled {{ color: {faint}; }}
QMenu::separator {{ height: 1px; background: {line}; margin: 4px 8px; }}
QComboBox {{ background: transparent; border: 1px solid {line}; border-radius: 6px; padding: 5px 6px 5px 10px; }}
QComboBox:hover {{ background: {hover}; }}
QComboBox:focus {{ border-color: {accent}; }}
QComboBox QAbstractItemView {{ background: {panel}; selection-background-color: {chosen}; selection-color: {text}; }}
QPushButton:checked, QToolButton:checked {{ background: {chosen}; border-color: {accent}; }}
QPushButton:default {{ border-color: {accent}; }}
QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid {faint}; border-radius: 3px; }}
QCheckBox::indicator {{ background: {panel}; }}
QCheckBox::indicator:checked {{ background: {accent}; border-color: {accent}; }}
QCheckBox:focus {{ color: {accent}; }}
QListWidget::item {{ padding: 6px 8px; }}
QListWidget[pictures="true"]::item {{ padding: 2px; border-radius: 6px; }}
QListWidget[pictures="true"]::item:selected {{ background: {chosen}; color: {text}; }}
QListWidget[pictures="true"]::item:hover {{ background: {hover}; color: {text}; }}
QListWidget::item:selected {{ background: {chosen}; color: {text}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {faint}; }}
QListView {{ background: {panel}; border: 1px solid {line}; border-radius: 8px; outline: none; }}
QTableView {{ background: {panel}; border: 1px solid {line}; border-radius: 8px; outline: none; }}
QTableView {{ selection-background-color: {chosen}; selection-color: {text}; }}
QTableView::item {{ padding: 0 8px; border: none; }}
QHeaderView {{ background: transparent; }}
QHeaderView::section {{ background: transparent; color: {faint}; border: none; padding: 6px 11px; }}
QHeaderView::section:horizontal {{ border-bottom: 1px solid {line}; }}
QSplitter::handle {{ background: transparent; }}
QLabel[heading="page"] {{ font-size: {page:.1f}pt; font-weight: 600; }}
QLabel[heading="part"] {{ font-size: {part:.1f}pt; font-weight: 600; }}
QLabel[tone="faint"] {{ color: {faint}; }}
QLabel[tone="good"] {{ color: {good}; }}
QLabel[tone="waiting"] {{ color: {waiting}; }}
QLabel[tone="bad"] {{ color: {bad}; }}
QScrollBar:vertical {{ background: transparent; width: 12px; margin: 2px; }}
QScrollBar::handle:vertical {{ background: {track}; border-radius: 4px; min-height: 28px; }}
QScrollBar::handle:vertical:hover {{ background: {faint}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; width: 0; }}
"""


class _Screen:
    """What is on it."""

    theme = DARK


def system() -> Theme:
    """The one that the desktop asks for."""
    return LIGHT if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Light else DARK


def current() -> Theme:
    """The one that is on the screen."""
    return _Screen.theme


def apply(application: QApplication, name: str = "") -> Theme:
    """Use a theme by name, "" for the desktop's."""
    return put_on(application, THEMES[name] if name else system())


def put_on(application: QApplication, theme: Theme) -> Theme:
    """Use this one. Every widget hears of it by a PaletteChange, and those that keep colours take them anew then."""
    _Screen.theme = theme
    application.setStyle("Fusion")
    palette = QPalette()
    role = QPalette.ColorRole
    for place, colour in (
        (role.Window, theme.window),
        (role.Base, theme.panel),
        (role.AlternateBase, theme.hover),
        (role.Button, theme.panel),
        (role.ToolTipBase, theme.panel),
        (role.WindowText, theme.text),
        (role.Text, theme.text),
        (role.ButtonText, theme.text),
        (role.ToolTipText, theme.text),
        (role.PlaceholderText, theme.faint),
        (role.Highlight, theme.accent),
        (role.HighlightedText, theme.on_accent),
        (role.Link, theme.accent),
        (role.Mid, theme.line),
    ):
        palette.setColor(place, QColor(colour))
    for place in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, place, QColor(theme.faint))
    application.setPalette(palette)
    colours = {name: getattr(theme, name) for name in ("text", "panel", "line", "accent", "hover", "chosen", "faint")}
    tones = {name: theme.links[name] for name in ("good", "waiting", "bad")}
    points = application.font().pointSizeF()
    sizes = {"page": 1.5 * points, "part": 1.25 * points}
    application.setStyleSheet(_STYLE.format(track=theme.track, **colours, **tones, **sizes))
    return theme


def heading(label: QLabel, of: Literal["page", "part"]) -> None:
    """Larger letters for the name of a page or of a part of one, whatever the size of others is."""
    label.setProperty("heading", of)


def toned(label: QWidget, tone: str) -> None:
    """Letters of a label in faint, good, waiting or bad, of whichever theme there is; "" as usual."""
    if label.property("tone") != tone:
        label.setProperty("tone", tone)
        label.style().unpolish(label)
        label.style().polish(label)
