"""Labels and tool tips come from one place: what a server says is shown as it is, and is no HTML."""

from __future__ import annotations

import ast
from pathlib import Path

UI = Path(__file__).parent.parent.parent / "ui" / "rfm_ui"
MAKER = UI / "view" / "words.py"
TRAY = UI / "view" / "notifications" / "tray.py"
"""Has a tip of its own kind, which is a constant."""
GUESSES = {"QMessageBox", "QErrorMessage", "QSplashScreen", "QTextBrowser"}


def test_nothing_makes_a_label_or_a_tool_tip_by_itself() -> None:
    found = [
        f"{path.relative_to(UI)}:{line}: {what}"
        for path in sorted(UI.rglob("*.py"))
        if path != MAKER
        for line, what in guesses(ast.parse(path.read_text(encoding="utf-8")))
        if not (path == TRAY and what == "setToolTip")
    ]
    assert found == [], "use rfm_ui.view.words"


def test_each_way_around_is_seen() -> None:
    said = "QLabel(a)\nclass B(QLabel): pass\nb.setToolTip(c)\nQToolTip.showText(p, c)\nQMessageBox.about(None, a, b)"
    assert [line for line, _what in guesses(ast.parse(said))] == [1, 2, 3, 4, 5]
    assert list(guesses(ast.parse("def of(label: QLabel) -> None: QToolTip.showText(p, as_tip(said), w)"))) == []


def guesses(module: ast.Module) -> list[tuple[int, str]]:
    """(line, what) of all that has Qt guess whether a text is HTML."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            found += [(node.lineno, "QLabel") for base in node.bases if ast.unparse(base) == "QLabel"]
        elif isinstance(node, ast.Name) and node.id in GUESSES:
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.split(".")[-1] in ("QLabel", "setToolTip", "setWhatsThis", "setHtml"):
                found.append((node.lineno, called.split(".")[-1]))
            elif called == "QToolTip.showText" and not ast.unparse(node.args[1]).startswith("as_tip("):
                found.append((node.lineno, called))
    return sorted(found)
