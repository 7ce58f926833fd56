"""Beside the explorer's picture: places that somebody keeps, and those that the runtime knows by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QIcon, QImage, QKeySequence, QPixmap, QShortcut, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget
from typing_extensions import override

from rfm_runtime.config import cache_home, data_home
from rfm_runtime.core.text import printable
from rfm_runtime.errors import RfmError
from rfm_runtime.render.presets import PRESETS
from rfm_ui.model.bookmarks import Bookmark, Bookmarks
from rfm_ui.model.thumbnails import THUMBNAIL_PX
from rfm_ui.view import theme
from rfm_ui.view.choice import one_of
from rfm_ui.view.opening import view_in
from rfm_ui.view.rendering import Rendering, said
from rfm_ui.view.session import Session
from rfm_ui.view.thumbnails import Thumbnails, reduced, thumbnail_png
from rfm_ui.view.words import Label, set_tip

__all__ = ["PlacesPanel"]

ICON = QSize(THUMBNAIL_PX[0] // 2, THUMBNAIL_PX[1] // 2)
CELL = QSize(ICON.width() + 10, ICON.height() + 32)
"""Two of them beside each other in the panel, with its scroll bar."""

NAME_ROLE = Qt.ItemDataRole.UserRole
BOOKMARK_ROLE = Qt.ItemDataRole.UserRole + 1


class PlacesPanel(QWidget):
    """wanted(RenderRequest): where to go. told(str): what has become of what was wanted."""

    wanted = Signal(object)
    told = Signal(str)

    def __init__(self, session: Session, rendering: Rendering, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._rendering = session, rendering
        self._bookmarks = Bookmarks(data_home() / "bookmarks")
        self._removed: tuple[str, bytes] | None = None
        self._latest: Path | None = None
        self.thumbnails = Thumbnails(session, cache_home() / "thumbnails", self)
        self.thumbnails.ready.connect(self._thumbnail)
        self.bookmarks, self.presets = _list("Bookmarks"), _list("Presets")
        blank = _blank()
        for name, preset in PRESETS.items():
            item = QListWidgetItem(blank, name)
            item.setData(NAME_ROLE, name)
            set_tip(item, preset.title)
            self.presets.addItem(item)
        self.presets.itemActivated.connect(self._to_preset)
        self.presets.itemClicked.connect(self._to_preset)
        self.presets.verticalScrollBar().valueChanged.connect(lambda _: self._look())
        self.bookmarks.itemActivated.connect(self._to_bookmark)
        self.bookmarks.itemClicked.connect(self._to_bookmark)
        self.bookmarks.itemChanged.connect(self._renamed)
        self.bookmarks.currentItemChanged.connect(lambda *_: self._enable())
        self.empty = Label("No bookmarks yet: Ctrl+D keeps what is shown.")
        self.empty.setWordWrap(True)
        self.add = QPushButton("Add")
        self.rename = QPushButton("Rename")
        self.remove = QPushButton("Remove")
        self.take_back = QPushButton("Take back")
        self.take_back.hide()
        for button, action, tip in (
            (self.add, self.keep, "Keep what is shown (Ctrl+D)"),
            (self.rename, self._edit, "Give it another name (F2)"),
            (self.remove, self._remove, "Remove it (Delete)"),
            (self.take_back, self._take_back, "Keep what was removed"),
        ):
            button.clicked.connect(action)
            set_tip(button, tip)
        delete = QShortcut(QKeySequence("Delete"), self.bookmarks, self._remove)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        self._lay_out()
        self._enable()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Read what there is: files may have been dropped into the folder."""
        super().showEvent(event)
        self.refresh()
        QTimer.singleShot(0, self, self._look)

    def refresh(self) -> None:
        """Show the bookmarks that there are now."""
        self._session.aside(self._read, self._show)

    def keep(self) -> None:
        """Keep what is shown, under a name that says where it is."""
        view, picture = self._rendering.view, self._rendering.picture()
        name = f"{view.formula.replace('_', ' ')} {float(view.width):.2g}"

        def kept() -> Bookmark:
            return self._bookmarks.add(name, thumbnail_png(picture, view))

        self._session.aside(kept, partial(self._done, "Kept as {}."))

    def leave(self) -> None:
        """Nobody looks any more."""
        self.thumbnails.leave()

    # --- parts ------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        row = QHBoxLayout()
        choice = one_of(("Bookmarks", "Presets"), row, self)
        row.addStretch(1)
        layout.addLayout(row)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        for button in (self.add, self.rename, self.remove):
            buttons.addWidget(button)
        buttons.addStretch(1)
        self._kept = QWidget()
        mine = QVBoxLayout(self._kept)
        mine.setContentsMargins(0, 0, 0, 0)
        mine.setSpacing(8)
        mine.addLayout(buttons)
        mine.addWidget(self.take_back, 0, Qt.AlignmentFlag.AlignLeft)
        mine.addWidget(self.empty, 1, Qt.AlignmentFlag.AlignTop)
        mine.addWidget(self.bookmarks, 100)
        layout.addWidget(self._kept, 1)
        layout.addWidget(self.presets, 1)
        self.presets.hide()
        choice.idClicked.connect(self.show_list)
        self._choice = choice

    def show_list(self, number: int) -> None:
        """0: bookmarks, 1: presets."""
        self._choice.button(number).setChecked(True)
        self._kept.setVisible(number == 0)
        self.presets.setVisible(number == 1)
        QTimer.singleShot(0, self, self._look)

    # --- presets ----------------------------------------------------------------------------

    def _to_preset(self, item: QListWidgetItem) -> None:
        self.wanted.emit(PRESETS[item.data(NAME_ROLE)].request)

    def _look(self) -> None:
        """Have pictures made of what is to be seen."""
        if not self.presets.isVisible():
            self.thumbnails.leave()
            return
        seen = self.presets.viewport().rect()
        for row in range(self.presets.count()):
            item = self.presets.item(row)
            if self.presets.visualItemRect(item).intersects(seen):
                name: str = item.data(NAME_ROLE)
                self.thumbnails.want(name, PRESETS[name].request)

    def _thumbnail(self, name: str, picture: QImage) -> None:
        for item in self.presets.findItems(name, Qt.MatchFlag.MatchExactly):
            item.setIcon(_icon(picture))

    # --- bookmarks --------------------------------------------------------------------------

    def _read(self) -> list[tuple[Bookmark, QImage]]:
        """With their pictures. In another thread."""
        return [(one, reduced(one.path)) for one in self._bookmarks.all()]

    def _show(self, found: Any, error: RfmError | None) -> None:
        if error is not None:
            self.told.emit(said(error))
            return
        chosen = self.chosen()
        path = self._latest or (None if chosen is None else chosen.path)
        self._latest = None
        self.bookmarks.blockSignals(True)
        self.bookmarks.clear()
        for bookmark, picture in found:
            item = QListWidgetItem(_icon(picture), printable(bookmark.name))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            item.setData(BOOKMARK_ROLE, bookmark)
            set_tip(item, printable(bookmark.name))
            self.bookmarks.addItem(item)
            if bookmark.path == path:
                self.bookmarks.setCurrentItem(item)
        self.bookmarks.blockSignals(False)
        self._enable()

    def _enable(self) -> None:
        has_one = self.chosen() is not None
        self.rename.setEnabled(has_one)
        self.remove.setEnabled(has_one)
        self.empty.setVisible(self.bookmarks.count() == 0)
        self.bookmarks.setVisible(self.bookmarks.count() > 0)

    def chosen(self) -> Bookmark | None:
        """The bookmark that the buttons are about."""
        item: QListWidgetItem | None = self.bookmarks.currentItem()
        chosen: Bookmark | None = None if item is None else item.data(BOOKMARK_ROLE)
        return chosen

    def _to_bookmark(self, item: QListWidgetItem) -> None:
        bookmark: Bookmark = item.data(BOOKMARK_ROLE)
        try:
            view, _notes = view_in(bookmark.path)
        except RfmError as error:
            self.told.emit(f"{bookmark.name}: {said(error)}")
            return
        self.wanted.emit(view)

    def _edit(self) -> None:
        if (item := self.bookmarks.currentItem()) is not None:
            self.bookmarks.editItem(item)

    def _renamed(self, item: QListWidgetItem) -> None:
        bookmark: Bookmark = item.data(BOOKMARK_ROLE)
        name = item.text()
        if name != printable(bookmark.name):
            self._session.aside(lambda: self._bookmarks.rename(bookmark, name), partial(self._done, "Called {} now."))

    def _remove(self) -> None:
        bookmark = self.chosen()
        if bookmark is None:
            return

        def removed() -> Bookmark:
            content = _content(bookmark.path)
            self._bookmarks.remove(bookmark)
            self._removed = bookmark.name, content
            return bookmark

        self._session.aside(removed, partial(self._done, "Removed {}."))

    def _take_back(self) -> None:
        if self._removed is None:
            return
        (name, content), self._removed = self._removed, None
        self._session.aside(lambda: self._bookmarks.add(name, content), partial(self._done, "{} is back."))

    def _done(self, words: str, bookmark: Any, error: RfmError | None) -> None:
        if error is None:
            self._latest = bookmark.path
        self.told.emit(words.format(printable(bookmark.name)) if error is None else said(error))
        self.take_back.setVisible(self._removed is not None)
        self.refresh()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        # What cannot be read is no loss.
        return b""


def _list(name: str) -> QListWidget:
    found = QListWidget()
    found.setAccessibleName(name)
    found.setProperty("pictures", True)
    found.setViewMode(QListWidget.ViewMode.IconMode)
    found.setMovement(QListWidget.Movement.Static)
    found.setResizeMode(QListWidget.ResizeMode.Adjust)
    found.setUniformItemSizes(True)
    found.setIconSize(ICON)
    found.setGridSize(CELL)
    found.setEditTriggers(QListWidget.EditTrigger.EditKeyPressed)
    found.setTextElideMode(Qt.TextElideMode.ElideRight)
    return found


def _icon(picture: QImage) -> QIcon:
    if picture.isNull():
        return _blank()
    pixmap = QPixmap.fromImage(picture)
    icon = QIcon(pixmap)
    # A picture is what it is, chosen or not.
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _blank() -> QIcon:
    pixmap = QPixmap(ICON)
    pixmap.fill(QColor(theme.current().track))
    return QIcon(pixmap)
